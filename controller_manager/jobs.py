"""Jobs: pods that run until so many of them have succeeded.

https://kubernetes.io/docs/concepts/workloads/controllers/job/ . A step looks (`job_census`), decides whether the job
has ended, else creates or deletes pods, and then counts (`job_tracking`).
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

from api import errors, labels, meta, times
from api.labels import Selector
from api.meta import Key
from api.types import Job, JobCondition, JobStatus, Pod
from controller_manager import job_census, job_tracking
from controller_manager.claims import claim
from controller_manager.contexts import Context
from controller_manager.gathering import all_of
from controller_manager.informing import Written
from controller_manager.job_census import Census, Plan
from controller_manager.job_pods import TRACKING, fails_by_index, is_tracked, new_indexed_pod, new_pod
from controller_manager.owned_pods import OwnedPods
from controller_manager.pods import is_active, is_ready
from controller_manager.refusals import namespace_is_going
from controller_manager.replicas import BURST, slow_start
from machinery.controllers import Controller

MANAGER = "kubernetes.io/job-controller"


def new(context: Context) -> Controller:
    return JobController(context).controller


def selector_of(job: Job) -> Selector:
    return labels.from_object(job.spec.selector)


class Done(NamedTuple):
    """What became of the pods in one step."""

    active: int
    ready: int = 0
    """Of those that were deleted, how many were ready."""
    deleted: int = 0
    failure: errors.ApiError | None = None


class JobController:
    """Its keys are jobs; a key without a name stands for the tracked pods of a namespace that no job has."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._events = context.recorder("job-controller")
        self._jobs = context.informers(Job)
        self._written = Written(self._jobs)
        self._pods = OwnedPods(context, Job, self._jobs, selector_of)
        self._written_pods = Written(self._pods.informer)
        self._failures: dict[str, dict[str, float]] = {}  # uid of a job → Census.failures
        self.controller = Controller(
            "job-controller", self.reconcile, workers=context.config.concurrent_syncs,
            informers=(self._jobs, self._pods.informer),
        )  # fmt: skip
        self._pods.feed(self.controller.queue)
        self._pods.informer.on_change(self._pod_changed)
        self._jobs.on_change(self._job_changed)

    def _job_changed(self, old: Job | None, new: Job | None) -> None:
        if new is None and old is not None:
            self._failures.pop(old.metadata.uid, None)
            self.controller.queue.add(Key(old.metadata.namespace, ""))

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        if new is not None and is_tracked(new) and self._job_of(new) is None:
            self.controller.queue.add(Key(new.metadata.namespace, ""))

    def _job_of(self, pod: Pod) -> Job | None:
        reference = meta.controller_of(pod)
        if reference is None or reference.kind != "Job":
            return None
        job = self._jobs.get(pod.metadata.namespace, reference.name)
        return job if job is not None and job.metadata.uid == reference.uid else None

    async def reconcile(self, key: Key) -> float | None:
        if not key.name:
            await self._free_strays(key.namespace)
            return None
        job = self._jobs.get(*key)
        if job is None or job.spec.managedBy not in ("", MANAGER):
            return None
        job = self._written.newest(job)
        if job_census.is_done(job):
            self._failures.pop(job.metadata.uid, None)
            await self._release(self._own(job))
            return None
        try:
            return await self._step(key, job)
        except errors.NotFound:
            return None  # the job went meanwhile, and the informer will say so

    def _own(self, job: Job) -> list[Pod]:
        return [self._written_pods.newest(p) for p in self._pods.of(job)]

    # One step

    async def _step(self, key: Key, job: Job) -> float | None:
        waiting = await self._pods.waiting(key)
        census = Census(job, await self._claimed(job), self._failures.get(job.metadata.uid))
        self._failures[job.metadata.uid] = census.failures
        now = self._clock.now()
        status = meta.clone(job.status)
        if not status.startTime and not job.spec.suspend:
            status.startTime = times.format(now)
        ending, wait = job_census.outcome(census, now), None
        if ending is not None:
            done = await self._delete(key, job, census.active, len(census.active))
            if waiting or done.active:
                ending = None  # there may be pods that nobody has seen yet
        elif waiting or job.metadata.deletionTimestamp:
            done = Done(len(census.active))
            ending = None if waiting else job_tracking.reached(census, done.active, now)
        else:
            todo = job_census.plan(census, BURST, now)
            done, wait = await self._carry_out(key, census, todo), todo.wait
            ending = job_tracking.reached(census, done.active, now)
            if ending is None:
                self._note_suspension(job, status, now)
        status.active = done.active
        status.ready = max(census.ready - done.ready, 0)
        status.terminating = census.terminating + done.deleted
        job = await self._track(job, census, status, ending)
        if done.failure is not None and not namespace_is_going(done.failure):
            raise done.failure
        left = None if job_census.is_done(job) else job_census.time_left(job, now)
        return min((s for s in (waiting, wait, left) if s is not None and s > 0), default=None)

    async def _claimed(self, job: Job) -> list[Pod]:
        orphans = self._pods.orphans(job.metadata.namespace)
        claimed = await claim(self._client, job, selector_of(job), [*self._own(job), *orphans])
        untracked = [p for p in claimed if is_active(p) and not is_tracked(p)]
        adopted = await all_of(self._track_adopted(pod) for pod in untracked)
        return [p for p in (*claimed, *adopted) if p is not None and all(p is not u for u in untracked)]

    async def _track_adopted(self, pod: Pod) -> Pod | None:
        patch = {"metadata": {"uid": pod.metadata.uid, "finalizers": [TRACKING]}}
        with suppress(errors.NotFound):
            name, namespace = pod.metadata.name, pod.metadata.namespace
            return self._written_pods.note(await self._client.patch(Pod, name, namespace, patch, kind="strategic"))
        return None

    def _note_suspension(self, job: Job, status: JobStatus, now: float) -> None:
        suspended = bool(job.spec.suspend)
        if meta.is_true(job, "Suspended") == suspended:
            return
        verb = "Suspended" if suspended else "Resumed"
        said = f"Job {verb.lower()}"
        condition = job_census.condition("Suspended", str(suspended), f"Job{verb}", said, now)
        meta.set_condition(status.conditions, condition)
        self._events.event(job, "Normal", verb, said)
        if not suspended:
            status.startTime = times.format(now)

    # Pods

    async def _carry_out(self, key: Key, census: Census, todo: Plan) -> Done:
        job, active = census.job, len(census.active)
        if todo.delete:
            # These are not to be counted: the job does not want them any more.
            with suppress(errors.Conflict):
                await self._release(todo.delete)
            return await self._delete(key, job, todo.delete, active)
        for batch in slow_start(todo.create):
            if not self._still_wants(key, job):
                break
            first = active - len(census.active)
            pods = [self._pod(census, todo, n) for n in range(first, first + batch)]
            outcomes = await all_of(self._pods.make(key, job, pod, self._events) for pod in pods)
            active += outcomes.count(None)
            if failures := [e for e in outcomes if e is not None]:
                return Done(active, failure=failures[0])
        return Done(active)

    def _pod(self, census: Census, todo: Plan, n: int) -> Pod:
        if not todo.indexes:
            return new_pod(census.job)
        index = todo.indexes[n]
        before = job_census.failures_before(census, index) if fails_by_index(census.job) else None
        return new_indexed_pod(census.job, index, before)

    def _still_wants(self, key: Key, job: Job) -> bool:
        now = self._jobs.get(*key)
        return now is not None and now.metadata.uid == job.metadata.uid and not now.metadata.deletionTimestamp

    async def _delete(self, key: Key, job: Job, pods: Sequence[Pod], active: int) -> Done:
        outcomes = await all_of(self._pods.remove(key, job, pod, self._events) for pod in pods)
        gone = [p for p, e in zip(pods, outcomes, strict=True) if e is None]
        failure = next((e for e in outcomes if e is not None), None)
        return Done(active - len(gone), sum(map(is_ready, gone)), len(gone), failure)

    # Counting

    async def _track(self, job: Job, census: Census, status: JobStatus, ending: JobCondition | None) -> Job:
        tracked = {p.metadata.uid for p in census.pods if is_tracked(p)}
        job_tracking.settle(status, tracked)
        release, all_counted = job_tracking.count(census, status, ending)
        if ending is not None:
            meta.set_condition(status.conditions, ending)
        job = await self._save(job, status)
        tracked -= await self._release(release)
        status = meta.clone(job.status)
        job_tracking.settle(status, tracked)
        last = job_tracking.finish(status, ending, self._clock.now()) if ending is not None and all_counted else None
        job = await self._save(job, status)
        if not all_counted:
            self.controller.queue.add(meta.key(job))
        if last is not None:
            self._tell_the_end(job, last)
        return job

    def _tell_the_end(self, job: Job, last: JobCondition) -> None:
        if last.type == "Complete":
            self._events.event(job, "Normal", "Completed", "Job completed")
        else:
            self._events.event(job, "Warning", last.reason, last.message)

    async def _save(self, job: Job, status: JobStatus) -> Job:
        if status == job.status:
            return job
        changed = meta.clone(job)
        changed.status = status
        return self._written.note(await self._client.update_status(changed))

    async def _release(self, pods: Iterable[Pod]) -> set[str]:
        """Take the finalizer from those that have it; the uids of all that have none now."""
        held = [p for p in pods if is_tracked(p)]
        await all_of(self._release_one(pod) for pod in held)
        return {p.metadata.uid for p in held}

    async def _release_one(self, pod: Pod) -> None:
        patch = {"metadata": {"uid": pod.metadata.uid, "$deleteFromPrimitiveList/finalizers": [TRACKING]}}
        name, namespace = pod.metadata.name, pod.metadata.namespace
        with suppress(errors.NotFound):
            changed = await self._client.patch(Pod, name, namespace, patch, kind="strategic")
            if self._pods.informer.get(namespace, name) is not None:
                self._written_pods.note(changed)

    async def _free_strays(self, namespace: str) -> None:
        """Pods whose job is gone need not be counted any more."""
        strays = [p for p in self._pods.informer.list(namespace) if is_tracked(p) and self._job_of(p) is None]
        await all_of(self._free(pod) for pod in strays)

    async def _free(self, pod: Pod) -> None:
        reference = meta.controller_of(pod)
        if reference is not None and reference.kind == "Job":
            with suppress(errors.NotFound):
                job = await self._client.get(Job, reference.name, pod.metadata.namespace)
                if job.metadata.uid == reference.uid:
                    return  # the informer does not show it yet
        await self._release_one(pod)
