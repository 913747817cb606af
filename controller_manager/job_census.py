"""What a job and its pods say at one moment, and what follows from it. Pure.

https://kubernetes.io/docs/concepts/workloads/controllers/job/#handling-pod-and-container-failures
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from api import meta, times
from api.types import Job, JobCondition, Pod, UncountedTerminatedPods
from controller_manager import indexes, job_policies
from controller_manager.job_pods import (
    FAILURES,
    IGNORED,
    attempts,
    fails_by_index,
    finished_at,
    index_of,
    is_failed,
    is_indexed,
    is_tracked,
    number,
    replaces_failed_only,
)
from controller_manager.pods import is_active, is_finished, is_ready, is_terminating
from controller_manager.replicas import choose_victims

FIRST_PAUSE = 10.0
LONGEST_PAUSE = 360.0
REMEMBERED = 16
"""Failures that lengthen the pause; it is at its longest after fewer."""


class Census:
    """The pods, which are the job's, counted over what its status has counted already.

    `remembered` are the `failures` of an earlier census: a pod that failed by being deleted is soon not there any more.
    """

    def __init__(self, job: Job, pods: Sequence[Pod], remembered: Mapping[str, float] | None = None) -> None:
        self.job = job
        self.pods = pods
        self.active = [p for p in pods if is_active(p)]
        self.ready = sum(is_ready(p) for p in self.active)
        self.terminating = sum(is_terminating(p) and not is_finished(p) for p in pods)
        uncounted = job.status.uncountedTerminatedPods or UncountedTerminatedPods()
        known = {*uncounted.succeeded, *uncounted.failed}
        self.fresh = [p for p in pods if is_tracked(p) and p.metadata.uid not in known and self._has_place(p)]
        self.fresh_failed = [p for p in self.fresh if is_failed(p, job)]
        counted = sum(job_policies.judge(job, p).counts for p in self.fresh_failed)
        self.failed = job.status.failed + len(uncounted.failed) + counted
        self.before: set[int] = set()
        self.completed: set[int] = set()
        self.failed_indexes: set[int] = set()
        self.last_failed: dict[int, Pod] = {}
        if is_indexed(job):
            self._look_at_indexes()
            self.succeeded = len(self.completed)
        else:
            new = sum(p.status.phase == "Succeeded" for p in self.fresh)
            self.succeeded = job.status.succeeded + len(uncounted.succeeded) + new

        self.failures = self._failures(remembered or {})

    def _failures(self, remembered: Mapping[str, float]) -> dict[str, float]:
        """When pods failed since the last success, by uid. Those that failed before this process ran count too."""
        successes = [finished_at(p) for p in self.pods if p.status.phase == "Succeeded"]
        last_success = max(successes, default=0.0)
        unwanted = {p.metadata.uid for p in self.pods if is_terminating(p) and not is_tracked(p)}
        seen = {p.metadata.uid: finished_at(p) for p in self.pods if is_failed(p, self.job)}
        known = {**{u: t for u, t in seen.items() if u not in unwanted}, **remembered}
        newest = sorted((t, u) for u, t in known.items() if t > last_success)[-REMEMBERED:]
        return {u: t for t, u in newest}

    def _has_place(self, pod: Pod) -> bool:
        return not is_indexed(self.job) or index_of(pod, self.job) is not None

    def _look_at_indexes(self) -> None:
        job = self.job
        end = job.spec.completions or 0
        self.before = indexes.parse(job.status.completedIndexes, end)
        tracked = [(i, p) for p in self.pods if is_tracked(p) and (i := index_of(p, job)) is not None]
        self.completed = self.before | {i for i, p in tracked if p.status.phase == "Succeeded"}
        if fails_by_index(job):
            failed = {i for i, p in tracked if is_failed(p, job) and _fails_its_index(job, p)}
            self.failed_indexes = indexes.parse(job.status.failedIndexes, end) | failed
            settled = self.completed | self.failed_indexes | self.indexes_of(self.active)
            # It keeps its finalizer until it is replaced: the failures of the index are written on no other pod.
            for pod in sorted(self.fresh_failed, key=lambda p: (attempts(p), finished_at(p))):
                index = index_of(pod, job)
                if index is not None and index not in settled:
                    self.last_failed[index] = pod

    def indexes_of(self, pods: Iterable[Pod]) -> set[int]:
        return {i for p in pods if (i := index_of(p, self.job)) is not None}

    def may_be_released(self, pod: Pod, *, ended: bool) -> bool:
        """Whether the pod's finalizer may go once the pod is counted; `ended`: it is decided how the job ended."""
        if self.job.metadata.deletionTimestamp or ended or pod.status.phase == "Succeeded":
            return True
        return is_failed(pod, self.job) and all(p is not pod for p in self.last_failed.values())


