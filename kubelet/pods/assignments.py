"""Which pods this node has, and the worker of each."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

import msgspec

from api import times
from api.meta import key
from api.qos import qos_class
from api.types import ObjectMeta, Pod, PodSpec
from kubelet.pods.means import Means
from kubelet.pods.resizing import is_over
from kubelet.pods.workers import Ending, Worker
from kubelet.runtime.interfaces import POD_NAME, POD_NAMESPACE, EngineError, Record
from kubelet.statics.manifests import is_mirror, is_static, local_uid
from machinery.informers import Informer

CRASH_PAUSE = 5.0
GUARANTEED = "Guaranteed"
RELIST = 60.0  # the engine's events may be lost without a word

log = logging.getLogger("pods")


class Assignments:
    """Keeps one worker for each pod that is assigned to this node or has containers here.  A pod is its uid: one with
    the same name is another pod.

    `statics` are the pods of this node's own manifests, which need nobody to assign them.  `on_end` is told of each
    pod that nothing is left of.
    """

    def __init__(
        self, means: Means, pods: Informer[Pod], statics: Callable[[], Iterable[Pod]] = tuple,
        on_end: Callable[[Pod], None] = lambda pod: None,
    ) -> None:  # fmt: skip
        self._means = means
        self._pods = pods
        self._statics = statics
        self._on_end = on_end
        self._workers: dict[str, Worker] = {}
        self._finished: set[str] = set()
        self._tasks: asyncio.TaskGroup | None = None
        self._turned_at = 0.0
        self._complete = asyncio.Event()  # the API server's pods are known: other containers have none
        pods.on_change(self._changed)
        means.cache.on_change = self._container_changed

    async def run(
        self, connected: Callable[[], Awaitable[None]], tidy: Callable[[Callable[[], set[str]]], Awaitable[None]]
    ) -> None:
        """Works until cancelled; the containers stay.  Static pods are begun at once, the others when `connected`
        returns: when what the API server says of this node and its services is known.

        `tidy` is called once, and may ask at any moment which pods there are: what others have left behind can go.
        """
        await self._means.cache.synced()
        async with asyncio.TaskGroup() as self._tasks:
            # What runs keeps its room; of the rest, who came first is first.
            for uid in self._means.cache.uids():
                self._means.admission.take(uid)
            self.statics_changed()
            await connected()
            await self._pods.synced()
            await tidy(self.known)
            self._turned_at = self._means.clock.monotonic()
            self._complete.set()
            for pod in sorted(self._pods.list(), key=lambda p: p.metadata.creationTimestamp):
                self._changed(None, pod)
            for uid in self._means.cache.uids():
                self._adopt_orphan(uid)
            while True:
                self._turned_at = self._means.clock.monotonic()
                await self._means.clock.sleep(RELIST)
                try:
                    await self._means.cache.relist()
                except EngineError as e:  # one that comes back begins its events with a list
                    log.warning("looking at the engine's containers: %s", e)

    def is_turning(self) -> bool:
        """Whether it does what it does again and again; before it has begun nobody can say that it does not."""
        begun = self._complete.is_set()
        return not begun or self._means.clock.monotonic() - self._turned_at < 2 * RELIST

    async def complete(self) -> None:
        """Returns when every pod that this node has or had is being looked after."""
        await self._complete.wait()

    def end(self, pod: Pod, ending: Ending) -> asyncio.Event | None:
        """What is set when nothing of the pod runs any more; None if nothing does."""
        worker = self._workers.get(pod.metadata.uid)
        if worker is None:
            return None
        worker.end(ending)
        return worker.over

    def known(self) -> set[str]:
        """The uids of the pods that this node has, or has something of."""
        assigned = (local_uid(p) for p in self._pods.list())
        return {*assigned, *(p.metadata.uid for p in self._statics()), *self._means.cache.uids(), *self._workers}

    def adopt_addresses(self) -> None:
        """All that pods have, before the first new pod can be given one; then those that pods had before their engine
        stopped, which their next sandboxes take again."""
        means = self._means
        sandboxes = [r for uid in means.cache.uids() for r in means.cache.of(uid) if r.is_pause]
        for record in sorted(sandboxes, key=lambda r: (r.running, r.attempt), reverse=True):
            address = means.network.known(record)
            if means.addresses is not None and address and (record.running or not means.addresses.of(record.uid)):
                means.addresses.adopt(record.uid, address)

    def devices_changed(self) -> None:
        """A driver of devices has come or gone."""
        for worker in self._workers.values():
            worker.devices_changed()

    def busy(self, uid: str) -> bool:
        """Is anything of that pod being run or ended?"""
        return uid in self._workers

    def statics_changed(self) -> None:
        """End the static pods whose manifests are gone, begin those that are new.

        One that was changed is another pod of the same name, and waits until nothing of the first one is left.
        """
        if self._tasks is None:
            return  # everything that exists is looked at when `run` begins
        wanted = {p.metadata.uid: p for p in self._statics()}
        for uid, worker in self._workers.items():
            if is_static(worker.pod) and uid not in wanted and not worker.leaving:
                worker.update(self._ending(worker.pod))
        taken = {key(w.pod) for w in self._workers.values()}
        for uid, pod in wanted.items():
            if key(pod) not in taken:
                self._begin(uid, Worker(self._means, self._as_mirrored(pod)))

    def _ending(self, pod: Pod) -> Pod:
        metadata = msgspec.structs.replace(
            pod.metadata, deletionTimestamp=times.format(self._means.clock.now()),
            deletionGracePeriodSeconds=pod.spec.terminationGracePeriodSeconds,
        )  # fmt: skip
        return msgspec.structs.replace(pod, metadata=metadata)

    def _as_mirrored(self, pod: Pod) -> Pod:
        """A static pod with what the API server knows of it."""
        found = self._pods.get(pod.metadata.namespace, pod.metadata.name)
        mirrored = found is not None and is_mirror(found) and local_uid(found) == pod.metadata.uid
        return msgspec.structs.replace(pod, status=found.status) if mirrored and found is not None else pod

    def _changed(self, old: Pod | None, new: Pod | None) -> None:
        if self._tasks is None:
            return  # everything that exists is looked at when `run` begins
        if new is not None and is_mirror(new) and (worker := self._workers.get(local_uid(new))):
            worker.update(self._as_mirrored(worker.pod))
            worker.wake()  # a mirror that was made anew knows nothing yet
        if not self._complete.is_set():
            return  # everything that exists is looked at when `run` has heard of all
        if old is not None and new is None and not is_mirror(old):
            self._finished.discard(old.metadata.uid)
            if worker := self._workers.get(old.metadata.uid):
                worker.gone()
        if new is not None and not is_mirror(new):
            self._ensure(new)
        if old is not None and (new is None or _gives_back(old, new)):
            self._retry_resizes()

    def _retry_resizes(self) -> None:
        """What others have given back is for the resizes that wait, the most important pods' first, and of those the
        guaranteed ones'."""
        waiting = [w for w in self._workers.values() if w.waits_for_room]
        for worker in sorted(waiting, key=lambda w: (-(w.pod.spec.priority or 0), qos_class(w.pod.spec) != GUARANTEED)):
            worker.wake()

    def _ensure(self, pod: Pod) -> None:
        uid = pod.metadata.uid
        if worker := self._workers.get(uid):
            worker.update(pod)
        elif uid not in self._finished:
            self._begin(uid, Worker(self._means, pod))

    def _container_changed(self, uid: str) -> None:
        if worker := self._workers.get(uid):
            worker.wake()
        elif self._complete.is_set() and uid not in self._finished:
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
        self._means.metrics.forget(worker.pod)
        pod = worker.pod.metadata
        current = self._pods.get(pod.namespace, pod.name)
        if current is not None and current.metadata.uid == uid:
            self._finished.add(uid)  # its object is still on its way out
        self._on_end(worker.pod)
        self.statics_changed()


def _gives_back(old: Pod, new: Pod) -> bool:
    """May there be room now that the pod held before?"""
    return new.metadata.generation != old.metadata.generation or (is_over(new) and not is_over(old))


def remembered(record: Record) -> Pod:
    """As much of a pod as its containers' labels tell."""
    return Pod(
        metadata=ObjectMeta(
            name=record.labels.get(POD_NAME, ""), namespace=record.labels.get(POD_NAMESPACE, ""), uid=record.uid
        ),
        spec=PodSpec(restartPolicy="Never"),
    )
