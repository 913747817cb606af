"""The other servers: whoever is gone without a word is said to be gone by those that are left.

A stopped server takes its endpoint back itself; a killed one cannot, and half of all questions would wait for it in
vain. So a connection is held to each of the others: the kernel ends it with the process. Who then cannot be reached
counts as not ready, until it says itself that it is.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from api import errors
from api.meta import Key
from api.types import EndpointSlice
from cluster_dns.publishing import MANAGER, NAME, Place, is_ready, say_going
from machinery.client import Client
from machinery.clocks import SYSTEM, Clock
from machinery.informers import Informer

CONNECT_SECONDS = 0.3
"""In one network. Whoever is gone may be silent: nobody is left to refuse."""
HELD_SECONDS = 15.0
"""Longer than a server leaves a silent connection open: one that lasts longer leads to nobody."""
RETRY_SECONDS = 1.0

log = logging.getLogger(__name__)

Hold = Callable[[str, int], Awaitable[bool]]


class Peers:
    """Watches whoever else is a ready endpoint of the Service by `MANAGER`'s word."""

    def __init__(
        self, client: Client, slices: Informer[EndpointSlice], place: Place, hold: Hold | None = None,
        clock: Clock = SYSTEM,
    ) -> None:  # fmt: skip
        self._client = client
        self._slices = slices
        self._place = place
        self._hold = hold or held
        self._clock = clock
        self._changed = asyncio.Event()
        slices.on_change(lambda old, new: self._changed.set())

    async def run(self) -> None:
        """Until cancelled."""
        watched: dict[Key, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._changed.clear()
                present = {Key(s.metadata.namespace, s.metadata.name): s for s in self._slices.list(NAME.namespace)}
                others = {key: s for key, s in present.items() if key != self._place.slice and _is_peer(s)}
                for gone in watched.keys() - others.keys():
                    watched.pop(gone).cancel()
                for new in others.keys() - watched.keys():
                    watched[new] = tasks.create_task(self._watch(new, others[new]))
                await self._changed.wait()

    async def _watch(self, at: Key, peer: EndpointSlice) -> None:
        """Until the server that this slice is of is not ready any more."""
        address = peer.endpoints[0].addresses[0]
        port = next((p.port for p in peer.ports if p.protocol == "TCP" and p.port), self._place.port)
        short = False
        while True:
            began = self._clock.monotonic()
            if await self._hold(address, port):
                short, before = self._clock.monotonic() - began < RETRY_SECONDS, short
                if short and before:
                    # Whoever has no room ends it at once, and would have to do so again and again.
                    await self._clock.sleep(RETRY_SECONDS)
                continue
            try:
                log.warning("%s does not answer: others are preferred until it does", address)
                await say_going(self._client, at, address)
            except errors.ApiError as e:
                log.warning("saying that %s is gone: %s", address, e)
            # The informer tells that it is not ready, and that is the end of this; or it was, and it said so itself.
            await self._clock.sleep(RETRY_SECONDS)


def _is_peer(each: EndpointSlice) -> bool:
    labels = each.metadata.labels
    ours = labels.get("endpointslice.kubernetes.io/managed-by") == MANAGER
    return ours and labels.get("kubernetes.io/service-name") == NAME.name and is_ready(each)


async def held(address: str, port: int) -> bool:
    """Connect, and return when the connection has ended; False if there was none to be had, or it led to nobody."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(address, port)
    except (OSError, TimeoutError):
        return False
    try:
        async with asyncio.timeout(HELD_SECONDS):
            await reader.read()
    except TimeoutError:
        # The kernel accepts for a process that stands still, too. But if it was this one that stood still, the other
        # side may well have ended it.
        return reader.at_eof() or reader.exception() is not None
    except OSError:
        pass  # it has ended, one way or the other: whether anybody is there shows with the next one
    finally:
        writer.close()
    return True
