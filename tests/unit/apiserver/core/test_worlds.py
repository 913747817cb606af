"""The watch cache against a real etcd."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from api import fields
from api.errors import Timeout, Unavailable
from apiserver.requests import Event
from apiserver.storage import keys, watching
from apiserver.storage.etcd import Compacted, Endpoints, Etcd
from apiserver.storage.tables import EVERYTHING, Filter, Gone
from apiserver.storage.transactions import Store
from apiserver.storage.watching import Watcher
from apiserver.storage.worlds import World
from machinery.testing import FakeClock, settle
from proto import etcd_pb2 as pb
from tests.unit.apiserver.core.conftest import following
from tests.unit.apiserver.core.documents import CONFIG_MAPS, PODS, pod

A, B, C = (keys.whole("pods", f"default/{name}") for name in "abc")


async def events(watcher: Watcher, count: int) -> list[tuple[str, bytes]]:
    found: list[Event] = []
    async with asyncio.timeout(5):
        while len(found) < count:
            found += await watcher.take()
    return [(e.type, e.document) for e in found]


def names(world: World) -> list[str]:
    return [item.name for item in world.resource(PODS).table.select("", EVERYTHING).items]


async def test_a_world_begins_with_what_etcd_holds(etcd: Etcd, store: Store, clock: FakeClock) -> None:
    revision = await store.create(A, pod("a"), ["held/a"])
    async with following(etcd, clock) as world:
        item = world.resource(PODS).table.items["default/a"]
        assert (item.revision, item.namespace, item.name) == (revision, "default", "a")
        assert b'"resourceVersion":"%d"' % revision in item.document


async def test_a_fresh_read_sees_every_write_that_was_done_before(world: World, store: Store) -> None:
    for number in range(20):
        await store.create(keys.whole("pods", f"default/{number:02}"), pod(f"{number:02}"))
        await world.fresh()
        assert len(names(world)) == number + 1


async def test_a_write_that_the_watch_does_not_see_does_not_keep_readers_waiting(world: World, etcd: Etcd) -> None:
    revision = await etcd.put(b"somewhere else", b"")
    async with asyncio.timeout(5):
        await asyncio.gather(world.fresh(), world.fresh())
    assert world.revision > revision


async def test_a_revision_that_does_not_come_is_refused_in_upstreams_words(world: World) -> None:
    with pytest.raises(Timeout, match=rf"Too large resource version: 999999999, current: {world.revision}"):
        await world.at_least(999999999, seconds=0.01)


async def test_watchers_share_events_and_see_only_their_namespace_and_node(world: World, store: Store) -> None:
    n1 = Filter(fields=fields.parse("spec.nodeName=n1"))
    with (
        world.watcher(PODS, "", EVERYTHING, bookmarks=False) as all_,
        world.watcher(PODS, "default", EVERYTHING, bookmarks=False) as default,
        world.watcher(PODS, "", n1, bookmarks=False) as node,
        world.watcher(CONFIG_MAPS, "", EVERYTHING, bookmarks=False) as others,
    ):
        first = await store.create(A, pod("a"))
        await store.create(keys.whole("pods", "other/x"), pod("x", namespace="other", node="n1"))
        await store.update(A, pod("a", node="n1"), first)
        assert [t for t, _ in await events(all_, 3)] == ["ADDED", "ADDED", "MODIFIED"]
        assert [t for t, _ in await events(default, 2)] == ["ADDED", "MODIFIED"]
        assert [t for t, _ in await events(node, 2)] == ["ADDED", "ADDED"]
        assert others._waiting == []


async def test_a_bookmark_tells_how_far_a_quiet_watcher_has_come(world: World, store: Store, clock: FakeClock) -> None:
    with (
        world.watcher(CONFIG_MAPS, "", EVERYTHING, bookmarks=True) as watcher,
        world.watcher(CONFIG_MAPS, "", EVERYTHING, bookmarks=False) as other,
    ):
        await store.create(A, pod("a"))
        await world.fresh()
        await clock.advance(60)
        (bookmark,) = await events(watcher, 1)
        assert bookmark[0] == "BOOKMARK"
        assert b'"kind":"ConfigMap"' in bookmark[1]
        assert b'"resourceVersion":"%d"' % world.revision in bookmark[1]
        assert other._waiting == []


async def test_a_watcher_that_does_not_read_is_told_so_and_dropped(
    world: World, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "LAG_EVENTS", 3)
    with world.watcher(PODS, "", EVERYTHING, bookmarks=False) as watcher:
        for number in range(5):
            await store.create(keys.whole("pods", f"default/{number}"), pod(f"{number}"))
            await world.fresh()
            world.tell()
        ((kind, status),) = await events(watcher, 1)
        assert kind == "ERROR"
        assert b'"code":410' in status
        assert await watcher.take() == []


class Interrupted(Etcd):
    """A real client whose watch can be cut, as if etcd had compacted away what comes next."""

    def __init__(self, endpoints: Endpoints) -> None:
        super().__init__(endpoints)
        self.cut = asyncio.Event()
        self.mended = asyncio.Event()
        self.mended.set()

    async def watch(self, key: bytes, end: bytes, start: int) -> AsyncIterator[pb.WatchResponse]:
        stream = super().watch(key, end, start)
        cut = asyncio.create_task(self.cut.wait())
        while True:
            coming = asyncio.ensure_future(anext(stream))
            await asyncio.wait((coming, cut), return_when=asyncio.FIRST_COMPLETED)
            if cut.done():
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)
                await self.mended.wait()
                self.cut.clear()
                raise Compacted(start)
            yield coming.result()


async def test_what_was_missed_is_in_the_tables_and_watchers_have_to_list_again(
    etcd_url: str, etcd: Etcd, clock: FakeClock
) -> None:
    async with Interrupted(Endpoints((etcd_url,))) as broken, following(broken, clock) as world:
        store = Store(etcd)
        first = await store.create(A, pod("a"))
        gone = await store.create(B, pod("b"))
        await world.fresh()
        with world.watcher(PODS, "", EVERYTHING, bookmarks=False) as watcher:
            broken.mended.clear()
            broken.cut.set()
            await settle()
            await store.update(A, pod("a", node="n1"), first)
            await store.delete(B, gone)
            await store.create(C, pod("c"))
            broken.mended.set()
            ((kind, status),) = await events(watcher, 1)
            assert (kind, b'"code":410' in status, await watcher.take()) == ("ERROR", True, [])
        assert names(world) == ["a", "c"]
        with pytest.raises(Gone):
            world.resource(PODS).table.changes_since(gone)
        again = await store.create(B, pod("b"))
        await world.fresh()
        assert world.resource(PODS).table.items["default/b"].revision == again


class Broken(Etcd):
    """A real client whose watch breaks when told to; what happens meanwhile is yet to be asked for."""

    def __init__(self, endpoints: Endpoints) -> None:
        super().__init__(endpoints)
        self.breaks = asyncio.Event()
        self.mended = asyncio.Event()
        self.mended.set()

    async def watch(self, key: bytes, end: bytes, start: int) -> AsyncIterator[pb.WatchResponse]:
        await self.mended.wait()
        stream = super().watch(key, end, start)
        broken = asyncio.create_task(self.breaks.wait())
        try:
            while True:
                coming = asyncio.ensure_future(anext(stream))
                await asyncio.wait((coming, broken), return_when=asyncio.FIRST_COMPLETED)
                if broken.done():
                    coming.cancel()
                    await asyncio.gather(coming, return_exceptions=True)
                    self.breaks.clear()
                    raise Unavailable("broken")
                yield coming.result()
        finally:
            broken.cancel()


class Impatient(FakeClock):
    async def sleep(self, seconds: float) -> None:
        await (asyncio.sleep(0) if seconds < 1 else super().sleep(seconds))


async def test_a_deletion_that_etcd_was_compacted_to_is_not_missed(etcd_url: str, etcd: Etcd) -> None:
    store = Store(etcd)
    first = await store.create(A, pod("a"))
    async with Broken(Endpoints((etcd_url,))) as broken, following(broken, Impatient()) as world:
        await world.fresh()
        with world.watcher(PODS, "", EVERYTHING, bookmarks=False) as watcher:
            broken.mended.clear()
            broken.breaks.set()
            await settle()
            gone = await store.delete(A, first)
            await store.create(B, pod("b"))
            await etcd.compact(gone)
            broken.mended.set()
            await world.fresh()
            world.tell()
            assert names(world) == ["b"]
            ((kind, status),) = await events(watcher, 1)
            assert (kind, b'"code":410' in status) == ("ERROR", True)


async def test_a_watch_that_is_resumed_tells_nothing_twice(etcd_url: str, etcd: Etcd) -> None:
    store = Store(etcd)
    async with Broken(Endpoints((etcd_url,))) as broken, following(broken, Impatient()) as world:
        with world.watcher(PODS, "", EVERYTHING, bookmarks=False) as watcher:
            await store.create(A, pod("a"))
            await world.fresh()
            broken.breaks.set()
            await settle()
            await store.create(B, pod("b"))
            await world.fresh()
            world.tell()
            assert [kind for kind, _ in await events(watcher, 2)] == ["ADDED", "ADDED"]
            assert watcher._waiting == []


async def test_the_past_comes_from_etcd_when_the_window_is_too_short(
    etcd: Etcd, store: Store, clock: FakeClock
) -> None:
    for name in "abcd":
        await store.create(keys.whole("pods", f"default/{name}"), pod(name))
    then = await etcd.revision()
    await store.delete(A, (await etcd.range(A)).kvs[0].mod_revision)
    async with following(etcd, clock) as world:
        page = await world.past(PODS, then, "default", EVERYTHING, limit=3)
        assert ([i.name for i in page.items], page.remaining, page.more) == (["a", "b", "c"], 1, True)
        rest = await world.past(PODS, then, "", EVERYTHING, after="default/c", limit=3)
        assert ([i.name for i in rest.items], rest.more) == (["d"], False)
        filtered = Filter(fields=fields.parse("metadata.name=c"))
        assert [i.name for i in (await world.past(PODS, then, "", filtered)).items] == ["c"]


async def test_somebody_elses_key_does_not_stop_the_world(etcd: Etcd, store: Store, clock: FakeClock) -> None:
    await etcd.put(B, b"no document")
    async with following(etcd, clock) as world:
        await etcd.put(C, b"{}")
        await store.create(A, pod("a"))
        await world.fresh()
        assert names(world) == ["a"]
        assert world.following
