"""Informers: a component's own view of one kind, kept current by a list and a watch.

The view may be late, never wrong about the past: a lost watch is resumed where it broke, and when the server has
forgotten that revision, the kind is listed again and the differences are told as changes.
https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

import msgspec

from api import errors, kinds
from api.meta import Key, key
from machinery.client import Client, WatchEvent
from machinery.clocks import SYSTEM, Clock

T = TypeVar("T")
Handler = Callable[[T | None, T | None], None]
"""(old, new): old is None when the object appeared, new is None when it went. Never of two that only share a name."""

SHORTEST_PAUSE = 0.05
LONGEST_PAUSE = 5.0
LONGEST_GAP = 1.0
"""Seconds between two tries to resume a watch: gRPC looks for a server that is away no more often."""


class Informer(Generic[T]):
    """Objects of one kind by key. What it hands out is shared: clone before changing anything.

    For one event loop. Handlers and indexes must be added before `run`.
    """

    def __init__(
        self, client: Client, what: type[T], namespace: str = "", *, label_selector: str = "",
        field_selector: str = "", clock: Clock = SYSTEM,
    ) -> None:  # fmt: skip
        self._client = client
        self._what = what
        self._scope: dict[str, Any] = {
            "namespace": namespace, "label_selector": label_selector, "field_selector": field_selector,
        }  # fmt: skip
        self._clock = clock
        self._objects: dict[Key, T] = {}
        self._handlers: list[Handler[T]] = []
        self._indexes: dict[str, _Index[T]] = {"namespace": _Index(lambda o: [key(o).namespace])}
        self._synced = asyncio.Event()
        self._revision = ""
        self._pause = SHORTEST_PAUSE
        """Before the next try to list or to watch; it grows until a watch has told something."""
        self._log = logging.getLogger(f"informer.{kinds.of(what).plural}")

    def on_change(self, handler: Handler[T]) -> None:
        """Call `handler` for each change, and for each object of the first list. It must be quick and not raise."""
        self._handlers.append(handler)

    def add_index(self, name: str, keys: Callable[[T], Iterable[str]]) -> None:
        """Find objects by the strings that `keys` gives for them."""
        self._indexes[name] = _Index(keys)

    def by_index(self, name: str, value: str) -> list[T]:
        return [self._objects[k] for k in self._indexes[name].find(value)]

    def get(self, namespace: str, name: str) -> T | None:
        return self._objects.get(Key(namespace, name))

    def list(self, namespace: str = "") -> "list[T]":
        """All objects, or those of a namespace, in no particular order."""
        return self.by_index("namespace", namespace) if namespace else [*self._objects.values()]

    def __len__(self) -> int:
        return len(self._objects)

    def has_shown(self, written: T) -> bool:
        """Whether that very version, an answer to a write, has been shown, even if it has gone again since."""
        return bool(self._revision) and int(self._revision) >= int(_revision(written))

    async def synced(self) -> None:
        """Returns when everything that existed at the start is known."""
        await self._synced.wait()

    @property
    def has_synced(self) -> bool:
        return self._synced.is_set()

    async def run(self) -> None:
        """Follows the server until cancelled."""
        while True:
            try:
                if not self._revision:
                    await self._list()
                await self._watch()
            except errors.Expired:
                self._revision = ""  # forgotten by the server: list again
                continue
            except errors.ApiError as e:
                self._log.log(logging.DEBUG if isinstance(e, errors.Unavailable) else logging.WARNING, "%s", e)
                if not isinstance(e, errors.Unavailable | errors.Timeout | errors.TooManyRequests):
                    self._revision = ""
            except msgspec.ValidationError:
                # One object that this version cannot read must not end the component: perhaps it will be mended.
                self._log.exception("an object cannot be read")
                self._revision = ""
                self._pause = LONGEST_PAUSE
            await self._clock.sleep(self._pause)
            self._pause = min(self._pause * 2, LONGEST_GAP if self._revision else LONGEST_PAUSE)

    async def refresh(self) -> None:
        """Returns when everything that was written before this call is known.  Raises ApiError."""
        await self._list()

    async def _list(self) -> None:
        listing = await self._client.list(self._what, **self._scope)
        if self._revision and int(listing.resource_version) <= int(self._revision):
            return  # the watch was faster
        found = {key(o): o for o in listing.items}
        for gone in [k for k in self._objects if k not in found]:
            self._change(gone, None)
        for k, o in found.items():
            self._change(k, o)
        self._revision = listing.resource_version
        self._synced.set()

    async def _watch(self) -> None:
        async for batch in self._client.watch(self._what, resource_version=self._revision, **self._scope):
            for event in batch:
                self._apply(event)
            self._pause = SHORTEST_PAUSE

    def _apply(self, event: WatchEvent[T]) -> None:
        o: Any = event.object
        if int(o.metadata.resourceVersion) <= int(self._revision):
            return  # a list was faster, and knows what came after
        if event.type != "BOOKMARK":
            self._change(key(o), None if event.type == "DELETED" else event.object)
        self._revision = o.metadata.resourceVersion

    def _change(self, k: Key, new: T | None) -> None:
        old = self._objects.get(k)
        if new is None:
            if old is None:
                return
            del self._objects[k]
        else:
            if old is not None and _revision(old) == _revision(new):
                return
            if old is not None and _uid(old) != _uid(new):
                # A list shows only what has the name now. Whoever remembers something of the old one must forget it.
                self._change(k, None)
                old = None
            self._objects[k] = new
        for index in self._indexes.values():
            index.move(k, old, new)
        for handler in self._handlers:
            try:
                handler(old, new)
            except Exception:  # a handler's defect must not stop the view that everybody shares
                self._log.exception("a handler failed on %s", k)


def _revision(obj: Any) -> str:
    return obj.metadata.resourceVersion  # type: ignore[no-any-return]


def _uid(obj: Any) -> str:
    return obj.metadata.uid  # type: ignore[no-any-return]


class _Index(Generic[T]):
    def __init__(self, keys: Callable[[T], Iterable[str]]) -> None:
        self._keys = keys
        self._by_value: dict[str, dict[Key, None]] = {}

    def find(self, value: str) -> Iterator[Key]:
        return iter(self._by_value.get(value, ()))

    def move(self, k: Key, old: T | None, new: T | None) -> None:
        before = set(self._keys(old)) if old is not None else set()
        after = set(self._keys(new)) if new is not None else set()
        for value in before - after:
            del self._by_value[value][k]
            if not self._by_value[value]:
                del self._by_value[value]
        for value in after - before:
            self._by_value.setdefault(value, {})[k] = None
