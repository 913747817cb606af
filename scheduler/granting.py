"""Claims of devices come to be known, and what was decided of them is written before the pod is bound (PreBind).

A claim is allocated and reserved by an update of the revision that is known, so of two schedulers that allocate one
claim, the second is refused. Whether a write was done that nobody answered for is found out by asking for it again: as
long as it may still arrive, its devices are not given to others.
https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from api import errors, meta, times
from api.meta import Key
from api.resource_claims import FINALIZER, Unusable, is_reserved_for, results
from api.types import (
    AllocationResult,
    DeviceClass,
    Pod,
    ResourceClaimConsumerReference,
    ResourceSlice,
    ResourceV1ResourceClaim,
)
from machinery.client import Client
from machinery.clocks import Clock
from scheduler.device_conditions import failure, is_ready
from scheduler.hints import Event
from scheduler.queues import SchedulingQueue, State
from scheduler.snapshots import Snapshot

if TYPE_CHECKING:  # it brings the allocator, which is not needed without claims
    from scheduler.devices import Devices, Grant

T = TypeVar("T")
RETRY_SECONDS = 0.2
CONFLICTS = 5
log = logging.getLogger("granting")

Step = tuple[ResourceV1ResourceClaim, str]
"""A claim as it is to be written, and the subresource."""


class Granting:
    """Keeps what the snapshot knows of devices current, and writes what was decided."""

    def __init__(self, client: Client, snapshot: Snapshot, queue: SchedulingQueue, clock: Clock) -> None:
        self._client = client
        self._snapshot = snapshot
        self._queue = queue
        self._clock = clock
        self._uses: dict[Key, frozenset[Key]] = {}
        self._users: dict[Key, set[Key]] = {}
        """The claims of pods that wait for a node, and the other way round."""
        self._told: dict[Key, asyncio.Event] = {}
        """To be set when something is known of a claim whose devices are being prepared."""
        self._leaving: dict[Key, asyncio.Event] = {}
        """Pods that were not bound, and whose claims may still be reserved for them."""

    def on_claim(self, old: ResourceV1ResourceClaim | None, new: ResourceV1ResourceClaim | None) -> None:
        devices = self._snapshot.with_devices()
        claim = new or old
        assert claim is not None
        if new is not None:
            devices.set_claim(new)
        else:
            devices.remove_claim(claim)
        key = meta.key(claim)
        if (told := self._told.pop(key, None)) is not None:
            told.set()
        if old is not None and old.status.allocation is not None and (new is None or not new.status.allocation):
            self._queue.happened(Event.CLAIM)  # devices are free
        elif new is not None and (old is None or old.status != new.status):
            self._queue.happened(Event.CLAIM, among=self._users.get(key, ()))
        if new is not None and (old is None or old.status != new.status):
            self._tell(key)

    def on_class(self, old: DeviceClass | None, new: DeviceClass | None) -> None:
        devices = self._snapshot.with_devices()
        if new is None:
            if old is not None:
                devices.remove_class(old.metadata.name)
        elif old is None or old.spec != new.spec:
            devices.set_class(new)
            self._queue.happened(Event.DEVICE_CLASS)

    def on_slice(self, old: ResourceSlice | None, new: ResourceSlice | None) -> None:
        devices = self._snapshot.with_devices()
        if new is None:
            if old is not None:
                devices.remove_slice(old.metadata.name)
        elif old is None or old.spec != new.spec:
            devices.set_slice(new)
            self._queue.happened(Event.SLICE)

    def why_not(self, pod: Pod) -> str:
        """Why the pod is not to be tried yet, in upstream's words, or "": its claims are not there (PreEnqueue)."""
        from scheduler.devices import claims_of

        key = meta.key(pod)
        self.forget(key)
        used = self._uses[key] = _claims(pod)
        for claim in used:
            self._users.setdefault(claim, set()).add(key)
        try:
            claims_of(pod, self._snapshot.with_devices().claims)
        except Unusable as e:
            return str(e)
        return ""

    def forget(self, pod: Key) -> None:
        """It is gone, or has a node."""
        for claim in self._uses.pop(pod, ()):
            self._users[claim].discard(pod)
            if not self._users[claim]:
                del self._users[claim]

    def _tell(self, claim: Key) -> None:
        """Those that are not tried because it was not there, may be now."""
        for pod in (*self._users.get(claim, ()),):
            waiting = self._queue.find(pod)
            if waiting is None:
                self.forget(pod)
            elif waiting.state is State.GATED:
                self._queue.add(waiting.pod, pod)

    async def grant(self, pod: Pod, grants: "Iterable[Grant]") -> None:
        """Returns when each claim is allocated as was decided, and reserved for the pod.

        Raises ApiError if it is certain that one is not.
        """
        if (leaving := self._leaving.get(meta.key(pod))) is not None:
            await leaving.wait()  # else it would lose now what it had then
        devices = self._snapshot.with_devices()
        for grant in grants:
            known = devices.find(grant.claim, grant.uid)
            if known is None:
                raise errors.Conflict(f"claim {grant.claim} is gone")
            now = times.format(self._clock.now())
            await self._write(devices, known, partial(_granted, grant=grant, pod=pod, now=now))

    async def prepared(self, grants: "Iterable[Grant]", seconds: float) -> None:
        """Returns when all devices are.  Raises ApiError if one cannot be, or is not in so many seconds."""
        devices = self._snapshot.with_devices()
        try:
            async with asyncio.timeout(seconds):
                for grant in grants:
                    await self._ready(devices, grant)
        except TimeoutError as e:
            unready = (g.uid for g in grants if (c := devices.find(g.claim, g.uid)) is not None and not is_ready(c))
            devices.expired.update(unready)
            raise errors.Timeout("device binding timeout") from e

    async def _ready(self, devices: "Devices", grant: "Grant") -> None:
        while True:
            claim = devices.find(grant.claim, grant.uid)
            if claim is None or claim.status.allocation is None:
                raise errors.Conflict(f"claim {grant.claim} got deallocated in the meantime")
            if why := failure(claim):
                raise errors.Conflict(why)
            if is_ready(claim):
                return
            await self._told.setdefault(grant.claim, asyncio.Event()).wait()

    async def take_back(self, pod: Pod, grants: "Iterable[Grant]") -> None:
        """The pod is not bound after all: its claims are not reserved for it any more."""
        devices = self._snapshot.with_devices()
        left = self._leaving[meta.key(pod)] = asyncio.Event()
        try:
            if (await self._read(Pod, meta.key(pod))).spec.nodeName:
                return  # somebody else has bound it, and it needs them
            for grant in grants:
                claim = devices.find(grant.claim, grant.uid)
                if claim is not None:
                    await self._write(devices, claim, lambda claim: _without(claim, pod))
        except errors.ApiError as e:
            # The next attempt reserves it anyway; and of a pod that is gone, the controller of claims takes care.
            log.info("the claims of %s are not all free of it: %s", meta.key(pod), e)
        finally:
            left.set()
            if self._leaving.get(meta.key(pod)) is left:
                del self._leaving[meta.key(pod)]

    async def give_back(self, key: Key, pod: Pod) -> None:
        """Free the devices of a claim that nobody else needs, so that the pod may get others."""
        devices = self._snapshot.with_devices()
        claim = devices.claims.get(key)
        if claim is None:
            return
        freed = _without(claim, pod)
        changed = freed[0] if freed is not None else meta.clone(claim)
        if changed.status.reservedFor:
            return
        changed.status.allocation, changed.status.devices = None, []
        try:
            await self._client.update_status(changed)
        except errors.ApiError as e:  # the next attempt says it again
            log.info("the claim %s was not deallocated: %s", key, e)

    async def _write(
        self, devices: "Devices", claim: ResourceV1ResourceClaim,
        step: Callable[[ResourceV1ResourceClaim], Step | None],
    ) -> None:  # fmt: skip
        """Step by step, until there is none left.  Raises ApiError, and what `step` raises."""
        conflicts = 0
        while (change := step(claim)) is not None:
            changed, subresource = change
            try:
                claim = await self._client.update(changed, subresource=subresource)
            except errors.UNANSWERED as e:
                log.info("it is not known whether the claim %s was written: %s", meta.key(claim), e)
                await self._clock.sleep(RETRY_SECONDS)
                continue
            except errors.Conflict:
                conflicts += 1
                if conflicts > CONFLICTS:
                    raise
                uid = claim.metadata.uid
                claim = await self._read(ResourceV1ResourceClaim, meta.key(claim))
                if claim.metadata.uid != uid:
                    raise
            devices.set_claim(claim)

    async def _read(self, what: type[T], key: Key) -> T:
        while True:
            try:
                return await self._client.get(what, key.name, key.namespace)
            except errors.UNANSWERED:
                await self._clock.sleep(RETRY_SECONDS)


