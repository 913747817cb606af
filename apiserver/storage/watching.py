"""Watchers: who wants to know of which changes, and what waits for each of them.

A change is turned into an event once; watchers share the event and its encodings.  What a watcher has not taken yet is
bounded: a reader that is too slow is told so and dropped, because the alternative is memory without bound.
"""

import asyncio
from collections.abc import Sequence

from api.errors import ApiError, Expired
from api.meta import encode
from apiserver.requests import Event, Sink
from apiserver.storage.tables import Change, Filter

LAG_EVENTS = 20_000
LAG_BYTES = 64 << 20
BATCH_BYTES = 1 << 20

Scope = tuple[str, str | None]
"""(namespace or "", value of the bucketed field or None)"""


class Watcher:
    """The events of one watch. `take` is for one task; everything else happens on the same loop.

    A `sink` is asked first, as long as whoever takes has taken everything and waits for more: waking a task for every
    event would cost three times as much as sending it.
    """

    def __init__(self, scope: Scope, filter_: Filter, bookmarks: bool, sink: Sink | None = None) -> None:
        self.scope = scope
        self.filter = filter_
        self.bookmarks = bookmarks
        self._waiting: list[Event] = []
        self._bytes = 0
        self._ready = asyncio.Event()
        self._ended = False
        self._sink = sink
        self._idle = False

    def offer(self, events: Sequence[Event], size: int) -> bool:
        """True if a task had to be woken."""
        if self._ended or not events:
            return False
        if self._idle and self._sink is not None and self._sink(events):
            return False
        self._idle = False
        self._waiting.extend(events)
        self._bytes += size
        if len(self._waiting) > LAG_EVENTS or self._bytes > LAG_BYTES:
            self.end(Expired("the watcher was too slow to take its events; list and watch again"))
        self._ready.set()
        return True

    def end(self, why: ApiError) -> None:
        """Whatever waits is dropped; the error is the last event."""
        self._waiting = [Event("ERROR", encode(why.to_status()))]
        self._ended = True
        self._ready.set()

    def close(self) -> None:
        """Nothing follows what waits."""
        self._ended = True
        self._ready.set()

    async def take(self) -> list[Event]:
        """All events that are there (up to about a megabyte), at least one. [] when the watch has ended."""
        if self._ended and not self._waiting:
            return []
        self._idle = not self._waiting
        try:
            await self._ready.wait()
        finally:
            self._idle = False
        taken, self._waiting = self._waiting, []
        if self._bytes > BATCH_BYTES:
            taken = self._first_megabyte(taken)
        else:
            self._bytes = 0
        if not self._waiting:
            self._ready.clear()
        return taken

    def _first_megabyte(self, events: list[Event]) -> list[Event]:
        size = 0
        for at, event in enumerate(events):
            size += len(event.document)
            if size > BATCH_BYTES:
                self._waiting = events[at + 1 :]
                self._bytes = max(self._bytes - size, 0) if self._waiting else 0
                return events[: at + 1]
        self._bytes = 0
        return events


class Audience:
    """All watchers of one resource, found by scope: a kubelet's watch costs nothing for other nodes' pods."""

    def __init__(self, bucketed: str) -> None:
        self._bucketed = bucketed
        self._scopes: dict[Scope, set[Watcher]] = {}
        self.told = 0
        """Events, each counted for every watcher that was told of it."""

    def join(self, namespace: str, filter_: Filter, bookmarks: bool, sink: Sink | None = None) -> Watcher:
        value = filter_.fields.exact(self._bucketed) if self._bucketed else None
        watcher = Watcher((namespace, value), filter_, bookmarks, sink)
        self._scopes.setdefault(watcher.scope, set()).add(watcher)
        return watcher

    def leave(self, watcher: Watcher) -> None:
        watchers = self._scopes[watcher.scope]
        watchers.discard(watcher)
        if not watchers:
            del self._scopes[watcher.scope]

    def __len__(self) -> int:
        return sum(map(len, self._scopes.values()))

    def tell(self, changes: Sequence[Change]) -> int:
        """`changes` are in the order of their revisions. How many tasks were woken."""
        woken = 0
        if not self._scopes:
            return woken
        heard: dict[Scope, list[Change]] = {}
        for change in changes:
            for scope in self._scopes_of(change):
                if scope in self._scopes:
                    heard.setdefault(scope, []).append(change)
        for scope, own in heard.items():
            size = sum(c.size() for c in own)
            filtered: dict[int, list[Event]] = {}  # by the filter's identity: those of one text are one object
            everything: list[Event] | None = None
            for watcher in self._scopes[scope]:
                if not watcher.filter:
                    everything = everything or [c.event() for c in own]
                    woken += watcher.offer(everything, size)
                    self.told += len(everything)
                else:
                    events = filtered.get(id(watcher.filter))
                    if events is None:
                        events = [e for c in own if (e := c.seen_through(watcher.filter))]
                        filtered[id(watcher.filter)] = events
                    woken += watcher.offer(events, sum(len(e.document) for e in events))
                    self.told += len(events)
        return woken

    def _scopes_of(self, change: Change) -> list[Scope]:
        item = change.new or change.old
        assert item is not None
        values: set[str | None] = {None}
        if self._bucketed:
            values |= {i.fields[self._bucketed] for i in (change.old, change.new) if i is not None}
        return [(ns, value) for value in values for ns in {"", item.namespace}]

    def bookmark(self, event: Event) -> None:
        """Tell those who asked for bookmarks that they have seen everything up to the event's revision."""
        for watchers in self._scopes.values():
            for watcher in watchers:
                if watcher.bookmarks:
                    watcher.offer([event], 0)

    def end(self, why: ApiError) -> None:
        for watchers in self._scopes.values():
            for watcher in watchers:
                watcher.end(why)

    def close(self) -> None:
        """The resource is no more: every watch ends after what it has not been told yet."""
        for watchers in self._scopes.values():
            for watcher in watchers:
                watcher.close()
