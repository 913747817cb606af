"""One object at a time: read as a Struct, stored as a document, in a transaction that holds what it claims.

This is also the narrow view (`apiserver.admission.Reader`) that admission has of the other objects.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from api import errors, meta
from api.kinds import Kind
from apiserver.admission import claims_of
from apiserver.requests import Item
from apiserver.storage import documents, keys
from apiserver.storage.transactions import Store, Stored
from apiserver.storage.worlds import World

REMEMBERED = 20_000


class Current(NamedTuple):
    """An object as it stands. `obj` belongs to whoever asked; nobody else has it."""

    obj: Any
    stored: bytes
    revision: int
    proven: bool
    """Read past the cache: not older than the question."""

    def served(self) -> bytes:
        return documents.serve(self.stored, self.revision)

    def tree(self) -> dict[str, Any]:
        """The document as dicts and lists, at liberty to be changed."""
        return msgspec.json.decode(self.served())  # type: ignore[no-any-return]


def key_of(kind: Kind, namespace: str, name: str) -> bytes:
    return keys.whole(keys.resource(kind), keys.within(namespace, name))


class Objects:
    def __init__(self, world: World, store: Store) -> None:
        self._world = world
        self._store = store
        self._decoded: dict[tuple[str, str], tuple[Item, Any]] = {}

    # --- reading

    async def current(self, kind: Kind, namespace: str, name: str, *, proven: bool = False) -> Current:
        """From the cache, unless it must be proven or is not there.  Raises NotFound."""
        if not proven:
            item = self._world.resource(kind).table.items.get(keys.within(namespace, name))
            if item is not None:
                obj = meta.decode(item.document, kind.type)
                return Current(obj, documents.store(item.document), item.revision, False)
        found = await self._store.get(key_of(kind, namespace, name))
        if found is None:
            raise errors.not_found(kind.group_resource, name)
        return self.read(kind, found)

    def read(self, kind: Kind, found: Stored) -> Current:
        obj = meta.decode(documents.serve(found.value, found.revision), kind.type)
        return Current(obj, found.value, found.revision, True)

    def get_cached(self, kind: Kind, namespace: str, name: str) -> Any | None:
        item = self._world.resource(kind).table.items.get(keys.within(namespace, name))
        return self._shared(kind, item) if item is not None else None

    def list_cached(self, kind: Kind) -> Iterable[Any]:
        return [self._shared(kind, item) for item in self._world.resource(kind).table.items.values()]

    def list_bound(self, kind: Kind, value: str) -> Iterable[Any]:
        """Those whose bucketed field (a pod's node) has that value."""
        return [self._shared(kind, item) for item in self._world.resource(kind).table.bucket(value)]

    async def get_fresh(self, kind: Kind, namespace: str, name: str) -> Any | None:
        await self._world.fresh()
        return self.get_cached(kind, namespace, name)

    def _shared(self, kind: Kind, item: Item) -> Any:
        """The Struct of an item, decoded once for everybody who asks in this revision."""
        at = (keys.resource(kind), keys.within(item.namespace, item.name))
        known = self._decoded.get(at)
        if known is None or known[0] is not item:
            if len(self._decoded) >= REMEMBERED:
                self._decoded.clear()
            known = self._decoded[at] = (item, meta.decode(item.document, kind.type))
        return known[1]

    # --- writing

    async def create(self, kind: Kind, obj: Any) -> bytes:
        """The document as it is served now.  Raises Changed if the name is taken, ClaimTaken."""
        value = encoded(obj)
        at = key_of(kind, obj.metadata.namespace, obj.metadata.name)
        return documents.serve(value, await self._store.create(at, value, claims_of(kind, obj)))

    async def update(self, kind: Kind, current: Current, obj: Any) -> bytes:
        """The document as it is served now.  Raises Changed, ClaimTaken."""
        value = encoded(obj)
        old, new = claims_of(kind, current.obj), claims_of(kind, obj)
        at = key_of(kind, obj.metadata.namespace, obj.metadata.name)
        revision = await self._store.update(at, value, current.revision, new - old, old - new)
        return documents.serve(value, revision)

    async def delete(self, kind: Kind, current: Current) -> int:
        """The revision at which it went.  Raises Changed."""
        metadata = current.obj.metadata
        at = key_of(kind, metadata.namespace, metadata.name)
        return await self._store.delete(at, current.revision, claims_of(kind, current.obj))


def encoded(obj: Any) -> bytes:
    """The document as it is stored: without resourceVersion, which is the transaction's to give."""
    version, obj.metadata.resourceVersion = obj.metadata.resourceVersion, ""
    try:
        return meta.encode(obj)
    finally:
        obj.metadata.resourceVersion = version
