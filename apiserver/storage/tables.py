"""One resource in memory: its objects in order, the index for selecting among them, and a window of what changed.

Everything here is synchronous: between two awaits of the loop a table is one consistent revision of its resource.
"""

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from api import fields as field_selectors
from api import labels as label_selectors
from apiserver.requests import Event, Item
from apiserver.storage import documents
from apiserver.storage.indexing import Index

WINDOW_EVENTS = 4096
WINDOW_BYTES = 8 << 20


class Gone(Exception):
    """The past that was asked for is not in the window. `oldest` is the first revision that still is."""

    def __init__(self, oldest: int) -> None:
        super().__init__(f"history begins at {oldest}")
        self.oldest = oldest


@dataclass(frozen=True, slots=True)
class Filter:
    """What a list or watch asks for."""

    labels: label_selectors.Selector = label_selectors.EVERYTHING
    fields: field_selectors.Selector = field_selectors.EVERYTHING

    def matches(self, item: Item) -> bool:
        return self.labels.matches(item.labels) and self.fields.matches(item.fields)

    def __bool__(self) -> bool:
        return bool(self.labels) or bool(self.fields)


EVERYTHING = Filter()


class Change:
    """One revision of one object, and the events that it is to watchers: made once, shared by all of them."""

    __slots__ = ("_appeared", "_changed", "_vanished", "key", "new", "old", "revision")

    def __init__(self, key: str, old: Item | None, new: Item | None, revision: int) -> None:
        self.key = key
        self.old = old
        self.new = new
        self.revision = revision
        self._appeared: Event | None = None
        self._changed: Event | None = None
        self._vanished: Event | None = None

    def event(self) -> Event:
        """As a watch without selectors sees it."""
        if self.new is None:
            return self.vanished()
        return self.appeared(self.new) if self.old is None else self.changed(self.new)

    def seen_through(self, filter_: Filter) -> Event | None:
        """As a watch with selectors sees it: an object that stops matching is deleted, one that starts is added."""
        was = self.old is not None and filter_.matches(self.old)
        if self.new is not None and filter_.matches(self.new):
            return self.changed(self.new) if was else self.appeared(self.new)
        return self.vanished() if was else None

    def appeared(self, item: Item) -> Event:
        if self._appeared is None:
            self._appeared = Event("ADDED", item.document)
        return self._appeared

    def changed(self, item: Item) -> Event:
        if self._changed is None:
            self._changed = Event("MODIFIED", item.document)
        return self._changed

    def vanished(self) -> Event:
        """The object as it last was, at the revision at which it went."""
        if self._vanished is None:
            assert self.old is not None
            self._vanished = Event("DELETED", documents.moved(self.old.document, self.revision))
        return self._vanished

    def size(self) -> int:
        return len(self.new.document) if self.new is not None else len(self.old.document) if self.old else 0


class Page(NamedTuple):
    items: list[Item]
    remaining: int | None
    """Objects after this page; None if there are none, or if selectors make the number unknown."""
    more: bool


