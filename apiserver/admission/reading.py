"""The narrow view that admission has of the other objects."""

from collections.abc import Iterable
from typing import Any, Protocol

from api.kinds import Kind


class Reader(Protocol):
    """What the registry offers. Objects are shared: nobody may change them."""

    def get_cached(self, kind: Kind, namespace: str, name: str) -> Any | None:
        """The object as the watch cache has it, which may lag behind; None if it is not there."""

    def list_cached(self, kind: Kind) -> Iterable[Any]:
        """All objects of a kind, in all namespaces, as the watch cache has them."""

    async def get_fresh(self, kind: Kind, namespace: str, name: str) -> Any | None:
        """The object in a state that is not older than this call; None if it does not exist."""


async def find(reader: Reader, kind: Kind, namespace: str, name: str) -> Any | None:
    """From the cache, and asked for once more before anybody is refused for what the cache has not seen yet."""
    return reader.get_cached(kind, namespace, name) or await reader.get_fresh(kind, namespace, name)
