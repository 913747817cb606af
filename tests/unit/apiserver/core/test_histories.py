"""Whatever happens, and whenever one asks: lists, pages and watches tell one and the same history.

Random histories against a real etcd, with compactions, servers that start in the middle, watches that break and
watchers that do not read.  What each question must be answered is computed from the writes alone.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest

from api.errors import Expired, Unavailable
from apiserver.registry.reading import Reading
from apiserver.requests import Event, ListOptions, Request, User, WatchOptions
from apiserver.storage import keys, tables
from apiserver.storage.etcd import Compacted, Endpoints, Etcd
from apiserver.storage.transactions import Store
from apiserver.storage.worlds import World
from machinery.testing import FakeClock, settle
from proto import etcd_pb2 as pb
from tests.unit.apiserver.core.conftest import following
from tests.unit.apiserver.core.documents import PODS, pod

WINDOW = 24
STEPS = 160
SPACES, NAMES, NODES = ("blue", "blue-green", "red"), ("a", "a-a", "a.a", "b", "c"), ("", "n1", "n2")


OTHER = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{}}'


class Impatient(FakeClock):
    """What is mended after a moment is mended at once; what happens every minute does not happen."""

    async def sleep(self, seconds: float) -> None:
        await (asyncio.sleep(0) if seconds < 1 else super().sleep(seconds))


@dataclass(frozen=True)
class Thing:
    """What a pod is to selectors; the revision is that of its last change."""

    space: str
    name: str
    node: str
    colour: str
    revision: int

    def seen(self, type_: str, revision: int = 0) -> tuple[str, str, str, str, int]:
        return type_, f"{self.space}/{self.name}", self.node, self.colour, revision or self.revision


@dataclass(frozen=True)
class Question:
    space: str
    labels: str
    fields: str
    matches: Callable[[Thing], bool]


LABELS: dict[str, Callable[[Thing], bool]] = {
    "": lambda t: True,
    "colour=x": lambda t: t.colour == "x",
    "colour!=x": lambda t: t.colour != "x",
    "colour in (x,y)": lambda t: t.colour in ("x", "y"),
    "!colour": lambda t: not t.colour,
}
FIELDS: dict[str, Callable[[Thing], bool]] = {
    "": lambda t: True,
    "spec.nodeName=n1": lambda t: t.node == "n1",
    "spec.nodeName=": lambda t: not t.node,
    "spec.nodeName!=n1,metadata.name!=b": lambda t: t.node != "n1" and t.name != "b",
    "metadata.name=a": lambda t: t.name == "a",
    "metadata.namespace=red": lambda t: t.space == "red",
}


def question(chance: random.Random) -> Question:
    space, labels, fields = chance.choice(("", *SPACES)), chance.choice([*LABELS]), chance.choice([*FIELDS])

    def matches(thing: Thing) -> bool:
        return space in ("", thing.space) and LABELS[labels](thing) and FIELDS[fields](thing)

    return Question(space, labels, fields, matches)


@dataclass
class History:
    """Every change in order: (revision, what stood there before, what stands there now)."""

    changes: list[tuple[int, Thing | None, Thing | None]] = field(default_factory=list)
    now: dict[tuple[str, str], Thing] = field(default_factory=dict)
    compacted: int = 0

    def at(self, revision: int) -> list[Thing]:
        found: dict[tuple[str, str], Thing] = {}
        for made, old, new in self.changes:
            if made > revision:
                break
            if old is not None:
                del found[old.space, old.name]
            if new is not None:
                found[new.space, new.name] = new
        return [found[key] for key in sorted(found, key=lambda k: f"{k[0]}/{k[1]}")]

    def since(self, revision: int, asked: Question) -> list[tuple[str, str, str, str, int]]:
        events = []
        for made, old, new in self.changes:
            was, is_ = old is not None and asked.matches(old), new is not None and asked.matches(new)
            if made > revision and is_:
                events.append(new.seen("MODIFIED" if was else "ADDED"))
            elif made > revision and was:
                events.append(old.seen("DELETED", made))
        return events


class Shaky(Etcd):
    """A real client whose watch breaks when told to, in the middle of whatever it says."""

    def __init__(self, endpoints: Endpoints) -> None:
        super().__init__(endpoints)
        self.breaks = self.lost = False

    async def watch(self, key: bytes, end: bytes, start: int) -> AsyncIterator[pb.WatchResponse]:
        try:
            async for response in super().watch(key, end, start):
                if self.breaks:
                    self.breaks = False
                    raise Unavailable("broken")
                yield response
        except Compacted:
            self.lost = True
            raise


class Server:
    """What an API server has in memory, and those who watch it."""

    def __init__(self, world: World, etcd: Shaky) -> None:
        self.world, self.etcd, self.reading, self.began = world, etcd, Reading(world), world.revision
        self.watches: list[tuple[int, Question, asyncio.Task[list[Event]]]] = []

    async def watch(self, group: asyncio.TaskGroup, since: int, asked: Question, idle: asyncio.Event | None) -> None:
        options = WatchOptions(asked.labels, asked.fields, str(since), bookmarks=True)
        request = Request(User("u"), "watch", PODS, asked.space)
        stream = await self.reading.watch(request, options)
        first = asyncio.Event()
        self.watches.append((since, asked, group.create_task(_until_bookmark(stream, first, idle))))
        await first.wait()

    def end(self) -> None:
        """Whoever watches has now been told everything."""
        self.world.tell()
        resource = self.world.resource(PODS)
        resource.audience.bookmark(resource.bookmark(self.world.revision))


async def _until_bookmark(
    stream: AsyncIterator[list[Event]], first: asyncio.Event, idle: asyncio.Event | None
) -> list[Event]:
    """The events of a watch, read at once or, by a slow reader, only after `idle`."""
    found: list[Event] = []
    coming = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)  # so far that it has joined
    first.set()
    if idle is not None:
        await idle.wait()
    found += await coming
    while found[-1].type not in ("BOOKMARK", "ERROR"):
        found += await anext(stream)
    return found


def seen(event: Event) -> tuple[str, str, str, str, int]:
    obj = json.loads(event.document)
    metadata = obj["metadata"]
    colour, revision = metadata["labels"].get("colour", ""), int(metadata["resourceVersion"])
    return event.type, f"{metadata['namespace']}/{metadata['name']}", obj["spec"]["nodeName"], colour, revision


class Run:
    def __init__(self, chance: random.Random, etcd: Etcd, store: Store) -> None:
        self.chance, self.etcd, self.store = chance, etcd, store
        self.history, self.revisions = History(), []
        self.pages: list[tuple[Server, Question, int, ListOptions, list[Thing]]] = []

    async def write(self) -> None:
        chance, history = self.chance, self.history
        space, name = chance.choice(SPACES), chance.choice(NAMES)
        key, old = keys.whole("pods", f"{space}/{name}"), history.now.get((space, name))
        if chance.random() < 0.15:
            await self.etcd.put(keys.whole("configmaps", "red/a"), OTHER)
        elif chance.random() < 0.1:
            await self.etcd.put(b"/elsewhere", b"")
        if old is not None and chance.random() < 0.35:
            revision, new = await self.store.delete(key, old.revision), None
            del history.now[space, name]
        else:
            node, colour = chance.choice(NODES), chance.choice(("", "x", "y", "z"))
            labels = f'{{"colour":"{colour}"}}' if colour else "{}"
            value = pod(name, node=node, namespace=space, labels=labels)
            revision = await self.store.update(key, value, old.revision if old else 0)
            new = history.now[space, name] = Thing(space, name, node, colour, revision)
        history.changes.append((revision, old, new))
        self.revisions.append(revision)

    async def compact(self) -> None:
        at = self.chance.choice(self.revisions)
        if at > self.history.compacted:
            await self.etcd.compact(at)
            self.history.compacted = at

    async def list(self, server: Server) -> None:
        """A list of now, or of some moment of the past."""
        asked, wanted = question(self.chance), self.chance.choice((0, *self.revisions))
        options = ListOptions(asked.labels, asked.fields, str(wanted or ""), "Exact" if wanted else "")
        try:
            found = await server.reading.list(Request(User("u"), "list", PODS, asked.space), options)
        except Expired:
            assert 0 < wanted < self.history.compacted
            return
        at = int(found.resource_version)
        assert at == wanted or (not wanted and at >= self.revisions[-1])
        assert [i.revision for i in found.items] == [t.revision for t in self.history.at(at) if asked.matches(t)]

    async def page(self, server: Server) -> None:
        """The first page of a list, or the next of one that was begun earlier, perhaps by another server."""
        if not self.pages or self.chance.random() < 0.4:
            asked = question(self.chance)
            options = ListOptions(asked.labels, asked.fields, limit=self.chance.randint(1, 4))
            begun, at, before = server, 0, []
        else:
            begun, asked, at, options, before = self.pages.pop(self.chance.randrange(len(self.pages)))
        request = Request(User("u"), "list", PODS, asked.space)
        try:
            found = await server.reading.list(request, options)
        except Expired as e:
            assert 0 < at < self.history.compacted
            latest = ListOptions(asked.labels, asked.fields, limit=100, continue_=e.continue_)
            found = await server.reading.list(request, latest)
            rest = [t for t in self.history.at(self.revisions[-1]) if asked.matches(t) and _after(t, before)]
            assert [i.revision for i in found.items] == [t.revision for t in rest]
            return
        at = at or int(found.resource_version)
        assert int(found.resource_version) == at
        whole = [t for t in self.history.at(at) if asked.matches(t)]
        before = whole[: len(before) + len(found.items)]
        assert [i.revision for i in found.items] == [t.revision for t in before[-len(found.items) :] if found.items]
        if found.continue_:
            options = ListOptions(asked.labels, asked.fields, limit=options.limit, continue_=found.continue_)
            self.pages.append((begun, asked, at, options, before))
        else:
            assert before == whole
        if found.remaining is not None:
            assert found.remaining == len(whole) - len(before)

    def check(self, server: Server) -> None:
        for since, asked, task in server.watches:
            *events, last = task.result()
            if last.type == "ERROR":
                missed = sum(1 for made, _, _ in self.history.changes if made > since)
                assert json.loads(last.document)["code"] == 410
                assert since < server.began or missed > WINDOW or server.etcd.lost
                told = [seen(e) for e in events]
                assert told == self.history.since(since, asked)[: len(told)]
            else:
                assert [seen(e) for e in events] == self.history.since(since, asked)


def _after(thing: Thing, before: list[Thing]) -> bool:
    return not before or f"{thing.space}/{thing.name}" > f"{before[-1].space}/{before[-1].name}"


async def tell_a_history(seed: int, etcd_url: str, etcd: Etcd) -> None:
    chance, read_now = random.Random(seed), asyncio.Event()
    run = Run(chance, etcd, Store(etcd))
    for _ in range(5):
        await run.write()
    async with AsyncExitStack() as stack:
        servers: list[Server] = []

        async def serve() -> None:
            own = await stack.enter_async_context(Shaky(Endpoints((etcd_url,))))
            servers.append(Server(await stack.enter_async_context(following(own, Impatient())), own))

        await serve()
        group = await stack.enter_async_context(asyncio.TaskGroup())
        for step in range(STEPS):
            await run.write()
            server = chance.choice(servers)
            match chance.randrange(10):
                case 0 | 1 | 2:
                    idle = read_now if chance.random() < 0.3 else None
                    await server.watch(group, chance.choice(run.revisions), question(chance), idle)
                case 3 | 4:
                    await run.list(server)
                case 5 | 6 | 7:
                    await run.page(server)
                case 8:
                    await run.compact()
                case 9:
                    server.etcd.breaks = True
            if step == STEPS // 2:
                await serve()
        for server in servers:
            server.etcd.breaks = False
            await server.world.fresh()
            await settle()  # a watch from a revision that has only just come has joined by then
            server.end()
        read_now.set()
        async with asyncio.timeout(20):
            await asyncio.gather(*(task for server in servers for _, _, task in server.watches))
        for server in servers:
            run.check(server)


@pytest.fixture(autouse=True)
def _short_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "WINDOW_EVENTS", WINDOW)


@pytest.mark.parametrize("seed", range(6))
async def test_watches_lists_and_pages_tell_one_history(seed: int, etcd_url: str, etcd: Etcd) -> None:
    await tell_a_history(seed, etcd_url, etcd)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 300))
async def test_two_hundred_histories_are_told_alike(seed: int, etcd_url: str, etcd: Etcd) -> None:
    await tell_a_history(seed, etcd_url, etcd)
