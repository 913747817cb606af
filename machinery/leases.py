"""Leader election: of several copies of a component one works, and another takes over when it goes.

https://kubernetes.io/docs/concepts/architecture/leases/ . The rules:
- who holds the Lease renews it every `retry` seconds, and stops working if it could not for `renew_deadline` seconds;
- nobody takes it before `duration` seconds have passed without a change *seen by the taker's own clock*: clocks of two
  machines are never compared;
- since renew_deadline < duration, two leaders never work at once, as long as clocks run at about the same speed;
- a process that stood still for longer than that (stopped, or starved of processors) does not know yet that another may
  lead: what it has still to say to the API server is held back (`Client.fence`), since its next words would be of then;
- what it had said, but lay on its way meanwhile, the API server refuses (apiserver.storage.tenures);
- who finds that the Lease was not its own for a while has lost it, even if nobody holds it any more: what it knows is
  older than what another has done;
- a clean stop gives the Lease back, so that the next one need not wait;
- a process that finds the Lease held under its own identity takes it over at once. Identities are therefore random,
  unless somebody who knows that there is one process of a name at a time, such as a container's engine, gives it one.

A tenure is told from another by its holder and `acquireTime`, so that two of one holder are two.
"""

import asyncio
import logging
import socket
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from api import errors, meta, times
from api.types import Lease, LeaseSpec, ObjectMeta
from machinery.client import Client
from machinery.clocks import SYSTEM, Clock

log = logging.getLogger("leases")


@dataclass(frozen=True, slots=True)
class Timing:
    duration: float = 15.0
    renew_deadline: float = 10.0
    retry: float = 2.0


class Lost(Exception):
    """The Lease could not be renewed in time, so whoever led must stop."""


