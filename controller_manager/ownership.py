"""Who owns whom, as owner references say. Pure.

https://kubernetes.io/docs/concepts/architecture/garbage-collection/#owners-dependents . Only objects that refer to an
owner are in the graph, and those being deleted that must wait for their dependents: the others need no edges.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from api.kinds import Kind

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


@dataclass(frozen=True, slots=True)
class Reference:
    """What an owner reference says, as far as it matters here."""

    uid: str
    blocks: bool
    """Whether the owner must not go before its dependent in a foreground deletion."""


@dataclass(frozen=True, slots=True)
class Item:
    """An object in the graph."""

    kind: Kind
    namespace: str
    name: str
    uid: str
    owners: tuple[Reference, ...]


def item(kind: Kind, obj: Any) -> Item:
    m = obj.metadata
    owners = tuple(Reference(o.uid, bool(o.blockOwnerDeletion)) for o in m.ownerReferences)
    return Item(kind, m.namespace, m.name, m.uid, owners)


def is_waiting(obj: Any) -> bool:
    """Whether the object is being deleted in the foreground: it goes when its dependents are gone."""
    return bool(obj.metadata.deletionTimestamp) and FOREGROUND in obj.metadata.finalizers


def is_orphaning(obj: Any) -> bool:
    return bool(obj.metadata.deletionTimestamp) and ORPHAN in obj.metadata.finalizers


class Graph:
    def __init__(self) -> None:
        self._items: dict[str, Item] = {}
        self._dependents: dict[str, dict[str, None]] = {}

    def observe(self, kind: Kind, obj: Any) -> None:
        """The object as it is now."""
        self.forget(obj.metadata.uid)
        if not obj.metadata.ownerReferences and not is_waiting(obj) and not is_orphaning(obj):
            return
        new = item(kind, obj)
        self._items[new.uid] = new
        for owner in new.owners:
            self._dependents.setdefault(owner.uid, {})[new.uid] = None

    def forget(self, uid: str) -> None:
        """The object is gone. What depends on it is still found under its uid."""
        old = self._items.pop(uid, None)
        for owner in old.owners if old is not None else ():
            dependents = self._dependents.get(owner.uid, {})
            dependents.pop(uid, None)
            if not dependents:
                self._dependents.pop(owner.uid, None)

    def find(self, uid: str) -> Item | None:
        return self._items.get(uid)

    def uids(self) -> list[str]:
        return list(self._items)

    def dependents(self, uid: str) -> list[Item]:
        return [self._items[d] for d in self._dependents.get(uid, ())]

    def is_blocked(self, uid: str) -> bool:
        """Whether there is a dependent that a foreground deletion of `uid` waits for."""
        dependents = (self._items[d] for d in self._dependents.get(uid, ()))
        return any(o.uid == uid and o.blocks for d in dependents for o in d.owners)

    def __len__(self) -> int:
        return len(self._items)


class Owner(Enum):
    """What became of an owner."""

    SOLID = "it is there"
    WAITING = "it is being deleted in the foreground"
    ABSENT = "it is gone, or never was"
    UNKNOWN = "nobody can tell"


class Verdict(Enum):
    """What to do with an object, seeing its owners."""

    KEEP = "keep"
    DETACH = "keep, but remove the references to owners that are gone or going"
    DELETE_FOREGROUND = "delete after its own dependents"
    DELETE = "delete"


def judge(owners: Iterable[Owner], *, has_dependents: bool) -> Verdict:
    """An object lives as long as one owner does; one doubtful owner is reason enough to do nothing."""
    states = set(owners)
    if not states or Owner.UNKNOWN in states or states == {Owner.SOLID}:
        return Verdict.KEEP
    if Owner.SOLID in states:
        return Verdict.DETACH
    if Owner.WAITING in states and has_dependents:
        return Verdict.DELETE_FOREGROUND
    return Verdict.DELETE
