"""Finished jobs that are to be cleaned up after a while.

https://kubernetes.io/docs/concepts/workloads/controllers/ttlafterfinished/
"""

from contextlib import suppress

from api import errors, meta, times
from api.meta import Key
from api.types import Job
from controller_manager.contexts import Context
from machinery.controllers import Controller


def new(context: Context) -> Controller:
    return TtlController(context).controller


def expires_at(job: Job) -> float | None:
    """In seconds since the epoch; None if it has not finished, or is to stay."""
    if job.spec.ttlSecondsAfterFinished is None or job.metadata.deletionTimestamp:
        return None
    for type_ in ("Complete", "Failed"):
        ended = meta.condition(job, type_)
        if ended is not None and ended.status == "True":
            return times.parse(ended.lastTransitionTime) + job.spec.ttlSecondsAfterFinished
    return None


class TtlController:
    """Its keys are jobs."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._jobs = context.informers(Job)
        self.controller = Controller("ttl-after-finished-controller", self.reconcile, informers=(self._jobs,))
        self._jobs.on_change(self._job_changed)

    def _job_changed(self, old: Job | None, new: Job | None) -> None:
        if new is not None and expires_at(new) is not None:
            self.controller.queue.add(meta.key(new))

    async def reconcile(self, key: Key) -> float | None:
        job = self._jobs.get(*key)
        if job is None or (left := self._left(job)) is None:
            return None
        if left > 0:
            return left
        with suppress(errors.NotFound):
            # The informer may not show yet that somebody gave it more time.
            fresh = await self._client.get(Job, key.name, key.namespace)
            left = self._left(fresh)
            if left is not None and left <= 0:
                uid, version = fresh.metadata.uid, fresh.metadata.resourceVersion
                await self._client.delete(
                    Job, key.name, key.namespace, uid=uid, resource_version=version, propagation="Foreground"
                )
        return None

    def _left(self, job: Job) -> float | None:
        at = expires_at(job)
        return None if at is None else at - self._clock.now()