class Election:
    """Takes part in the election for the Lease `name` in kube-system as `identity`."""

    def __init__(
        self, client: Client, name: str, *, identity: str = "", timing: Timing | None = None, clock: Clock = SYSTEM
    ) -> None:
        self.identity = identity or f"{socket.gethostname()}_{uuid.uuid4()}"
        self.leading = asyncio.Event()
        self._client = client
        self._name = name
        self._timing = timing or Timing()
        self._clock = clock
        self._since = ""  # acquireTime of the present tenure
        self._renewed = 0.0  # monotonic; before the attempt, so that nobody counts from earlier than this process
        self._seen: tuple[str, float] = ("", 0.0)  # the last observed version of the Lease, and when it was first seen

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Wait for the Lease, then run `lead` while it is held.

        Returns when `lead` returns.  Raises Lost if the Lease is lost: the process should end and start anew, since
        what it knows and has begun belongs to its time as the leader.
        """
        await self._acquire()
        self._client.fence(self.holds, f"kube-system/{self._name}", self.identity, self._since)
        self.leading.set()
        log.info("became leader %s as %s", self._name, self.identity)
        try:
            async with asyncio.TaskGroup() as tasks:
                renewing = tasks.create_task(self._keep())
                await lead()
                renewing.cancel()
        except* Lost as group:
            raise Lost(str(group.exceptions[0])) from group
        finally:
            self.leading.clear()
            await asyncio.shield(self._release())

    def holds(self) -> bool:
        """Whether nobody else can have taken the Lease yet."""
        return self._clock.monotonic() - self._renewed <= self._timing.renew_deadline

    async def _acquire(self) -> None:
        while not await self._take():
            await self._wait_for_change()

    async def _wait_for_change(self) -> None:
        """Until the Lease changes, or a try is due anyway."""
        version, _ = self._seen
        try:
            async with asyncio.timeout(self._timing.retry):
                async for batch in self._client.watch(
                    Lease, "kube-system", resource_version=version, field_selector=f"metadata.name={self._name}"
                ):
                    if any(e.type == "DELETED" or not e.object.spec.holderIdentity for e in batch):
                        return
        except TimeoutError:
            return
        except errors.ApiError as e:
            log.debug("watching %s: %s", self._name, e)
            await self._clock.sleep(min(self._timing.retry, 0.2))

    async def _take(self) -> bool:
        """Begin a tenure, if the Lease is free; whether it is ours now."""
        now, began = times.format_micro(self._clock.now()), self._clock.monotonic()
        try:
            lease = meta.clone(await self._client.get(Lease, self._name, "kube-system"))
        except errors.NotFound:
            return await self._write(self._new(now), began, create=True)
        except errors.ApiError as e:
            log.debug("reading %s: %s", self._name, e)
            return False
        if lease.metadata.resourceVersion != self._seen[0]:
            self._seen = (lease.metadata.resourceVersion, self._clock.monotonic())
        ours = lease.spec.holderIdentity == self.identity
        expired = self._clock.monotonic() - self._seen[1] > (lease.spec.leaseDurationSeconds or 0)
        if not ours and lease.spec.holderIdentity and not expired:
            return False
        if not ours:
            lease.spec.leaseTransitions = (lease.spec.leaseTransitions or 0) + 1
        lease.spec.holderIdentity = self.identity
        lease.spec.leaseDurationSeconds = int(self._timing.duration)
        lease.spec.acquireTime = lease.spec.renewTime = now
        return await self._write(lease, began, create=False)

    async def _renew(self) -> bool:
        """Whether it could be done.  Raises Lost if another tenure has begun or ended meanwhile."""
        now, began = times.format_micro(self._clock.now()), self._clock.monotonic()
        try:
            lease = meta.clone(await self._client.get(Lease, self._name, "kube-system"))
        except errors.NotFound:  # somebody deleted it
            return self.holds() and await self._write(self._new(now), began, create=True)
        except errors.ApiError as e:
            log.debug("reading %s: %s", self._name, e)
            return False
        if not self._is_present(lease):
            raise Lost(f"the lease {self._name} is held by {lease.spec.holderIdentity or 'nobody'} now")
        lease.spec.renewTime = now
        return await self._write(lease, began, create=False)

    def _is_present(self, lease: Lease) -> bool:
        """Whether it tells of the present tenure."""
        return (lease.spec.holderIdentity, lease.spec.acquireTime) == (self.identity, self._since)

    def _new(self, now: str) -> Lease:
        return Lease(
            metadata=ObjectMeta(name=self._name, namespace="kube-system"),
            spec=LeaseSpec(
                holderIdentity=self.identity, leaseDurationSeconds=int(self._timing.duration),
                acquireTime=self._since or now, renewTime=now, leaseTransitions=0,
            ),
        )  # fmt: skip

    async def _write(self, lease: Lease, began: float, *, create: bool) -> bool:
        try:
            await (self._client.create(lease) if create else self._client.update(lease))
        except errors.ApiError as e:
            log.debug("writing %s: %s", self._name, e)
            return False
        self._renewed, self._since = began, lease.spec.acquireTime
        return True

    async def _keep(self) -> None:
        renewed = self._clock.monotonic()
        while True:
            await self._clock.sleep(self._timing.retry)
            try:
                async with asyncio.timeout(self._timing.retry * 2):
                    held = await self._renew()
            except TimeoutError:
                held = False
            if held:
                renewed = self._clock.monotonic()
            elif self._clock.monotonic() - renewed > self._timing.renew_deadline:
                raise Lost(f"the lease {self._name} could not be renewed for {self._timing.renew_deadline:.0f} s")

    async def _release(self) -> None:
        try:
            async with asyncio.timeout(self._timing.retry):
                lease = await self._client.get(Lease, self._name, "kube-system")
                if self._is_present(lease):
                    lease.spec.holderIdentity = ""
                    lease.spec.leaseDurationSeconds = 1
                    await self._client.update(lease)
        except (errors.ApiError, TimeoutError) as e:
            log.debug("giving %s back: %s", self._name, e)  # it will expire
