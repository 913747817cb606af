"""What is stored for a while only: events go an hour after they were last written, by etcd's own leases.

A lease of its own for every event would cost etcd more than the event, so those of a minute share one and live up to
that minute longer, as upstream has it.
"""

import asyncio

from apiserver.storage.etcd import Etcd
from machinery.clocks import Clock

EVENTS = b"/registry/events/"
SHARED_SECONDS = 60.0


class Leases:
    def __init__(self, etcd: Etcd, clock: Clock, seconds: float) -> None:
        self._etcd = etcd
        self._clock = clock
        self._seconds = seconds
        self._shared = min(SHARED_SECONDS, seconds / 20)
        self._lease, self._until = 0, 0.0
        self._asking = asyncio.Lock()

    def concern(self, key: bytes) -> bool:
        """Whether what stands at the key is for a while only."""
        return key.startswith(EVENTS)

    async def current(self) -> int:
        """The lease to write under now."""
        async with self._asking:
            now = self._clock.monotonic()
            if not self._lease or now >= self._until:
                self._lease = await self._etcd.grant(self._seconds + self._shared)
                self._until = now + self._shared
            return self._lease

    async def renewed(self) -> int:
        """A new lease, since etcd does not know the last one any more."""
        self._lease = 0
        return await self.current()
