"""Which pods this node has, and the worker of each."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from api.types import ObjectMeta, Pod, PodSpec
from kubelet.pods.means import Means
from kubelet.pods.workers import Worker
from kubelet.runtime.interfaces import POD_NAME, POD_NAMESPACE, Record
from machinery.informers import Informer

CRASH_PAUSE = 5.0
RELIST = 60.0  # the engine's events may be lost without a word

log = logging.getLogger("pods")


class Assignments:
    """Keeps one worker for each pod that is assigned to this node or has containers here.  A pod is its uid: one with
    the same name is another pod."""

    def __init__(self, means: Means, pods: Informer[Pod]) -> None:
        self._means = means
        self._pods = pods
        self._workers: dict[str, Worker] = {}
        self._finished: set[str] = set()
        self._tasks: asyncio.TaskGroup | None = None
        self._turned_at = 0.0
        pods.on_change(self._changed)
        means.cache.on_change = self._container_changed

    async def run(self, tidy: Callable[[Iterable[str]], Awaitable[None]]) -> None:
        """Works until cancelled; the containers stay.

        `tidy` is told once which pods there are, so that what others have left behind can go: before the first worker
        makes anything new.
        """
        await self._pods.synced()
        await self._means.cache.synced()
        self._adopt_addresses()
        await tidy([*(p.metadata.uid for p in self._pods.list()), *self._means.cache.uids()])
        async with asyncio.TaskGroup() as self._tasks:
            for pod in self._pods.list():
                self._ensure(pod)
            for uid in self._means.cache.uids():
                self._adopt_orphan(uid)
            while True:
                self._turned_at = self._means.clock.monotonic()
                await self._means.clock.sleep(RELIST)
                await self._means.cache.relist()

    def is_turning(self) -> bool:
        """Whether it does what it does again and again; before it has begun nobody can say that it does not."""
        return self._tasks is None or self._means.clock.monotonic() - self._turned_at < 2 * RELIST

    def _adopt_addresses(self) -> None:
        """All of them before the first new pod can be given one."""
        means = self._means
        for uid in means.cache.uids():
            for record in means.cache.of(uid):
                running = record.is_pause and record.running
                if means.addresses is not None and running and (address := means.network.known(record)):
                    means.addresses.adopt(uid, address)

    def _changed(self, old: Pod | None, new: Pod | None) -> None:
        if self._tasks is None:
            return  # everything that exists is looked at when `run` begins
        if old is not None and (new is None or new.metadata.uid != old.metadata.uid):
            self._finished.discard(old.metadata.uid)
            if worker := self._workers.get(old.metadata.uid):
                worker.gone()
        if new is not None:
            self._ensure(new)

    def _ensure(self, pod: Pod) -> None:
        uid = pod.metadata.uid
        if worker := self._workers.get(uid):
            worker.update(pod)
        elif uid not in self._finished:
            self._begin(uid, Worker(self._means, pod))

    def _container_changed(self, uid: str) -> None:
        if worker := self._workers.get(uid):
            worker.wake()
        elif self._tasks is not None and uid not in self._finished:
            self._adopt_orphan(uid)

    def _adopt_orphan(self, uid: str) -> None:
        records = self._means.cache.of(uid)
        if records and uid not in self._workers:
            log.info("the containers of pod %s have no pod: removing them", uid)
            self._begin(uid, Worker(self._means, remembered(records[0]), orphan=True))

    def _begin(self, uid: str, worker: Worker) -> None:
        assert self._tasks is not None
        self._workers[uid] = worker
        self._tasks.create_task(self._supervise(uid, worker), name=f"pod {uid}")

    async def _supervise(self, uid: str, worker: Worker) -> None:
        while True:
            try:
                await worker.run()
            except Exception:  # a defect that shows in one pod must not stop the others
                log.exception("the worker of pod %s failed", uid)
                await self._means.clock.sleep(CRASH_PAUSE)
            else:
                break
        del self._workers[uid]
        pod = worker.pod.metadata
        current = self._pods.get(pod.namespace, pod.name)
        if current is not None and current.metadata.uid == uid:
            self._finished.add(uid)  # its object is still on its way out


def remembered(record: Record) -> Pod:
    """As much of a pod as its containers' labels tell."""
    return Pod(
        metadata=ObjectMeta(
            name=record.labels.get(POD_NAME, ""), namespace=record.labels.get(POD_NAMESPACE, ""), uid=record.uid
        ),
        spec=PodSpec(restartPolicy="Never"),
    )
