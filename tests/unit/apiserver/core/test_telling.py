"""When watchers are told, and by which way."""

import asyncio
import time

import pytest

from apiserver.requests import Event
from apiserver.storage import telling
from apiserver.storage.tables import EVERYTHING
from apiserver.storage.telling import Telling
from apiserver.storage.watching import Watcher


class Slow:
    """A resource that needs so long to tell its watchers."""

    def __init__(self, seconds: float) -> None:
        self.due, self.join = 0.0, telling.JOIN_SECONDS
        self.seconds = seconds
        self.told: list[float] = []
        self.some = asyncio.Event()

    def tell(self) -> int:
        self.told.append(asyncio.get_running_loop().time())
        time.sleep(self.seconds)
        self.some.set()
        return 0

    async def next(self) -> None:
        self.some.clear()
        async with asyncio.timeout(5):
            await self.some.wait()


async def test_the_first_change_is_told_at_once_and_the_next_after_a_pause() -> None:
    resource, all_ = Slow(0.01), Telling()
    for _ in range(3):
        all_.changed(resource)
        all_.schedule()
        await resource.next()
    first, second = (b - a for a, b in zip(resource.told, resource.told[1:], strict=False))
    assert min(first, second) >= 0.01 * (1 + telling.PAUSE) - 0.001


async def test_changes_are_joined_for_longer_the_faster_they_come() -> None:
    resource, all_ = Slow(0), Telling()
    joins = []
    for changes in (1, 2, 3, 4, 4, 1):
        for _ in range(changes):
            all_.changed(resource)
        all_.schedule()
        await resource.next()
        joins.append(resource.join)
    shortest, longest = telling.JOIN_SECONDS, telling.LONGEST_JOIN
    assert joins == [shortest, 2 * shortest, longest, longest, longest, shortest]


async def test_a_resource_that_is_slow_to_tell_does_not_keep_another_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "LONGEST_PAUSE", 3.0)
    slow, quick, all_ = Slow(0.05), Slow(0), Telling()
    all_.tell()
    all_.changed(slow)
    all_.schedule()
    await slow.next()
    slow.due += 3
    all_.changed(slow)
    all_.schedule()
    all_.changed(quick)
    all_.schedule()
    await quick.next()
    assert len(slow.told) == 1
    all_.tell(slow)
    assert len(slow.told) == 2


class Outlet:
    """A sink that takes what it is told to take."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.open = True

    def __call__(self, events: list[Event]) -> bool:
        if self.open:
            self.taken += [e.document.decode() for e in events]
        return self.open


def event(name: str) -> Event:
    return Event("ADDED", name.encode())


async def test_a_sink_gets_what_comes_while_nothing_waits_and_the_order_is_kept() -> None:
    outlet = Outlet()
    watcher = Watcher(("", None), EVERYTHING, bookmarks=False, sink=outlet)
    assert watcher.offer([event("a")], 1)  # nobody takes yet: the state that a watch begins with comes first
    assert [e.document for e in await watcher.take()] == [b"a"]
    taking = asyncio.create_task(watcher.take())
    await asyncio.sleep(0)
    assert not watcher.offer([event("b")], 1)
    outlet.open = False
    assert watcher.offer([event("c")], 1)
    outlet.open = True
    assert watcher.offer([event("d")], 1)  # "c" is still on its way
    assert [e.document for e in await taking] == [b"c", b"d"]
    assert outlet.taken == ["b"]
    assert watcher.offer([event("e")], 1)  # whoever took them may not have sent them yet
