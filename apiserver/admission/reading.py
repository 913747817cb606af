"""The narrow view that admission has of the other objects."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from api.kinds import Kind


class Changes(NamedTuple):
    """What happened to the objects of a kind."""

    revision: int
    """To go on from."""
    everything: bool
    """The objects are all there are: too much has happened since the last time."""
    objects: Sequence[tuple[str, Any | None]]
    """(what names the object within its kind, its state or None if it went), in the order of the changes."""


class Reader(Protocol):
    """What the registry offers. Objects are shared: nobody may change them."""

    def get_cached(self, kind: Kind, namespace: str, name: str) -> Any | None:
        """The object as the watch cache has it, which may lag behind; None if it is not there."""

    def list_cached(self, kind: Kind) -> Iterable[Any]:
        """All objects of a kind, in all namespaces, as the watch cache has them."""

    def names_cached(self, kind: Kind) -> Iterable[str]:
        """The names of all objects of a kind that is not namespaced, as the watch cache has them."""

    def list_within(self, kind: Kind, namespace: str) -> Sequence[Any]:
        """All objects of a kind in one namespace, as the watch cache has them."""

    def changes(self, kind: Kind, since: int) -> Changes:
        """What the cache has learnt of a kind after revision `since`; -1: what it knows."""

    async def get_fresh(self, kind: Kind, namespace: str, name: str) -> Any | None:
        """The object in a state that is not older than this call; None if it does not exist."""


class Ledger(Reader, Protocol):
    """A Reader with which accounts can be kept: quotas, where what is used is written before it is used."""

    async def fresh(self) -> None:
        """Returns when the cache shows everything that was written before this call."""

    async def replace_together(self, kind: Kind, objects: Sequence[Any]) -> None:
        """Store new states of several objects in one transaction, each in the place of the revision that its
        resourceVersion names; returns when the cache shows them.  Raises Conflict if one is at another."""


async def find(reader: Reader, kind: Kind, namespace: str, name: str) -> Any | None:
    """From the cache, and asked for once more before anybody is refused for what the cache has not seen yet."""
    return reader.get_cached(kind, namespace, name) or await reader.get_fresh(kind, namespace, name)
