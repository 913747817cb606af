"""Objects as informers tell of them, and a client that writes them there."""

from collections.abc import Callable, Iterable
from typing import Any

from api import meta
from api.errors import NotFound
from api.meta import Key


class View:
    """One kind's objects, as `Informer` shows them."""

    def __init__(self) -> None:
        self.objects: dict[Key, Any] = {}
        self._handlers: list[Callable[[Any, Any], None]] = []
        self._index: Callable[[Any], Iterable[str]] = lambda _: ()

    def put(self, obj: Any) -> None:
        old, self.objects[meta.key(obj)] = self.objects.get(meta.key(obj)), obj
        self._tell(old, obj)

    def drop(self, at: Key) -> None:
        self._tell(self.objects.pop(at), None)

    def on_change(self, handler: Callable[[Any, Any], None]) -> None:
        self._handlers.append(handler)

    def add_index(self, _: str, keys: Callable[[Any], Iterable[str]]) -> None:
        self._index = keys

    def by_index(self, _: str, value: str) -> list[Any]:
        return [o for o in self.objects.values() if value in self._index(o)]

    def list(self, namespace: str) -> Any:
        return [o for key, o in self.objects.items() if key.namespace == namespace]

    def get(self, namespace: str, name: str) -> Any:
        return self.objects.get(Key(namespace, name))

    async def synced(self) -> None:
        return

    def _tell(self, old: Any, new: Any) -> None:
        for handler in self._handlers:
            handler(old, new)


class Writes:
    """A client whose writes are seen at once."""

    def __init__(self, **views: View) -> None:
        self._views = views

    async def get(self, what: type[Any], name: str, namespace: str) -> Any:
        found = self._views[what.__name__].get(namespace, name)
        if found is None:
            raise NotFound(f"there is no {name}")
        return meta.clone(found)

    async def create(self, obj: Any) -> None:
        obj.metadata.uid = f"uid of {obj.metadata.name}"
        self._views[obj.kind].put(obj)

    async def update(self, obj: Any) -> None:
        self._views[obj.kind].put(obj)

    async def delete(self, what: type[Any], name: str, namespace: str) -> None:
        self._views[what.__name__].drop(Key(namespace, name))
