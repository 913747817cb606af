"""Informers without an API server."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from api.meta import Key, key


class World:
    """One kind's objects, told as an informer tells them."""

    def __init__(self) -> None:
        self.objects: dict[Key, Any] = {}
        self.complete = asyncio.Event()
        self.followed = False
        self._handlers: list[Callable[[Any, Any], None]] = []
        self._indexes: dict[str, Callable[[Any], Iterable[str]]] = {}

    def put(self, obj: Any) -> None:
        old, self.objects[key(obj)] = self.objects.get(key(obj)), obj
        for handler in self._handlers:
            handler(old, obj)

    def drop(self, obj: Any) -> None:
        del self.objects[key(obj)]
        for handler in self._handlers:
            handler(obj, None)

    def on_change(self, handler: Callable[[Any, Any], None]) -> None:
        self._handlers.append(handler)

    def add_index(self, name: str, keys: Callable[[Any], Iterable[str]]) -> None:
        self._indexes[name] = keys

    def by_index(self, name: str, value: str) -> Sequence[Any]:
        return [o for o in self.objects.values() if value in self._indexes[name](o)]

    def list(self) -> Sequence[Any]:
        return [*self.objects.values()]

    def get(self, namespace: str, name: str) -> Any:
        return self.objects.get(Key(namespace, name))

    async def synced(self) -> None:
        await self.complete.wait()

    async def run(self) -> None:
        self.followed = True
        await asyncio.Event().wait()