def _fails_its_index(job: Job, pod: Pod) -> bool:
    judgement = job_policies.judge(job, pod)
    if judgement.action == "FailIndex":
        return True
    return judgement.counts and number(pod, FAILURES) >= (job.spec.backoffLimitPerIndex or 0)


# How it ends


def condition(type_: str, status: str, reason: str, message: str, now: float) -> JobCondition:
    at = times.format(now)
    return JobCondition(
        type=type_, status=status, reason=reason, message=message, lastProbeTime=at, lastTransitionTime=at
    )


def is_done(job: Job) -> bool:
    return meta.is_true(job, "Complete") or meta.is_true(job, "Failed")


def outcome(census: Census, now: float) -> JobCondition | None:
    """SuccessCriteriaMet or FailureTarget if it is decided, or was, how the job ends."""
    job = census.job
    for type_ in ("SuccessCriteriaMet", "FailureTarget"):
        if meta.is_true(job, type_):
            return meta.condition(job, type_)
    failure = _failure(census, now)
    if failure is not None:
        return condition("FailureTarget", "True", *failure, now)
    if is_indexed(job) and (why := job_policies.succeeded_early(job, census.completed)):
        return condition("SuccessCriteriaMet", "True", "SuccessPolicy", why, now)
    return None


def _failure(census: Census, now: float) -> tuple[str, str] | None:
    job = census.job
    if job.spec.podFailurePolicy is not None:
        for pod in census.pods:
            if is_failed(pod, job) and (judgement := job_policies.judge(job, pod)).action == "FailJob":
                return "PodFailurePolicy", judgement.message
    limit = job.spec.backoffLimit if job.spec.backoffLimit is not None else 6
    if census.failed > limit or _restarted_too_often(census, limit):
        return "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    if (left := time_left(job, now)) is not None and left <= 0:
        return "DeadlineExceeded", "Job was active longer than specified deadline"
    if failed := len(census.failed_indexes):
        if job.spec.maxFailedIndexes is not None and failed > job.spec.maxFailedIndexes:
            return "MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes"
        if failed + len(census.completed) >= (job.spec.completions or 0):
            return "FailedIndexes", "Job has failed indexes"
    return None


def _restarted_too_often(census: Census, limit: int) -> bool:
    if census.job.spec.template.spec.restartPolicy != "OnFailure":
        return False
    statuses = (
        s
        for p in census.pods
        if p.status.phase in ("Pending", "Running")
        for s in (*p.status.initContainerStatuses, *p.status.containerStatuses)
    )
    restarts = sum(s.restartCount for s in statuses)
    return restarts > 0 if limit == 0 else restarts >= limit


def time_left(job: Job, now: float) -> float | None:
    """Seconds until activeDeadlineSeconds are over; None if there is no deadline, or its time does not run."""
    if job.spec.activeDeadlineSeconds is None or not job.status.startTime or job.spec.suspend:
        return None
    if meta.is_true(job, "Suspended"):
        return None  # it was resumed just now: the start is still that from before, and will be told anew
    return times.parse(job.status.startTime) + job.spec.activeDeadlineSeconds - now


