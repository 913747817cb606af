"""A world of a few objects, as admission reads it."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from api import errors, meta
from api.kinds import Kind
from api.types import Namespace, NamespaceStatus, ObjectMeta
from apiserver.admission.reading import Changes
from apiserver.requests import Request, User


class Memory:
    """A Reader whose cache can lag behind: `late` objects are seen only by fresh reads."""

    def __init__(self, *objects: Any, late: Iterable[Any] = ()) -> None:
        self.objects = list(objects)
        self.late = list(late)

    def get_cached(self, kind: Kind, namespace: str, name: str) -> Any | None:
        return self._find(self.objects, kind, namespace, name)

    def list_cached(self, kind: Kind) -> Iterable[Any]:
        return [o for o in self.objects if meta.kind_of(o) is kind]

    def names_cached(self, kind: Kind) -> Iterable[str]:
        return [o.metadata.name for o in self.list_cached(kind)]

    def list_within(self, kind: Kind, namespace: str) -> Sequence[Any]:
        return [o for o in self.list_cached(kind) if o.metadata.namespace == namespace]

    def changes(self, kind: Kind, since: int) -> Changes:
        """Always everything."""
        return Changes(0, True, [(str(meta.key(o)), o) for o in self.list_cached(kind)])

    async def get_fresh(self, kind: Kind, namespace: str, name: str) -> Any | None:
        return self._find(self.objects + self.late, kind, namespace, name)

    def _find(self, objects: list[Any], kind: Kind, namespace: str, name: str) -> Any | None:
        return next((o for o in objects if meta.kind_of(o) is kind and meta.key(o) == (namespace, name)), None)


class Accounts(Memory):
    """A Ledger. `after` objects are what other servers write before our own first write."""

    def __init__(self, *objects: Any, after: Iterable[Any] = ()) -> None:
        super().__init__(*objects)
        self.after = list(after)
        self.writes = 0
        for obj in self.objects:
            obj.metadata.resourceVersion = obj.metadata.resourceVersion or "1"

    async def fresh(self) -> None:
        return None

    async def replace_together(self, kind: Kind, objects: Sequence[Any]) -> None:
        await asyncio.sleep(0)
        for obj in self.after:
            self._put(kind, obj)
        self.after = []
        for obj in objects:
            standing = self._find(self.objects, kind, *meta.key(obj))
            if standing is None or standing.metadata.resourceVersion != obj.metadata.resourceVersion:
                raise errors.conflict(kind.group_resource, obj.metadata.name, errors.STALE)
        for obj in objects:
            self._put(kind, obj)
        self.writes += 1

    def _put(self, kind: Kind, obj: Any) -> None:
        standing = self._find(self.objects, kind, *meta.key(obj))
        new = meta.clone(obj)
        new.metadata.resourceVersion = str(int(standing.metadata.resourceVersion) + 1)
        self.objects[self.objects.index(standing)] = new


def namespace(name: str, phase: str = "Active") -> Namespace:
    return Namespace(metadata=ObjectMeta(name=name), status=NamespaceStatus(phase=phase))


def asking(obj: Any, verb: str = "create", **more: Any) -> Request:
    kind = more.pop("kind", None) or meta.kind_of(obj)
    place = {"namespace": obj.metadata.namespace, "name": obj.metadata.name} if obj is not None else {}
    return Request(User("someone"), verb, kind, **(place | more))
