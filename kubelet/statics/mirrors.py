"""Mirror pods: how static pods are seen by those who ask the API server."""

import logging
from collections.abc import Callable, Iterable

from api import errors, meta
from api.meta import Key
from api.types import Node, Pod
from kubelet.statics.manifests import HASH, MIRROR, is_mirror, is_static, local_uid, mirror
from machinery.client import Client
from machinery.informers import Informer
from machinery.queues import WorkQueue

log = logging.getLogger("mirrors")


class Mirrors:
    """Keeps one mirror pod for each static pod, and none that mirrors nothing.

    Whoever deletes a mirror pod only sees it made again: what runs here is decided by the manifests.  `busy` says
    whether a pod of that uid is still being run or ended: until then it stays visible.
    """

    def __init__(
        self, client: Client, pods: Informer[Pod], statics: Callable[[], Iterable[Pod]], busy: Callable[[str], bool],
        node: Callable[[], Node | None],
    ) -> None:  # fmt: skip
        self._client = client
        self._pods = pods
        self._statics = statics
        self._busy = busy
        self._node = node
        self._queue: WorkQueue[Key] = WorkQueue()
        pods.on_change(self._changed)

    def of(self, pod: Pod) -> Pod | None:
        """The API server's object of a pod: itself, or its mirror; None while there is no such mirror."""
        if not is_static(pod):
            return pod
        found = self._pods.get(pod.metadata.namespace, pod.metadata.name)
        return found if found is not None and local_uid(found) == pod.metadata.uid and is_mirror(found) else None

    def settle(self, key: Key) -> None:
        """The static pod of that name has come, gone or ended."""
        self._queue.add(key)

    def _changed(self, old: Pod | None, new: Pod | None) -> None:
        for pod in (old, new):
            if pod is not None and is_mirror(pod):
                self._queue.add(meta.key(pod))

    async def run(self) -> None:
        """Until cancelled; the node must be registered, since it owns them."""
        await self._pods.synced()
        for pod in self._statics():
            self._queue.add(meta.key(pod))
        try:
            while True:
                key = await self._queue.get()
                try:
                    await self._settle(key)
                except errors.ApiError as e:
                    log.warning("the mirror of static pod %s/%s: %s", key.namespace, key.name, e)
                    self._queue.retry(key)
                else:
                    self._queue.forget(key)
                finally:
                    self._queue.done(key)
        finally:
            self._queue.close()

    async def _settle(self, key: Key) -> None:
        wanted = next((p for p in self._statics() if meta.key(p) == key), None)
        found = self._pods.get(key.namespace, key.name)
        if found is not None:
            if is_mirror(found) and self._is_stale(found, wanted):
                uid = found.metadata.uid
                try:
                    await self._client.delete(Pod, key.name, key.namespace, uid=uid, grace_seconds=0)
                except (errors.NotFound, errors.Conflict) as e:
                    log.debug("the mirror %s is gone already: %s", uid, e)
            return  # what comes next is told by its disappearance
        node = self._node()
        if wanted is not None and node is not None:
            await self._client.create(mirror(wanted, node))

    def _is_stale(self, found: Pod, wanted: Pod | None) -> bool:
        mirrored = found.metadata.annotations[MIRROR]
        if wanted is not None and mirrored == wanted.metadata.annotations[HASH]:
            return bool(found.metadata.deletionTimestamp)
        return not self._busy(mirrored)
