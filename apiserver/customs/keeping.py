"""The catalogue follows the definitions: what is accepted is served, and what is deleted no longer.

What is compiled of a definition is kept as long as neither its spec nor its accepted names change.
"""

import asyncio
import logging
from typing import Any, NoReturn

import msgspec

from api import kinds, meta
from api.errors import ApiError
from api.kinds import Kind
from api.types import CustomResourceDefinition
from apiserver.catalogue import Catalogue
from apiserver.customs.shapes import Definition
from apiserver.requests import Item
from apiserver.storage import keys
from apiserver.storage.tables import EVERYTHING
from apiserver.storage.worlds import World
from machinery.clocks import Clock

CRDS = kinds.of(CustomResourceDefinition)
AGAIN_SECONDS = 1.0
log = logging.getLogger(__name__)


class Keeper:
    """`run` keeps the catalogue; `settled` returns when it shows what was written before the call."""

    def __init__(self, world: World, catalogue: Catalogue, clock: Clock) -> None:
        self._world = world
        self._catalogue = catalogue
        self._clock = clock
        self._lock = asyncio.Lock()
        self._seen: dict[str, tuple[Item, Definition | None]] = {}
        self._kept: dict[str, Kind] = {}
        self._version = -1

    async def run(self) -> NoReturn:
        while True:
            with self._world.watcher(CRDS, "", EVERYTHING, bookmarks=False) as watcher:
                try:
                    await self.refresh()
                    while await watcher.take():
                        await self.refresh()
                except ApiError as e:  # etcd is away; the world comes back with it
                    log.warning("custom kinds: %s", e)
                    await self._clock.sleep(AGAIN_SECONDS)

    def definition(self, name: str) -> Definition | None:
        """What is served of the definition of that name; None if nothing is."""
        known = self._seen.get(name)
        return known[1] if known is not None else None

    async def settled(self) -> None:
        await self._world.fresh()
        await self.refresh()

    async def refresh(self) -> None:
        """Serve exactly what the definitions in the world say.  Raises Unavailable, Timeout."""
        table = self._world.resource(CRDS).table
        async with self._lock:
            while self._version != table.version:
                version = table.version
                await self._apply(list(table.items.values()))
                self._version = version

    async def _apply(self, items: list[Item]) -> None:
        seen = {item.name: (item, self._definition(item)) for item in items}
        definitions = [definition for _, definition in seen.values() if definition is not None]
        wanted = {keys.resource(d.stored): d.stored for d in definitions}
        for name, kind in wanted.items():
            before = self._kept.get(name)
            if before is None:
                await self._world.add(kind)
            elif before.shape.definition.selectable() != kind.shape.definition.selectable():
                self._world.reindex(kind)
        gone = [kind for name, kind in self._kept.items() if name not in wanted]
        unchanged = [d for _, d in self._seen.values() if d is not None] == definitions and not gone
        self._seen, self._kept = seen, wanted
        if not unchanged:
            self._catalogue.replace([kind for d in definitions for kind in d.served()])
        for kind in gone:
            self._world.remove(kind)

    def _definition(self, item: Item) -> Definition | None:
        """What is compiled of a definition; None if its names are not accepted."""
        before = self._seen.get(item.name)
        if before is not None and before[0] is item:
            return before[1]
        crd = meta.decode(item.document, CustomResourceDefinition)
        if not any(c.type in ("Established", "NamesAccepted") and c.status == "True" for c in crd.status.conditions):
            return None
        terminating = any(c.type == "Terminating" and c.status == "True" for c in crd.status.conditions)
        known = before[1] if before is not None else None
        if known is None or known.digest != digest(crd):
            try:
                known = Definition(crd)
            except (KeyError, ValueError, msgspec.MsgspecError) as e:
                log.error("the definition %s cannot be served: %s", item.name, e)
                return None
            known.digest = digest(crd)
        known.terminating = terminating
        return known


def digest(crd: Any) -> bytes:
    """All of a definition that decides what is served."""
    return meta.encode([crd.metadata.uid, crd.spec, crd.status.acceptedNames])
