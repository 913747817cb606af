"""Preparing the claims of pods, and undoing that."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol
from weakref import WeakValueDictionary

from api import errors
from api.types import Container, Pod, ResourceV1ResourceClaim
from kubelet.devices import claims
from kubelet.devices.claims import ClaimFault
from kubelet.devices.drivers import Driver, Drivers
from kubelet.devices.metrics import Metrics
from kubelet.devices.records import Claim, Records
from kubelet.runtime.interfaces import EngineError, Spec
from machinery.clocks import Clock

PERIOD = 60.0

Key = tuple[str, str]

log = logging.getLogger("devices")


class Devices(Protocol):
    """What workers need."""

    def holds(self, uid: str) -> bool:
        """Is anything prepared for that pod?"""
        ...

    def ready(self, pod: Pod) -> bool:
        """Was every claim of the pod prepared for it, by this kubelet or an earlier one?"""
        ...

    async def prepare(self, pod: Pod) -> None:
        """Raises ClaimFault."""
        ...

    async def unprepare(self, uid: str) -> None:
        """Raises ClaimFault.  What others use stays."""
        ...

    async def given(self, pod: Pod, container: Container, spec: Spec) -> Spec:
        """With the devices that the container asks for.  Raises EngineError: upstream's engine finds them."""
        ...


class NoDevices:
    """Implements `Devices` where there can be no drivers."""

    def holds(self, uid: str) -> bool:
        return False

    def ready(self, pod: Pod) -> bool:
        return not pod.spec.resourceClaims

    async def prepare(self, pod: Pod) -> None:
        raise ClaimFault("there can be no DRA drivers on this node")

    async def unprepare(self, uid: str) -> None:
        return

    async def given(self, pod: Pod, container: Container, spec: Spec) -> Spec:
        return spec