def _granted(claim: ResourceV1ResourceClaim, grant: "Grant", pod: Pod, now: str) -> Step | None:
    """The next step to where the claim is allocated so and reserved for the pod.  Raises Conflict."""
    allocation = claim.status.allocation
    if claim.metadata.deletionTimestamp:
        raise errors.Conflict(f"claim {grant.claim} got deleted in the meantime")
    if allocation is not None and _devices(allocation) != _devices(grant.allocation):
        raise errors.Conflict(f"claim {grant.claim} got allocated elsewhere in the meantime")
    if allocation is None and not grant.new:
        raise errors.Conflict(f"claim {grant.claim} got deallocated in the meantime")
    if is_reserved_for(claim, pod):
        return None
    changed = meta.clone(claim)
    if allocation is None and FINALIZER not in claim.metadata.finalizers:
        changed.metadata.finalizers.append(FINALIZER)
        return changed, ""
    if allocation is None:
        changed.status.allocation = replace(grant.allocation, allocationTimestamp=now)
    user = ResourceClaimConsumerReference(resource="pods", name=pod.metadata.name, uid=pod.metadata.uid)
    changed.status.reservedFor.append(user)
    return changed, "status"


def _without(claim: ResourceV1ResourceClaim, pod: Pod) -> Step | None:
    others = [each for each in claim.status.reservedFor if each.uid != pod.metadata.uid]
    if len(others) == len(claim.status.reservedFor):
        return None
    changed = meta.clone(claim)
    changed.status.reservedFor = others
    return changed, "status"


def _devices(allocation: AllocationResult) -> list[tuple[str, ...]]:
    return [(r.request, r.driver, r.pool, r.device, r.shareID) for r in results(allocation)]


def _claims(pod: Pod) -> frozenset[Key]:
    """Those that it names, and those that were made for it."""
    made = [each.resourceClaimName for each in pod.status.resourceClaimStatuses]
    named = [each.resourceClaimName for each in pod.spec.resourceClaims]
    return frozenset(Key(pod.metadata.namespace, name) for name in (*made, *named) if name)
