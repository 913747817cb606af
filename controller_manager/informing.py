"""What controllers see: one informer for each kind, shared by all, and what they have just written themselves."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar, cast

from api import kinds, meta
from api.kinds import Kind
from api.meta import Key
from machinery.client import Client
from machinery.clocks import Clock
from machinery.informers import Informer

T = TypeVar("T")


def _controller(obj: Any) -> Iterable[str]:
    reference = meta.controller_of(obj)
    return [reference.uid] if reference is not None else []


def _orphan(obj: Any) -> Iterable[str]:
    return [obj.metadata.namespace] if meta.controller_of(obj) is None else []


def _label(obj: Any) -> Iterable[str]:
    namespace = obj.metadata.namespace
    return [f"{namespace}/{k}={v}" for k, v in obj.metadata.labels.items()]


def _node(obj: Any) -> Iterable[str]:
    return [obj.spec.nodeName] if obj.spec.nodeName else []


INDEXES: dict[str, Callable[[Any], Iterable[str]]] = {
    "controller": _controller,  # the uid of the controller
    "orphan": _orphan,  # the namespace of what has no controller
    "label": _label,  # NAMESPACE/KEY=VALUE
    "node": _node,  # the name of the node that a pod is bound to
}


class Written(Generic[T]):
    """What one has written oneself and the informer does not show yet.

    A reconciler that is woken between its own write and the news of it would decide on the old version and be refused
    with a conflict. Revisions of one object may be compared: only the storage gives them, and they grow.
    """

    def __init__(self, informer: Informer[T]) -> None:
        self._informer = informer
        self._objects: dict[Key, T] = {}
        informer.on_change(self._changed)

    def note(self, obj: T) -> T:
        """`obj` is what the server answered to a write."""
        if not self._informer.has_shown(obj):
            self._objects[meta.key(obj)] = obj
        return obj

    def get(self, key: Key) -> T | None:
        """What the informer shows under the key, or what was written since, be it new."""
        seen, written = self._informer.get(*key), self._objects.get(key)
        if seen is not None:
            return self.newest(seen)
        return written if written is not None and not self._informer.has_shown(written) else None

    def newest(self, seen: T) -> T:
        """`seen` in the informer, or what was written since."""
        written = self._objects.get(meta.key(seen))
        return written if written is not None and _is_later(written, seen) else seen

    def _changed(self, old: T | None, new: T | None) -> None:
        key = meta.key(new or old)
        written = self._objects.get(key)
        if written is not None and (new is None or not _is_later(written, new)):
            del self._objects[key]


def _is_later(a: Any, b: Any) -> bool:
    return a.metadata.uid == b.metadata.uid and int(a.metadata.resourceVersion) > int(b.metadata.resourceVersion)


class Informers:
    """Informers that are given out before `run` start with it, others at once."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._informers: dict[tuple[Any, str], Informer[Any]] = {}
        self._of_kind: dict[Kind, Informer[Any]] = {}
        self._indexed: set[tuple[Any, str, str]] = set()
        self._tasks: asyncio.TaskGroup | None = None
        self._running: dict[Informer[Any], asyncio.Task[None]] = {}

    def __call__(self, what: type[T], *, indexes: Iterable[str] = (), field_selector: str = "") -> Informer[T]:
        """The informer of a kind, with these of INDEXES."""
        key = (what, field_selector)
        if key not in self._informers:
            self._informers[key] = Informer(self._client, what, field_selector=field_selector, clock=self._clock)
            if self._tasks is not None:
                self._start(self._tasks, self._informers[key])
            if not field_selector:
                self._of_kind.setdefault(kinds.of(what), self._informers[key])
        informer = self._informers[key]
        for name in indexes:
            if (what, field_selector, name) not in self._indexed:
                self._indexed.add((what, field_selector, name))
                informer.add_index(name, INDEXES[name])
        return cast(Informer[T], informer)

    def metadata(self, kind: Kind) -> Informer[Any]:
        """An informer that shows at least the metadata: the one of the whole objects if some controller has it."""
        known = self._of_kind.get(kind)
        return known if known is not None else self(meta.partial(kind))

    async def synced(self) -> None:
        """Returns when every informer knows the world."""
        for informer in list(self._informers.values()):
            await informer.synced()

    def forget(self, kind: Kind) -> None:
        """End the informer of a kind that is served no longer."""
        informer = self._informers.pop((meta.partial(kind), ""), None)
        self._of_kind.pop(kind, None)
        if informer is not None and (task := self._running.pop(informer, None)) is not None:
            task.cancel()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for informer in list(self._informers.values()):
                self._start(tasks, informer)
            self._tasks = tasks

    def _start(self, tasks: asyncio.TaskGroup, informer: Informer[Any]) -> None:
        self._running[informer] = tasks.create_task(informer.run())