class Prepared:
    """Implements `Devices`.  `inject` gives a container the devices of these names, and may raise EngineError; None:
    the containers are not real, and get nothing of their devices."""

    def __init__(
        self, claim: Callable[[str, str], Awaitable[ResourceV1ResourceClaim]], drivers: Drivers, records: Records,
        inject: Callable[[Spec, list[str]], Spec] | None, metrics: Metrics, clock: Clock,
    ) -> None:  # fmt: skip
        """`claim` reads one, by namespace and name."""
        self.asked = asyncio.Event()  # the node has had a pod with claims
        self._claim = claim
        self._drivers = drivers
        self._records = records
        self._inject = inject
        self._metrics = metrics
        self._clock = clock
        self._held: dict[Key, Claim] = {c.key: c for c in records.read()}
        # By uid.  What an earlier kubelet has prepared is prepared again before another pod gets it: that changes
        # nothing, and it may not have come to the end of it.
        self._prepared: set[str] = set()
        self._locks: WeakValueDictionary[Key, asyncio.Lock] = WeakValueDictionary()  # those that somebody waits for
        if self._held:
            self.asked.set()

    def holds(self, uid: str) -> bool:
        return any(uid in c.pods for c in self._held.values())

    def ready(self, pod: Pod) -> bool:
        try:
            names = [claims.claim_name(pod, reference) for reference in pod.spec.resourceClaims]
        except ClaimFault:
            return False
        held = [self._held.get((pod.metadata.namespace, name)) for name in names if name]
        return all(c is not None and pod.metadata.uid in c.pods for c in held)

    async def prepare(self, pod: Pod) -> None:
        self.asked.set()
        with self._metrics.handling("PrepareResources"):
            try:
                wanted = await self._wanted(pod)
                async with self._alone(c.key for c, _ in wanted):
                    await self._prepare(pod.metadata.uid, wanted)
            except ClaimFault as e:
                raise ClaimFault(f"prepare dynamic resources: {e}") from e

    async def _wanted(self, pod: Pod) -> list[tuple[Claim, list[Driver]]]:
        """The pod's claims, none of them prepared yet, with those who are to do so.  Raises ClaimFault."""
        found = []
        for reference in pod.spec.resourceClaims:
            if not (name := claims.claim_name(pod, reference)):
                continue
            try:
                claim = await self._claim(pod.metadata.namespace, name)
            except errors.ApiError as e:
                raise ClaimFault(f"fetch ResourceClaim {name}: {e.message}") from e
            names = claims.drivers(pod, reference, claim)
            one = Claim(pod.metadata.namespace, name, claim.metadata.uid, {n: [] for n in names})
            found.append((one, [self._drivers.get(n) for n in names]))
        return found

    async def _prepare(self, uid: str, wanted: list[tuple[Claim, list[Driver]]]) -> None:
        for new, _ in wanted:
            if (old := self._held.get(new.key)) is not None and old.uid != new.uid:
                raise ClaimFault(
                    f"old ResourceClaim with same name {new.name} and different UID {old.uid} still exists "
                    "(previous pod force-deleted?!)"
                )
        batches: dict[Driver, list[Claim]] = {}
        for new, drivers in wanted:
            claim = self._held.setdefault(new.key, new)
            claim.pods.add(uid)
            if claim.uid not in self._prepared:
                for driver in drivers:
                    batches.setdefault(driver, []).append(claim)
        # Before anybody is asked: whatever becomes of the asking, it will be undone.
        self._write()
        if not batches:
            return
        for driver, batch in batches.items():
            devices = await driver.prepare(batch)
            for claim in batch:
                claim.drivers[driver.name] = devices[claim.uid]
        self._write()
        self._prepared.update(claim.uid for batch in batches.values() for claim in batch)

    async def unprepare(self, uid: str) -> None:
        with self._metrics.handling("UnprepareResources"):
            try:
                async with self._alone(key for key, c in self._held.items() if uid in c.pods):
                    await self._unprepare(uid)
            except ClaimFault as e:
                raise ClaimFault(f"unprepare dynamic resources: {e}") from e

    async def _unprepare(self, uid: str) -> None:
        batches: dict[str, list[Claim]] = {}
        last = [c for c in self._held.values() if c.pods == {uid}]
        for claim in self._held.values():
            if len(claim.pods) > 1:
                claim.pods.discard(uid)
        for claim in last:
            self._prepared.discard(claim.uid)  # a driver that fails may have undone it all the same
            for name in claim.drivers:
                batches.setdefault(name, []).append(claim)
        for name, batch in batches.items():
            await self._drivers.get(name).unprepare(batch)
        for claim in last:
            del self._held[claim.key]
        self._write()

    @asynccontextmanager
    async def _alone(self, keys: Iterable[Key]) -> AsyncIterator[None]:
        """Of each claim one thing is done at a time.  In one order, so that two pods never wait for each other."""
        async with AsyncExitStack() as stack:
            for key in sorted(set(keys)):
                await stack.enter_async_context(self._locks.setdefault(key, asyncio.Lock()))
            yield

    def _write(self) -> None:
        """Raises ClaimFault: nothing may be prepared that could be forgotten."""
        try:
            self._records.write([*self._held.values()])
        except OSError as e:
            raise ClaimFault(f"checkpoint ResourceClaim state: {e}") from e

    async def given(self, pod: Pod, container: Container, spec: Spec) -> Spec:
        if self._inject is None:
            return spec
        ids: list[str] = []
        try:
            for name, request in claims.requests(pod, container):
                if (claim := self._held.get((pod.metadata.namespace, name))) is None:
                    raise EngineError(f"unable to get information for ResourceClaim {name}")
                ids += claim.ids(request)
        except ClaimFault as e:
            raise EngineError(str(e)) from e
        return await asyncio.to_thread(self._inject, spec, list(dict.fromkeys(ids))) if ids else spec

    async def run(self, known: Callable[[], Collection[str]]) -> None:
        """Undoes what was prepared for pods that are gone without a word, until cancelled.  `known` are the uids of
        those that this node has."""
        while True:
            pods = known()
            for uid in {uid for c in self._held.values() for uid in c.pods if uid not in pods}:
                try:
                    await self.unprepare(uid)
                except ClaimFault as e:
                    log.info("of pod %s, which is gone: %s", uid, e)
            await self._clock.sleep(PERIOD)