def is_complete(census: Census, active: int) -> bool:
    if active:
        return False
    wanted = census.job.spec.completions
    return census.succeeded > 0 if wanted is None else census.succeeded >= wanted


# Which pods it should have


class Plan(NamedTuple):
    """What to do about the pods now. Never both: the next look does the other."""

    delete: list[Pod]
    create: int = 0
    indexes: tuple[int, ...] = ()
    """Of the pods to create, if the job has indexes."""
    wait: float | None = None
    """Seconds until more may be created."""


def plan(census: Census, most: int, now: float) -> Plan:
    job, active = census.job, len(census.active)
    if job.spec.suspend:
        return Plan(census.active)
    wanted = _wanted(census)
    if victims := _victims(census, max(active - wanted, 0), now):
        return Plan(victims[:most])
    missing = wanted - active - (census.terminating if replaces_failed_only(job) else 0)
    if missing <= 0:
        return Plan([])
    if not fails_by_index(job) and (wait := pause(census, now)) > 0:
        return Plan([], wait=wait)
    missing = min(missing, most)
    if not is_indexed(job):
        return Plan([], create=missing)
    pending = _pending(census, missing)
    waits = {i: pause_of_index(census.last_failed.get(i), now) for i in pending}
    ready = tuple(i for i in pending if waits[i] <= 0)
    return Plan([], create=len(ready), indexes=ready, wait=min((w for w in waits.values() if w > 0), default=None))


def _wanted(census: Census) -> int:
    spec, active = census.job.spec, len(census.active)
    parallelism = spec.parallelism if spec.parallelism is not None else 1
    if spec.completions is None:
        # The first success says that the work is done; whoever still works on it may finish.
        return active if census.succeeded > 0 else parallelism
    return max(0, min(spec.completions - census.succeeded - len(census.failed_indexes), parallelism))


def _victims(census: Census, at_least: int, now: float) -> list[Pod]:
    """Pods of no index or of one that another pod has, then whichever are the least loss."""
    surplus: list[Pod] = []
    if is_indexed(census.job):
        by_index: dict[int | None, list[Pod]] = {}
        for pod in census.active:
            by_index.setdefault(index_of(pod, census.job), []).append(pod)
        for index, pods in by_index.items():
            surplus += pods if index is None else choose_victims(pods, len(pods) - 1, (), now)
    left = [p for p in census.active if all(p is not s for s in surplus)] if surplus else census.active
    return surplus + choose_victims(left, max(at_least - len(surplus), 0), (), now)


def _pending(census: Census, count: int) -> list[int]:
    taken = census.completed | census.failed_indexes | census.indexes_of(census.active)
    if replaces_failed_only(census.job):
        taken |= census.indexes_of(p for p in census.pods if is_terminating(p) and not is_finished(p))
    found: list[int] = []
    for index in range(census.job.spec.completions or 0):
        if len(found) == count:
            break
        if index not in taken:
            found.append(index)
    return found


def pause(census: Census, now: float) -> float:
    """Seconds until a failed pod may be replaced: 10 s after the first failure, then twice as long each time."""
    return _pause(len(census.failures), max(census.failures.values(), default=0.0), now)


def pause_of_index(failed: Pod | None, now: float) -> float:
    return 0.0 if failed is None else _pause(attempts(failed) + 1, finished_at(failed), now)


def _pause(failures: int, last: float, now: float) -> float:
    if not failures:
        return 0.0
    return max(0.0, last + min(FIRST_PAUSE * 2.0 ** min(failures - 1, 16), LONGEST_PAUSE) - now)


def failures_before(census: Census, index: int) -> tuple[int, int]:
    """(counted, ignored) failures of the index, as they are written on its next pod."""
    failed = census.last_failed.get(index)
    if failed is None:
        return 0, 0
    counts = job_policies.judge(census.job, failed).counts
    return number(failed, FAILURES) + counts, number(failed, IGNORED) + (not counts)
