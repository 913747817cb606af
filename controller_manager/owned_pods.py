"""The pods that controllers of one kind own: whose key a change concerns, and what is not seen yet of one's writes."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

from api import errors, kinds, meta
from api.labels import Selector
from api.meta import Key
from api.types import Pod
from controller_manager.contexts import Context
from controller_manager.expectations import Expectations
from controller_manager.refusals import namespace_is_going
from machinery.events import Recorder
from machinery.informers import Informer
from machinery.queues import WorkQueue


class OwnedPods:
    """Puts the keys of `owners` into `queue` when their pods, or pods that they could adopt, change."""

    def __init__(self, context: Context, what: type[Any], owners: Informer[Any], selector: Callable[[Any], Selector]):
        self._client = context.client
        self._kind = kinds.of(what)
        self._owners = owners
        self._selector = selector
        self._expectations = Expectations(context.clock)
        # Keys for which writes were made of which nobody knows whether they were done, and how many.
        self._doubtful: Counter[Key] = Counter()
        self._asking = asyncio.Lock()
        self._queue: WorkQueue[Key] | None = None
        self.informer: Informer[Pod] = context.informers(Pod, indexes=("controller", "orphan"))

    def feed(self, queue: WorkQueue[Key]) -> None:
        """From now on. Once, before the informers run."""
        self._queue = queue
        self._owners.on_change(self._owner_changed)
        self.informer.on_change(self._pod_changed)

    def of(self, owner: Any) -> list[Pod]:
        return self.informer.by_index("controller", owner.metadata.uid)

    def orphans(self, namespace: str) -> list[Pod]:
        return self.informer.by_index("orphan", namespace)

    async def waiting(self, key: Key) -> float:
        """0 if the informer has shown all that was written for this key; else the longest time to wait for it.

        What may have been written is asked for first, once for all keys: the watch may come back later than the
        answers to writes, and a pod that was created after all would be created again.  Raises ApiError.
        """
        if key in self._doubtful:
            async with self._asking:
                if key in self._doubtful:
                    before = dict(self._doubtful)
                    await self.informer.refresh()
                    for known, times in before.items():
                        if self._doubtful[known] == times:
                            del self._doubtful[known]
        return self._expectations.remaining(key)

    def forget(self, key: Key) -> None:
        """The owner is gone."""
        self._expectations.forget(key)
        del self._doubtful[key]

    async def create(self, key: Key, pod: Pod) -> Pod:
        """Raises ApiError."""
        try:
            created = await self._client.create(pod)
        except errors.UNANSWERED:
            self._doubtful[key] += 1
            raise
        if not self.informer.has_shown(created):
            self._expectations.expect(key, created.metadata.uid)
        return created

    async def delete(self, key: Key, pod: Pod) -> bool:
        """False if it was gone already.  Raises ApiError."""
        uid = pod.metadata.uid
        # Before the call: the informer may show the deletion before the answer arrives.
        self._expectations.expect(key, uid)
        try:
            await self._client.delete(Pod, pod.metadata.name, pod.metadata.namespace, uid=uid)
        except errors.NotFound:
            self._expectations.observed(key, uid)
            return False
        except errors.ApiError:
            self._expectations.observed(key, uid)
            raise
        return True

    async def make(self, key: Key, owner: Any, pod: Pod, events: Recorder) -> errors.ApiError | None:
        """Create a pod and tell of it; answers with what was refused, told too unless its namespace is ending."""
        try:
            created = await self.create(key, pod)
        except errors.ApiError as e:
            if not namespace_is_going(e):
                events.event(owner, "Warning", "FailedCreate", f"Error creating: {e.message}")
            return e
        events.event(owner, "Normal", "SuccessfulCreate", f"Created pod: {created.metadata.name}")
        return None

    async def remove(self, key: Key, owner: Any, pod: Pod, events: Recorder) -> errors.ApiError | None:
        """Delete a pod and tell of it, unless it was gone already; answers with what was refused."""
        try:
            deleted = await self.delete(key, pod)
        except errors.ApiError as e:
            events.event(owner, "Warning", "FailedDelete", f"Error deleting: {e.message}")
            return e
        if deleted:
            events.event(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {pod.metadata.name}")
        return None

    # What happens → which key

    def _add(self, key: Key) -> None:
        assert self._queue is not None  # handlers are registered by `feed`
        self._queue.add(key)

    def _owner_changed(self, old: Any | None, new: Any | None) -> None:
        key = meta.key(new or old)
        if new is None:
            self.forget(key)
        self._add(key)

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        before, after = (self._owner_of(p) if p is not None else None for p in (old, new))
        if before is not None and (new is None or before != after):
            self._expectations.observed(before, old.metadata.uid)  # type: ignore[union-attr]
            self._add(before)
        if new is None:
            return
        if after is not None:
            if old is None or before != after or new.metadata.deletionTimestamp:
                self._expectations.observed(after, new.metadata.uid)
            self._add(after)
        elif meta.controller_of(new) is None and (old is None or _could_match_anew(old, new)):
            for owner in self._owners.list(new.metadata.namespace):
                selector = self._selector(owner)
                if selector and selector.matches(new.metadata.labels):
                    self._add(meta.key(owner))

    def _owner_of(self, pod: Pod) -> Key | None:
        """The key of the owner of this kind, if it is still the same, or not seen yet."""
        reference = meta.controller_of(pod)
        group = self._kind.api_version.partition("/")[0]
        if reference is None or (reference.kind, reference.apiVersion.partition("/")[0]) != (self._kind.name, group):
            return None
        owner = self._owners.get(pod.metadata.namespace, reference.name)
        if owner is not None and owner.metadata.uid != reference.uid:
            return None
        return Key(pod.metadata.namespace, reference.name)


def _could_match_anew(old: Pod, new: Pod) -> bool:
    return old.metadata.labels != new.metadata.labels or meta.controller_of(old) is not None
