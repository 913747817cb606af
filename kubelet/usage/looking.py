"""One look at everything that runs on this node."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from kubelet.runtime.interfaces import POD_NAME, POD_NAMESPACE, Record
from kubelet.usage.figures import Figures, FileSystem, Interface, Volume, total
from machinery.clocks import Clock

FRESH_SECONDS = 1.0
"""Who asks within this time after another sees what that one saw."""
SHORTEST, LONGEST = 1.0, 60.0
"""Seconds between two looks that a rate may be computed from."""


class Gauge(Protocol):
    """Where figures come from."""

    def figures(self, pid: int, now: float) -> Figures | None:
        """Of the container whose first process this is; None if it has ended."""
        ...

    def interfaces(self, pid: int) -> list[Interface]:
        """Of its network, unless that is the node's own."""
        ...

    def node_interfaces(self) -> list[Interface]: ...

    def node(self, now: float) -> Figures: ...


@dataclass(frozen=True, slots=True)
class ContainerUse:
    record: Record
    figures: Figures
    layer: FileSystem | None = None


@dataclass(frozen=True, slots=True)
class PodUse:
    namespace: str
    name: str
    uid: str
    sandbox: ContainerUse | None
    containers: tuple[ContainerUse, ...]
    interfaces: tuple[Interface, ...]
    volumes: tuple[Volume, ...] = ()

    def total(self, time: float) -> Figures:
        own = [c.figures for c in self.containers]
        return total([*own, *([self.sandbox.figures] if self.sandbox is not None else [])], time)


@dataclass(frozen=True, slots=True)
class Look:
    time: float
    node: Figures
    kubelet: Figures
    interfaces: tuple[Interface, ...]
    pods: tuple[PodUse, ...]


class Looking:
    """`records` are all containers of this node; what has ended is not looked at."""

    def __init__(self, gauge: Gauge, records: Callable[[], Iterable[Record]], clock: Clock, *, own_pid: int) -> None:
        self._gauge = gauge
        self._records = records
        self._clock = clock
        self._own_pid = own_pid
        self._one_at_a_time = asyncio.Lock()
        self._last: Look | None = None
        self._before: Look | None = None

    async def look(self) -> Look:
        async with self._one_at_a_time:
            return await self._look()

    async def two_looks(self) -> tuple[Look, Look]:
        """The earlier one and the present one, between which a rate can be told: whoever is the first to ask for a
        minute waits for a second."""
        async with self._one_at_a_time:
            after = await self._look()
            if self._before is None or not SHORTEST <= after.time - self._before.time <= LONGEST:
                await self._clock.sleep(SHORTEST)
                after = await self._look(fresh=0.0)
            assert self._before is not None
            return self._before, after

    async def _look(self, fresh: float = FRESH_SECONDS) -> Look:
        now = self._clock.now()
        # A clock that was set back makes the last look no news.
        if self._last is not None and 0 <= now - self._last.time < fresh:
            return self._last
        records = [r for r in self._records() if r.running and r.pid]
        # Files of a hundred pods take tens of milliseconds, in which others have their turn.
        self._before, self._last = self._last, await asyncio.to_thread(self._read, records, now)
        return self._last

    def _read(self, records: Iterable[Record], now: float) -> Look:
        pods: dict[str, list[ContainerUse]] = {}
        for record in records:
            if (figures := self._gauge.figures(record.pid, now)) is not None:
                pods.setdefault(record.uid, []).append(ContainerUse(record, figures))
        return Look(
            now, self._gauge.node(now), self._gauge.figures(self._own_pid, now) or Figures(now),
            tuple(self._gauge.node_interfaces()), tuple(self._pod(uses) for uses in pods.values()),
        )  # fmt: skip

    def _pod(self, uses: list[ContainerUse]) -> PodUse:
        first = uses[0].record
        sandbox = next((u for u in uses if u.record.is_pause), None)
        own = tuple(u for u in uses if not u.record.is_pause)
        within = self._gauge.interfaces(sandbox.record.pid) if sandbox is not None else []
        namespace, name = first.labels.get(POD_NAMESPACE, ""), first.labels.get(POD_NAME, "")
        return PodUse(namespace, name, first.uid, sandbox, own, tuple(within))
