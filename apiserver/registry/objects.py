"""One object at a time: read as a Struct, stored as a document, in a transaction that holds what it claims.

This is also the narrow view (`apiserver.admission.Reader`) that admission has of the other objects.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from api import errors, meta, times
from api.kinds import Kind
from apiserver.admission import claims_of
from apiserver.admission.reading import Changes
from apiserver.customs.viewing import Views
from apiserver.registry.service_addresses import address_of
from apiserver.requests import Item
from apiserver.storage import documents, keys
from apiserver.storage.tables import EVERYTHING, Gone
from apiserver.storage.transactions import Changed, Store, Stored
from apiserver.storage.worlds import World
from machinery.clocks import SYSTEM, Clock

REMEMBERED = 20_000


class Current(NamedTuple):
    """An object as it stands. `obj` belongs to whoever asked; nobody else has it."""

    obj: Any
    stored: bytes
    revision: int
    proven: bool
    """Read past the cache: not older than the question."""
    outdated: bool = False
    """It is stored in another version than it should be: worth writing even if nothing has changed."""

    def served(self) -> bytes:
        return documents.serve(self.stored, self.revision)

    def tree(self) -> dict[str, Any]:
        """The document as dicts and lists, at liberty to be changed."""
        return msgspec.json.decode(self.served())  # type: ignore[no-any-return]


def key_of(kind: Kind, namespace: str, name: str) -> bytes:
    return keys.whole(keys.resource(kind), keys.within(namespace, name))


class Objects:
    def __init__(self, world: World, store: Store, views: Views | None = None, clock: Clock = SYSTEM) -> None:
        """`views` shows custom objects in other versions than they are stored in."""
        self._views = views or Views()
        self._world = world
        self._store = store
        self._clock = clock
        self._decoded: dict[tuple[str, str], tuple[Item, Any]] = {}

    # --- reading

    async def current(self, kind: Kind, namespace: str, name: str, *, proven: bool = False) -> Current:
        """From the cache, unless it must be proven or is not there.  Raises NotFound."""
        if not proven:
            item = self._world.resource(kind).table.items.get(keys.within(namespace, name))
            if item is not None:
                if kind.custom:
                    return await self._viewed(kind, item.document, item.revision, False)
                obj = meta.decode(item.document, kind.type)
                return Current(obj, documents.store(item.document), item.revision, False)
        found = await self._store.get(key_of(kind, namespace, name))
        if found is None:
            raise errors.not_found(kind.group_resource, name)
        return await self.read(kind, found)

    async def prove(self, kind: Kind, current: Current) -> None:
        """That what was read from the cache is what is there. A write that would change nothing of the one may well
        change the other: it undoes what the cache has not seen yet, or is of another object.  Raises Changed."""
        if current.proven:
            return
        metadata = current.obj.metadata
        found = await self._store.get(key_of(kind, metadata.namespace, metadata.name))
        if found is None or found.revision != current.revision:
            raise Changed(found)

    async def read(self, kind: Kind, found: Stored) -> Current:
        document = documents.serve(found.value, found.revision)
        if kind.custom:
            return await self._viewed(kind, document, found.revision, True)
        return Current(meta.decode(document, kind.type), found.value, found.revision, True)

    async def _viewed(self, kind: Kind, document: bytes, revision: int, proven: bool) -> Current:
        obj, outdated = await self._views.object(kind, document)
        return Current(obj, encoded(obj), revision, proven, outdated)

    def get_cached(self, kind: Kind, namespace: str, name: str) -> Any | None:
        item = self._world.resource(kind).table.items.get(keys.within(namespace, name))
        return self._shared(kind, item) if item is not None else None

    def list_cached(self, kind: Kind) -> Iterable[Any]:
        return [self._shared(kind, item) for item in self._world.resource(kind).table.items.values()]

    def names_cached(self, kind: Kind) -> Iterable[str]:
        return list(self._world.resource(kind).table.items)

    def count(self, kind: Kind) -> int:
        """Raises NotFound for a kind that is not kept."""
        return len(self._world.resource(kind).table.items)

    def version(self, kind: Kind) -> int:
        """Grows with every change that the watch cache sees of an object of the kind."""
        return self._world.resource(kind).table.version

    def list_within(self, kind: Kind, namespace: str) -> list[Any]:
        """Those of one namespace, as the watch cache has them."""
        table = self._world.resource(kind).table
        if not table.items:  # quotas and limits are asked for by every write, and mostly there are none
            return []
        return [self._shared(kind, item) for item in table.select(namespace, EVERYTHING).items]

    def changes(self, kind: Kind, since: int) -> Changes:
        """What happened after that revision, or everything where that is no longer known."""
        table, revision = self._world.resource(kind).table, self._world.revision
        try:
            found = list(table.changes_since(since)) if since >= 0 else None
        except Gone:
            found = None
        if found is None:
            return Changes(revision, True, [(key, self._shared(kind, item)) for key, item in table.items.items()])
        states = ((c.key, self._shared(kind, c.new) if c.new is not None else None) for c in found)
        return Changes(revision, False, list(states))

    def list_bound(self, kind: Kind, value: str) -> Iterable[Any]:
        """Those whose bucketed field (a pod's node) has that value."""
        return [self._shared(kind, item) for item in self._world.resource(kind).table.bucket(value)]

    async def fresh(self) -> None:
        """Returns when the cache shows everything that was written before this call."""
        await self._world.fresh()

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

    def is_stale(self, kind: Kind, obj: Any) -> bool:
        """Whether it should be written even if nothing has changed: it is encrypted with yesterday's key."""
        return self._store.is_stale(key_of(kind, obj.metadata.namespace, obj.metadata.name))

    def check_readable(self, kind: Kind, namespace: str, name: str) -> None:
        """Raises InternalError if the object, or without a name any of them, cannot be decrypted."""
        self._store.check_readable(key_of(kind, namespace, name))

    # --- writing

    async def create(self, kind: Kind, obj: Any) -> bytes:
        """The document as it is served now.  Raises Changed if the name is taken, ClaimTaken."""
        at, value = key_of(kind, obj.metadata.namespace, obj.metadata.name), encoded(obj)
        if kind.custom:
            stored = encoded(await self._views.stored(kind, obj))
            return documents.serve(value, await self._store.create(at, stored))
        return documents.serve(value, await self._store.create(at, value, self._held(at, obj, claims_of(kind, obj))))

    async def update(self, kind: Kind, current: Current, obj: Any) -> bytes:
        """The document as it is served now.  Raises Changed, ClaimTaken."""
        value = encoded(obj)
        old, new = claims_of(kind, current.obj), claims_of(kind, obj)
        at = key_of(kind, obj.metadata.namespace, obj.metadata.name)
        stored = encoded(await self._views.stored(kind, obj)) if kind.custom else value
        revision = await self._store.update(at, stored, current.revision, self._held(at, obj, new - old), old - new)
        return documents.serve(value, revision)

    def _held(self, at: bytes, obj: Any, claims: frozenset[str]) -> dict[str, bytes]:
        """What to write under each claim: an IPAddress where it is a cluster IP's, else who holds it."""
        held = dict.fromkeys(claims, at)
        for claim in claims:
            if claim.startswith(keys.SERVICE_ADDRESSES):
                ip = claim.removeprefix(keys.SERVICE_ADDRESSES)
                held[claim] = encoded(address_of(obj, ip, times.format(self._clock.now())))
        return held

    async def replace_together(self, kind: Kind, objects: Sequence[Any]) -> None:
        """Store new states of several objects, which hold no claims, in one transaction, each in the place of the
        revision that its resourceVersion names; returns when the cache shows them.  Raises Conflict."""
        values = [
            (key_of(kind, o.metadata.namespace, o.metadata.name), encoded(o), int(o.metadata.resourceVersion))
            for o in objects
        ]
        try:
            revision = await self._store.update_together(values)
        except Changed as e:
            raise errors.conflict(kind.group_resource, objects[0].metadata.name, errors.STALE) from e
        await self._world.at_least(revision)

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
