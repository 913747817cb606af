"""What the engine's containers are, as of the last thing heard of them."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

from kubelet.runtime.interfaces import Change, EngineError, NoSuchContainer, Record, Runtime
from machinery.clocks import SYSTEM, Clock

RETRY = 1.0

log = logging.getLogger("containers")


class Cache:
    """Records of this node's containers by pod uid.

    It follows the engine's changes, and is told at once by whoever changes a container, so that nobody need wait for
    the engine to say what was just done.
    """

    def __init__(self, runtime: Runtime, clock: Clock = SYSTEM) -> None:
        self._runtime = runtime
        self._clock = clock
        self._records: dict[str, Record] = {}
        self._by_pod: defaultdict[str, dict[str, Record]] = defaultdict(dict)
        self._synced = asyncio.Event()
        self._waiters: defaultdict[str, list[asyncio.Future[None]]] = defaultdict(list)
        self.on_change: Callable[[str], None] = lambda uid: None

    def of(self, uid: str) -> tuple[Record, ...]:
        return tuple(self._by_pod.get(uid, {}).values())

    def get(self, container: str) -> Record | None:
        return self._records.get(container)

    def all(self) -> list[Record]:
        return list(self._records.values())

    def uids(self) -> list[str]:
        return [uid for uid, records in self._by_pod.items() if records]

    async def synced(self) -> None:
        await self._synced.wait()

    async def run(self) -> None:
        async for change, container in self._runtime.changes():
            while True:
                try:
                    await self._apply(change, container)
                    break
                except EngineError as e:
                    # What was missed is in the next list, and nobody would ask for that.
                    log.warning("looking at the engine's containers: %s", e)
                    change = Change.RELIST
                    await self._clock.sleep(RETRY)

    async def _apply(self, change: Change, container: str) -> None:
        match change:
            case Change.RELIST:
                await self.relist()
            case Change.GONE:
                self.forget(container)
            case Change.STARTED if (known := self._records.get(container)) is not None and known.running:
                return  # whoever started it has looked at it already, and each is started once
            case _:
                await self.refresh(container)

    async def relist(self) -> None:
        before = set(self._records)
        records = await self._runtime.containers()
        # Only what was known before the list can be missing from it: what was made meanwhile is not lost.
        for gone in before - {r.id for r in records}:
            self.forget(gone)
        for record in records:
            self.put(record)
        self._synced.set()

    async def refresh(self, container: str) -> Record | None:
        """Look at one container again; None if it is gone."""
        try:
            record = await self._runtime.inspect(container)
        except NoSuchContainer:
            self.forget(container)
            return None
        self.put(record)
        return record

    def put(self, record: Record) -> None:
        old = self._records.get(record.id)
        if old is not None and old.identity is not None:
            # A process may become somebody else later, and is nobody once it has ended: what counts is how it began.
            record = replace(record, identity=old.identity)
        # Two looks at one container may overtake each other; it never goes from ended back to running.
        if old == record or (old is not None and old.ended and not record.ended):
            return
        self._records[record.id] = self._by_pod[record.uid][record.id] = record
        if not record.running:
            self._release(record.id)
        self.on_change(record.uid)

    def forget(self, container: str) -> None:
        record = self._records.pop(container, None)
        self._release(container)
        if record is not None:
            self._by_pod[record.uid].pop(container, None)
            if not self._by_pod[record.uid]:
                del self._by_pod[record.uid]
            self.on_change(record.uid)

    def _release(self, container: str) -> None:
        for waiter in self._waiters.pop(container, ()):
            if not waiter.done():
                waiter.set_result(None)

    async def ended(self, container: str) -> None:
        """Returns when it does not run (any more)."""
        record = self._records.get(container)
        if record is None or not record.running:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters[container].append(waiter)
        try:
            await waiter
        finally:
            if container in self._waiters and waiter in self._waiters[container]:
                self._waiters[container].remove(waiter)
