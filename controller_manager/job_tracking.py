"""Counting the pods of a job so that each counts once, whatever dies in between. Pure.

https://kubernetes.io/docs/concepts/workloads/controllers/job/#job-tracking-with-finalizers . The order:
1. the uids of pods that ended are written into the status, as uncounted;
2. only then their finalizers go;
3. a uid whose pod has no finalizer any more moves from there into the numbers, in one write.
Whoever takes over finds each pod either with its finalizer, or among the uncounted, or in the numbers.
Completed indexes need no uids: an index is a number that can be counted once only.
"""

from api import meta
from api.types import JobCondition, JobStatus, Pod, UncountedTerminatedPods
from controller_manager import indexes, job_policies
from controller_manager.job_census import Census, condition, is_complete
from controller_manager.job_pods import fails_by_index, index_of, is_failed, is_indexed, is_tracked

MOST_UNCOUNTED = 500


def settle(status: JobStatus, still_tracked: set[str]) -> None:
    """Step 3, for all uids but those in `still_tracked`."""
    uncounted = status.uncountedTerminatedPods or UncountedTerminatedPods()
    left = UncountedTerminatedPods(
        succeeded=[u for u in uncounted.succeeded if u in still_tracked],
        failed=[u for u in uncounted.failed if u in still_tracked],
    )
    status.succeeded += len(uncounted.succeeded) - len(left.succeeded)
    status.failed += len(uncounted.failed) - len(left.failed)
    status.uncountedTerminatedPods = left


def count(census: Census, status: JobStatus, ending: JobCondition | None) -> tuple[list[Pod], bool]:
    """Step 1: writes into `status`; the pods whose finalizers may go when it is stored, and whether those are all."""
    job = census.job
    assert status.uncountedTerminatedPods is not None  # after `settle`
    uncounted = status.uncountedTerminatedPods
    already_failed, already_succeeded = set(uncounted.failed), set(uncounted.succeeded)
    completed = set(census.before)
    release: list[Pod] = []
    everything_fails = ending is not None and ending.type != "SuccessCriteriaMet"
    for pod in _in_order(census):
        if len(completed) - len(census.before) + len(uncounted.succeeded) + len(uncounted.failed) >= MOST_UNCOUNTED:
            break
        if not is_tracked(pod) or not census.may_be_released(pod, ended=ending is not None):
            continue
        release.append(pod)
        uid, index = pod.metadata.uid, index_of(pod, job)
        if pod.status.phase == "Succeeded" and uid not in already_failed:
            if index is not None and is_indexed(job):
                completed.add(index)
            elif not is_indexed(job) and uid not in already_succeeded:
                uncounted.succeeded.append(uid)
        elif _fails(census, pod, everything_fails) and uid not in already_failed:
            uncounted.failed.append(uid)
    else:
        _write_indexes(census, status, completed)
        return release, True
    _write_indexes(census, status, completed)
    return release, False


def _fails(census: Census, pod: Pod, everything_fails: bool) -> bool:
    has_place = not is_indexed(census.job) or index_of(pod, census.job) is not None
    failed = everything_fails or is_failed(pod, census.job)
    return failed and has_place and job_policies.judge(census.job, pod).counts


def _in_order(census: Census) -> list[Pod]:
    if not is_indexed(census.job):
        return list(census.pods)
    return sorted(census.pods, key=lambda p: index_of(p, census.job) or 0)


def _write_indexes(census: Census, status: JobStatus, completed: set[int]) -> None:
    if is_indexed(census.job):
        status.completedIndexes = indexes.dump(completed)
        status.succeeded = len(completed)
    if fails_by_index(census.job):
        status.failedIndexes = indexes.dump(census.failed_indexes)


def reached(census: Census, active: int, now: float) -> JobCondition | None:
    """SuccessCriteriaMet when the numbers say so."""
    if not is_complete(census, active):
        return None
    message = "Reached expected number of succeeded pods"
    return condition("SuccessCriteriaMet", "True", "CompletionsReached", message, now)


def finish(status: JobStatus, ending: JobCondition, now: float) -> JobCondition | None:
    """The last condition, which is also put into the status; None while some pod is uncounted or not gone yet."""
    uncounted = status.uncountedTerminatedPods
    if status.terminating or (uncounted is not None and (uncounted.succeeded or uncounted.failed)):
        return None
    type_ = "Complete" if ending.type == "SuccessCriteriaMet" else "Failed"
    last = condition(type_, "True", ending.reason, ending.message, now)
    meta.set_condition(status.conditions, last)
    if type_ == "Complete":
        status.completionTime = last.lastTransitionTime
    return last
