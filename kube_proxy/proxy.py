"""The loop: what informers tell → the table, the routes, and the flows that must not go on as they were."""

import asyncio
import logging
from typing import Any, Protocol

from api.meta import Key, key
from api.types import EndpointSlice, Node, Service
from kube_proxy import conntrack, routes
from kube_proxy.conntrack import Flow
from kube_proxy.ledger import Change, Ledger
from kube_proxy.nftables import NftablesError
from kube_proxy.rules import Elements, elements
from kube_proxy.services import SERVICE_NAME, balanced
from kube_proxy.table import Table
from machinery.clocks import SYSTEM, Clock
from machinery.informers import Informer
from machinery.running import together

log = logging.getLogger(__name__)

# Changes of one moment (a rollout moves several slices) become one transaction.
COALESCE_SECONDS = 0.01
RETRY_SECONDS = 1.0
CHECK_SECONDS = 30.0
# Listing 10,000 services takes a second of CPU: the check takes at most a hundredth of the time.
CHECK_SHARE = 0.01


class Readiness(Protocol):
    async def ready(self, is_ready: bool = True) -> None: ...


class Proxy:
    """Owns the table. Stopping leaves the rules as they are: packets outlive the proxy."""

    def __init__(
        self, services: Informer[Service], slices: Informer[EndpointSlice], nodes: Informer[Node], table: Table,
        *, node: str, service_range: str, readiness: Readiness, clock: Clock = SYSTEM,
    ) -> None:  # fmt: skip
        self._services, self._slices, self._nodes = services, slices, nodes
        self._table = table
        self._node = node
        self._service_range = service_range
        self._readiness = readiness
        self._clock = clock
        self._dirty: set[Key] = set()
        self._flows_of: set[tuple[str, int]] = set()
        self._changed = asyncio.Event()
        self._check_due = False
        self._check_took = 0.0
        slices.add_index("service", lambda s: [f"{k.namespace}/{k.name}" for k in _service_of(s)])
        services.on_change(self._on_service)
        slices.on_change(self._on_slice)
        nodes.on_change(lambda old, new: self._changed.set())

    async def run(self) -> None:
        """Program the node until cancelled.

        Nothing is programmed before both kinds are known completely: half of the services would cut off the others.
        """
        for informer in (self._services, self._slices, self._nodes):
            await informer.synced()
        await together(self._follow(), self._check_now_and_then())

    async def _follow(self) -> None:
        done = False
        while True:
            done = await self.sync()
            await self._readiness.ready(done)
            if not done:
                await self._clock.sleep(RETRY_SECONDS)
                continue
            await self._changed.wait()
            await self._clock.sleep(COALESCE_SECONDS)

    async def sync(self) -> bool:
        """One iteration; whether the node is now as it should be."""
        self._changed.clear()
        dirty, self._dirty = self._dirty, set()
        try:
            change = await asyncio.to_thread(self._table.apply, {k: self._desired(k) for k in dirty})
            self._flows_of |= udp_ends(change)
            if self._check_due:
                await self._check()
        except NftablesError as e:
            log.error("the rules cannot be programmed: %s", e)
            return False
        return await self._adapt_flows() & await self._ensure_routes()

    def _desired(self, service: Key) -> Elements:
        found = self._services.get(*service)
        if found is None:
            return {}
        slices = self._slices.by_index("service", str(service))
        wanted: Elements = {}
        for port in balanced(found, slices, self._node):
            wanted |= elements(port)
        return wanted

    async def _adapt_flows(self) -> bool:
        if not self._flows_of:
            return True
        ends, ledger = frozenset(self._flows_of), self._table.ledger
        try:
            deleted = await asyncio.to_thread(conntrack.delete_flows, lambda f: is_stale(f, ends, ledger))
        except OSError as e:
            log.warning("stale UDP flows cannot be found: %s", e)
            return False
        self._flows_of.clear()
        if deleted:
            log.info("%d UDP flows to endpoints that left were ended", deleted)
        return True

    async def _ensure_routes(self) -> bool:
        """Without a node object, or an address in it, there is nothing to do yet; its next change comes here again."""
        address = node_address(self._nodes.get("", self._node))
        if not address:
            return True
        try:
            await asyncio.to_thread(routes.ensure, self._service_range, address)
        except OSError as e:
            log.warning("the routes to %s from %s cannot be set: %s", self._service_range, address, e)
            return False
        return True

    async def _check_now_and_then(self) -> None:
        while True:
            await self._clock.sleep(max(CHECK_SECONDS, self._check_took / CHECK_SHARE))
            self._check_due = True
            self._changed.set()

    async def _check(self) -> None:
        self._check_due = False
        started = self._clock.monotonic()
        if await asyncio.to_thread(self._table.repair):
            log.warning("the rules were not as programmed and have been restored")
        self._check_took = self._clock.monotonic() - started

    def _on_service(self, old: Service | None, new: Service | None) -> None:
        self._mark(key(new or old))

    def _on_slice(self, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        for each in (old, new):
            for service in _service_of(each):
                self._mark(service)

    def _mark(self, service: Key) -> None:
        self._dirty.add(service)
        self._changed.set()


def udp_ends(change: Change) -> set[tuple[str, int]]:
    """The addresses and ports (address "" for a node port) of UDP services whose endpoints changed."""
    ends = set()
    for element in (*change.removed, *change.added):
        parts = element.key.split(" . ")
        if element.map == "endpoints-udp":
            ends.add((parts[0], int(parts[2])))
        elif element.map == "node-port-endpoints-udp":
            ends.add(("", int(parts[1])))
    return ends


def is_stale(flow: Flow, ends: frozenset[tuple[str, int]], ledger: Ledger) -> bool:
    """Whether the flow belongs to one of `ends` and is answered by none of its endpoints."""
    backend = f"{flow.backend} . {flow.backend_port}"
    if (flow.address, flow.port) in ends:
        return backend not in ledger.answering(flow.address, "udp", flow.port)
    # A flow that was never translated is to somebody else's port of the same number.
    translated = flow.backend != flow.address
    return translated and ("", flow.port) in ends and backend not in ledger.answering("", "udp", flow.port)


def node_address(node: Node | None) -> str:
    """The node's internal IPv4 address, or ""."""
    addresses = node.status.addresses if node is not None else []
    return next((a.address for a in addresses if a.type == "InternalIP" and ":" not in a.address), "")


def _service_of(each: Any) -> list[Key]:
    name = each.metadata.labels.get(SERVICE_NAME) if each is not None else None
    return [Key(each.metadata.namespace, name)] if name else []