class Table:
    """The objects of one resource. `revision` is what the table begins to know at; older history is Gone."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self.items: dict[str, Item] = {}
        self._keys: list[str] = []
        self._buckets: dict[str, set[str]] = {}
        self._window: deque[Change] = deque()
        self._window_bytes = 0
        self.oldest = 0
        """Changes after this revision are in the window."""
        self.version = 0
        """Another number after every change; it means nothing outside of this process."""

    # --- changing

    def load(self, items: Iterable[tuple[str, Item]], revision: int) -> None:
        """Begin with these objects, in the order of their keys, and without a past."""
        self.items, self._keys, self._buckets = {}, [], {}
        self._window, self._window_bytes = deque(), 0
        for key, item in items:
            self.items[key] = item
            self._keys.append(key)
            self._file(key, item)
        self.oldest = revision
        self.version += 1

    def read(self, key: str, value: bytes, revision: int) -> Item:
        """The item that a stored value is."""
        namespace, _, name = key.rpartition("/")
        found_labels, found_fields = self.index.read(value, namespace, name)
        return Item(namespace, name, revision, documents.serve(value, revision), found_labels, found_fields)

    def put(self, key: str, item: Item) -> Change:
        old = self.items.get(key)
        self.items[key] = item
        if old is None:
            insort(self._keys, key)
        self._refile(key, old, item)
        return self._remember(Change(key, old, item, item.revision))

    def remove(self, key: str, revision: int) -> Change | None:
        """None if there was no such object."""
        old = self.items.pop(key, None)
        if old is None:
            return None
        del self._keys[bisect_left(self._keys, key)]
        self._refile(key, old, None)
        return self._remember(Change(key, old, None, revision))

    def reindex(self, index: Index) -> None:
        """Select by other fields from now on. The past can be selected by labels and names only."""
        self.index = index
        self._buckets = {}
        for key, item in self.items.items():
            labels, found = index.read(documents.store(item.document), item.namespace, item.name)
            self.items[key] = Item(item.namespace, item.name, item.revision, item.document, labels, found)
            self._file(key, self.items[key])

    def _remember(self, change: Change) -> Change:
        self.version += 1
        self._window.append(change)
        self._window_bytes += change.size()
        while len(self._window) > WINDOW_EVENTS or (self._window_bytes > WINDOW_BYTES and len(self._window) > 1):
            dropped = self._window.popleft()
            self._window_bytes -= dropped.size()
            self.oldest = dropped.revision
        return change

    def _file(self, key: str, item: Item) -> None:
        if self.index.bucketed:
            self._buckets.setdefault(item.fields[self.index.bucketed], set()).add(key)

    def _refile(self, key: str, old: Item | None, new: Item | None) -> None:
        if not (field := self.index.bucketed):
            return
        before, after = old and old.fields[field], new and new.fields[field]
        if before == after and old and new:
            return
        if old:
            bucket = self._buckets[old.fields[field]]
            bucket.discard(key)
            if not bucket:
                del self._buckets[old.fields[field]]
        if new:
            self._file(key, new)

    # --- reading

    def bucket(self, value: str) -> list[Item]:
        """The objects whose bucketed field has that value, in no order."""
        return [self.items[key] for key in self._buckets.get(value, ())]

    def select(self, namespace: str, filter_: Filter, *, after: str = "", limit: int = 0) -> Page:
        """Objects in the order of their keys, from the first key greater than `after`."""
        first, last = self._bounds(namespace, after)
        keys = self._candidates(filter_, first, last)
        if not filter_:
            page = [self.items[k] for k in (keys[:limit] if limit else keys)]
            remaining = len(keys) - len(page)
            return Page(page, remaining or None, remaining > 0)
        return _cut((self.items[k] for k in keys), filter_, limit)

    def _bounds(self, namespace: str, after: str) -> tuple[int, int]:
        first = bisect_left(self._keys, f"{namespace}/") if namespace else 0
        last = bisect_left(self._keys, f"{namespace}0") if namespace else len(self._keys)  # "0" follows "/"
        return max(first, bisect_right(self._keys, after)) if after else first, last

    def _candidates(self, filter_: Filter, first: int, last: int) -> list[str]:
        wanted = filter_.fields.exact(self.index.bucketed) if self.index.bucketed and filter_ else None
        if wanted is None:
            return self._keys if first == 0 and last == len(self._keys) else self._keys[first:last]
        if first >= last:
            return []
        low, high = self._keys[first], self._keys[last - 1]
        return sorted(k for k in self._buckets.get(wanted, ()) if low <= k <= high)

    def changes_since(self, revision: int) -> Iterator[Change]:
        """What happened after `revision`, in order.  Raises Gone."""
        if revision < self.oldest:
            raise Gone(self.oldest + 1)
        return iter(list(self._undoable(revision))[::-1])

    def _undoable(self, revision: int) -> Iterator[Change]:
        for change in reversed(self._window):
            if change.revision <= revision:
                return
            yield change

    def at(self, revision: int, namespace: str, filter_: Filter, *, after: str = "", limit: int = 0) -> Page:
        """`select` as it would have answered at `revision`.  Raises Gone."""
        if revision < self.oldest:
            raise Gone(self.oldest + 1)
        undone = {change.key: change.old for change in self._undoable(revision)}  # the oldest undone change wins
        if not undone:
            return self.select(namespace, filter_, after=after, limit=limit)
        first, last = self._bounds(namespace, after)
        then = {k: self.items[k] for k in self._keys[first:last]}
        for key, item in undone.items():
            inside = key > after and (not namespace or key.startswith(f"{namespace}/"))
            if item is not None and inside:
                then[key] = item
            else:
                then.pop(key, None)
        page = _cut((then[k] for k in sorted(then)), filter_, limit)
        return page if filter_ or not page.more else page._replace(remaining=len(then) - len(page.items))


def _cut(items: Iterator[Item], filter_: Filter, limit: int) -> Page:
    if not limit:
        return Page([i for i in items if filter_.matches(i)], None, False)
    page: list[Item] = []
    for item in items:
        if filter_.matches(item):
            if len(page) == limit:
                return Page(page, None, True)
            page.append(item)
    return Page(page, None, False)
