"""The world in memory: every object that etcd holds, kept up to date by one watch, and proof of how fresh it is.

    load ──▶ watch ──▶ apply a revision ──▶ wake readers ──▶ tell watchers (joined for a few ms)
      ▲        │
      └────────┘  when etcd has compacted what was missed: load again; watchers have to, too

A world never goes back: `revision` only grows, and each table shows exactly that revision of its resource.
"""

import asyncio
import heapq
import logging
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any, NoReturn

import msgspec

from api.errors import ApiError, Expired, Timeout, no_such_resource
from api.kinds import BUILT_IN, Kind
from apiserver.requests import Event, Item, Sink
from apiserver.storage import keys
from apiserver.storage.etcd import Compacted, Etcd
from apiserver.storage.indexing import index
from apiserver.storage.tables import Change, Filter, Gone, Page, Table
from apiserver.storage.telling import JOIN_SECONDS, Telling
from apiserver.storage.watching import Audience, Watcher
from machinery.clocks import Clock
from proto import etcd_pb2 as pb

PAGE = 1000
WAIT_SECONDS = 3.0
QUIET_SECONDS = 0.1
BOOKMARK_SECONDS = 60.0
log = logging.getLogger(__name__)


class Resource:
    """A table, its watchers, and the changes that these have not been told yet."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.table = Table(index(kind))
        self.audience = Audience(self.table.index.bucketed)
        self.untold: list[Change] = []
        self.due, self.join = 0.0, JOIN_SECONDS
        self.arriving: list[Any] | None = None
        """Events of etcd that came while the table is being loaded; None if it has been."""

    def tell(self) -> int:
        """Tell the watchers. How many tasks were woken for it."""
        changes, self.untold = self.untold, []
        return self.audience.tell(changes)

    def bookmark(self, revision: int, annotations: str = "") -> Event:
        """An object of this kind that has a revision only."""
        extra = f',"annotations":{annotations}' if annotations else ""
        head = f'{{"kind":"{self.kind.name}","apiVersion":"{self.kind.api_version}","metadata":'
        return Event("BOOKMARK", f'{head}{{"resourceVersion":"{revision}"{extra}}}}}'.encode())


class World:
    """Reads are synchronous and see `revision`. `run` keeps it; `loaded` is set when it can be read at all."""

    def __init__(self, etcd: Etcd, clock: Clock, kinds: Iterable[Kind] = BUILT_IN) -> None:
        self._etcd = etcd
        self._clock = clock
        self._resources: dict[str, Resource] = {}
        for kind in kinds:
            self._resources.setdefault(keys.resource(kind), Resource(kind))
        self.revision = 0
        self._loads = 0
        self.loaded = asyncio.Event()
        self.following = False
        """Whether etcd tells of changes at this moment; without it reads may be old, and fresh ones fail."""
        self._lost = -math.inf
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = count()
        self._telling = Telling()
        self._asked: asyncio.Future[int] | None = None
        self._asking = asyncio.Event()

    def resource(self, kind: Kind) -> Resource:
        """Raises NotFound for a kind that is not kept, or no more: one whose definition was deleted."""
        found = self._resources.get(keys.resource(kind))
        if found is None or found.arriving is not None:
            raise no_such_resource()
        return found

    # --- kinds that come and go

    async def add(self, kind: Kind) -> None:
        """Keep a kind's objects too; returns when they can be read.  Raises Unavailable, and may be tried again.

        Not for two tasks and one kind at once.
        """
        name = keys.resource(kind)
        if name in self._resources:
            return
        resource = Resource(kind)
        resource.arriving = []
        self._resources[name] = resource
        try:
            found, revision = await self._collect(keys.whole(name, ""))
        except BaseException:
            del self._resources[name]
            raise
        table = resource.table
        table.load(((k, item) for k, kv in found if (item := _item(table, k, kv)) is not None), revision)
        arrived, resource.arriving = resource.arriving, None
        for event in arrived:
            if event.kv.mod_revision > revision:
                self._apply(event)
        self._reached(self.revision)

    async def _collect(self, prefix: bytes) -> tuple[list[tuple[str, Any]], int]:
        """What is stored below a prefix at a revision that the world has reached, and that revision."""
        while True:
            loads, start, revision, more = self._loads, prefix, 0, True
            found: list[tuple[str, Any]] = []
            while more:
                page = await self._etcd.range(start, prefix[:-1] + b"0", limit=PAGE, revision=revision)
                revision = revision or page.header.revision
                found += [(keys.split(kv.key)[1], kv) for kv in page.kvs]
                more = page.more
                if more:
                    start = page.kvs[-1].key + b"\0"
            await self._reach(revision, marked=False)
            if loads == self._loads:  # else events were missed meanwhile
                return found, revision

    def remove(self, kind: Kind) -> None:
        """Keep a kind's objects no longer. Its watches end."""
        resource = self._resources.pop(keys.resource(kind), None)
        if resource is not None:
            resource.tell()
            self._telling.forget(resource)
            resource.audience.close()

    def end_watches(self) -> None:
        """Each ends in good order, after what is known by now."""
        for resource in self._resources.values():
            resource.tell()
            resource.audience.close()

    def reindex(self, kind: Kind) -> None:
        """Read the index entries of all objects again: what can be selected by has changed."""
        resource = self.resource(kind)
        self.tell()
        resource.table.reindex(index(kind))

    # --- keeping up

    async def run(self) -> NoReturn:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(), name="etcd watch")
            group.create_task(self._prove(), name="freshness")
            group.create_task(self._bookmark(), name="bookmarks")
        raise AssertionError("none of these returns")

    async def _follow(self) -> NoReturn:
        behind = True
        while True:
            try:
                if behind:
                    await self._load()
                    behind = False
                await self._watch()
            except Compacted as e:
                self._lose()
                log.warning("missed events that etcd no longer has; loading everything again: %s", e)
                behind = True
            except ApiError as e:
                self._lose()
                log.warning("following etcd: %s", e)
                await self._clock.sleep(QUIET_SECONDS)

    def _lose(self) -> None:
        if self.following:
            self.following, self._lost = False, self._clock.monotonic()

    def has_followed(self, seconds: float) -> bool:
        """Whether it has been following at some moment of the last so many seconds."""
        return self.following or self._clock.monotonic() - self._lost < seconds

    async def _load(self) -> None:
        """Fill the tables with what etcd holds now."""
        found: dict[Resource, dict[str, pb.KeyValue]] = {r: {} for r in self._resources.values() if r.arriving is None}
        start, revision, more = keys.PREFIX, 0, True
        while more:
            page = await self._etcd.range(start, keys.END, limit=PAGE, revision=revision)
            revision = revision or page.header.revision
            for kv in page.kvs:
                if (known := self._known(kv.key)) is not None and known[0] in found:
                    resource, key = known
                    found[resource][key] = kv
            more = page.more
            if more:
                start = page.kvs[-1].key + b"\0"
        if self.loaded.is_set():
            self.tell()  # what is known of the past; of the rest no watcher could be told every step
        for resource, kvs in found.items():
            table = resource.table
            items = [(k, _known_item(table, k, kv) or _item(table, k, kv)) for k, kv in kvs.items()]
            table.load(((k, item) for k, item in items if item is not None), revision)
            resource.audience.end(Expired(f"too old resource version: the history before {revision} is lost"))
        self._loads += 1
        self._reached(revision)
        self.loaded.set()

    async def _watch(self) -> NoReturn:
        """From the revision that is known on, not from the next one: if that is a deletion and etcd was compacted to
        it, etcd may have forgotten the deletion and say nothing (https://github.com/etcd-io/etcd/issues/18089);
        what is compacted beyond the revision it is asked for, it does report."""
        events: list[Any] = []
        known = self.revision
        async for response in self._etcd.watch(keys.PREFIX, keys.END, known):
            self.following = True
            events += [e for e in response.events if e.kv.mod_revision > known]
            if response.fragment:
                continue  # the rest of this revision is in the next message
            for event in events:
                self._apply(event)
            if events or not response.created:
                # A progress notification of etcd < 3.4.25 may be ahead of events that are still under way, so only
                # events move the revision.
                self._reached(events[-1].kv.mod_revision if events else self.revision)
            events = []
        raise AssertionError("the watch ends by an exception only")

    def _apply(self, event: Any) -> None:
        known = self._known(event.kv.key)
        if known is None:
            return
        resource, key = known
        kv = event.kv
        if resource.arriving is not None:
            resource.arriving.append(event)
        elif event.type == pb.Event.DELETE:
            self._note(resource, resource.table.remove(key, kv.mod_revision))
        else:
            self._put(resource, key, kv)

    def _put(self, resource: Resource, key: str, kv: Any) -> None:
        if (item := _item(resource.table, key, kv)) is not None:
            self._note(resource, resource.table.put(key, item))

    def _known(self, key: bytes) -> tuple[Resource, str] | None:
        if key.startswith(keys.OWN):
            return None
        name, within = keys.split(key)
        resource = self._resources.get(name)
        return (resource, within) if resource is not None else None

    def _note(self, resource: Resource, change: Change | None) -> None:
        if change is not None:
            resource.untold.append(change)
            self._telling.changed(resource)

    def _reached(self, revision: int) -> None:
        self.revision = max(self.revision, revision)
        while self._waiting and self._waiting[0][0] <= self.revision:
            _, _, future = heapq.heappop(self._waiting)
            if not future.done():
                future.set_result(None)
        self._telling.schedule()

    def tell(self) -> None:
        """Tell watchers what they have not been told."""
        self._telling.tell()

    async def _bookmark(self) -> NoReturn:
        while True:
            await self._clock.sleep(BOOKMARK_SECONDS)
            self.tell()
            for resource in list(self._resources.values()):
                if len(resource.audience):
                    resource.audience.bookmark(resource.bookmark(self.revision))

    # --- being fresh

    async def fresh(self) -> None:
        """Return when the world shows everything that was written before this call.

        Raises Unavailable, or Timeout if the world does not get there.
        """
        if self._asked is None:
            self._asked = asyncio.get_running_loop().create_future()
            self._asking.set()
        revision = await asyncio.shield(self._asked)
        if revision > self.revision:
            await self._reach(revision, marked=False)

    async def _prove(self) -> NoReturn:
        """One question to etcd answers all who asked before it was sent."""
        while True:
            await self._asking.wait()
            for _ in range(2):  # who is just being served may ask the same question, which is the dearest part of a get
                await asyncio.sleep(0)
            self._asking.clear()
            asked, self._asked = self._asked, None
            assert asked is not None
            try:
                revision = await self._etcd.revision()
            except ApiError as e:
                asked.set_exception(e)
                asked.exception()  # whoever asked may be gone
            except asyncio.CancelledError:
                asked.cancel()
                raise
            else:
                asked.set_result(revision)

    async def _reach(self, revision: int, *, marked: bool) -> None:
        """Writes outside our prefix make revisions of which the watch says nothing: then write one inside."""
        try:
            await self.at_least(revision, seconds=WAIT_SECONDS if marked else QUIET_SECONDS)
        except Timeout:
            if marked:
                raise
            await self._etcd.put(keys.MARKER, b"")
            await self._reach(revision, marked=True)

    async def at_least(self, revision: int, *, seconds: float = WAIT_SECONDS) -> None:
        """Return when the world shows `revision`.  Raises Timeout in upstream's words."""
        if revision <= self.revision:
            return None
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (revision, next(self._order), future))
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return await future
        raise too_large(revision, self.revision)

    async def past(
        self, kind: Kind, revision: int, namespace: str, filter_: Filter, *, after: str = "", limit: int = 0
    ) -> Page:
        """A page of the resource as it was at `revision`: from the window if that reaches back, else from etcd.

        Raises Compacted.
        """
        table = self.resource(kind).table
        try:
            return table.at(revision, namespace, filter_, after=after, limit=limit)
        except Gone:
            pass
        name = keys.resource(kind)
        start = keys.whole(name, f"{after}\0" if after else keys.within(namespace, ""))
        end = keys.whole(name, f"{namespace}0" if namespace else "")
        end = end if namespace else end[:-1] + b"0"
        found: list[Item] = []
        while True:
            page = await self._etcd.range(start, end, limit=limit or PAGE, revision=revision)
            for at, kv in enumerate(page.kvs):
                item = table.read(keys.split(kv.key)[1], kv.value, kv.mod_revision)
                if filter_.matches(item):
                    found.append(item)
                if limit and len(found) == limit:
                    left = page.count - at - 1
                    return Page(found, left or None if not filter_ else None, left > 0)
            if not page.more:
                return Page(found, None, False)
            start = page.kvs[-1].key + b"\0"

    # --- watching

    def resources(self) -> Iterable[Resource]:
        """All there are, to be counted."""
        return self._resources.values()

    @contextmanager
    def watcher(
        self, kind: Kind, namespace: str, filter_: Filter, *, bookmarks: bool, sink: Sink | None = None
    ) -> Iterator[Watcher]:
        """A watcher of everything that is not in the tables yet."""
        resource = self.resource(kind)
        self._telling.tell(resource)  # else the newcomer would be told what it finds in the table
        audience = resource.audience
        watcher = audience.join(namespace, filter_, bookmarks, sink)
        try:
            yield watcher
        finally:
            audience.leave(watcher)


def too_large(revision: int, current: int) -> Timeout:
    return Timeout(
        f"Too large resource version: {revision}, current: {current}",
        {
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        },
    )


def _item(table: Table, key: str, kv: Any) -> Item | None:
    """None for a value that is no document: somebody else's key must not stop the server."""
    try:
        return table.read(key, kv.value, kv.mod_revision)
    except (msgspec.MsgspecError, ValueError) as e:
        log.error("what is stored under %s is no object: %s", kv.key, e)
        return None


def _known_item(table: Table, key: str, kv: Any) -> Item | None:
    """The item that is there already, if it is that very revision: caches know items by their identity."""
    item: Item | None = table.items.get(key)
    return item if item is not None and item.revision == kv.mod_revision else None
