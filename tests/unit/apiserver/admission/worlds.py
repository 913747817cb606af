"""A world of a few objects, as admission reads it."""

from collections.abc import Iterable
from typing import Any

from api import meta
from api.kinds import Kind
from api.types import Namespace, NamespaceStatus, ObjectMeta
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

    async def get_fresh(self, kind: Kind, namespace: str, name: str) -> Any | None:
        return self._find(self.objects + self.late, kind, namespace, name)

    def _find(self, objects: list[Any], kind: Kind, namespace: str, name: str) -> Any | None:
        return next((o for o in objects if meta.kind_of(o) is kind and meta.key(o) == (namespace, name)), None)


def namespace(name: str, phase: str = "Active") -> Namespace:
    return Namespace(metadata=ObjectMeta(name=name), status=NamespaceStatus(phase=phase))


def asking(obj: Any, verb: str = "create", **more: Any) -> Request:
    kind = more.pop("kind", None) or meta.kind_of(obj)
    place = {"namespace": obj.metadata.namespace, "name": obj.metadata.name} if obj is not None else {}
    return Request(User("someone"), verb, kind, **(place | more))
