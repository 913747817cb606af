"""The loop: what informers tell → the table, the routes, and the flows that must not go on as they were."""

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Protocol

from api import times
from api.addresses import decimal
from api.meta import Key, key
from api.types import EndpointSlice, Node, Pod, Service, ServiceCIDR
from kube_proxy import conntrack, loopback, routes, timeouts
from kube_proxy.conntrack import Flow
from kube_proxy.host_ports import published
from kube_proxy.ledger import Change, Ledger
from kube_proxy.metrics import Metrics
from kube_proxy.nftables import NftablesError
from kube_proxy.rules import Element, Elements, elements, ranges
from kube_proxy.services import SERVICE_NAME, ZONE, Place, balanced, is_ipv4
from kube_proxy.table import RANGES, Table
from machinery.clocks import SYSTEM, Clock
from machinery.informers import Informer
from machinery.running import together

log = logging.getLogger(__name__)

# The first change is programmed at once; those that follow within this time (a rollout moves several slices) become one
# transaction.
COALESCE_SECONDS = 0.01
RETRY_SECONDS = 1.0
CHECK_SECONDS = 30.0
# Listing 10,000 services takes a second of CPU: the check takes at most a hundredth of the time.
CHECK_SHARE = 0.01
SERVICE = "service"
TRIGGERED = "endpoints.kubernetes.io/last-change-trigger-time"
# Before the namespace of a pod's key: services and pods may have one name.
PODS = "pods/"
HELD = Key("held/", "")


class Readiness(Protocol):
    """Who is told how far the work is: there is something to do, and whether all of it is done."""

    def queued(self) -> None: ...
    def ready(self, is_ready: bool = True) -> None: ...


class Proxy:
    """Owns the table. Stopping leaves the rules as they are: packets outlive the proxy."""

    def __init__(
        self, services: Informer[Service], slices: Informer[EndpointSlice], nodes: Informer[Node],
        pods: Informer[Pod], cidrs: Informer[ServiceCIDR], table: Table, *,
        node: str, service_range: str, readiness: Readiness, metrics: Metrics, clock: Clock = SYSTEM,
    ) -> None:  # fmt: skip
        self._services, self._slices, self._nodes, self._pods, self._cidrs = services, slices, nodes, pods, cidrs
        self._table = table
        self._node = node
        self._service_range = service_range
        self._readiness = readiness
        self._metrics = metrics
        self._clock = clock
        self._dirty: set[Key] = set()
        self._flows_of: set[tuple[str, int]] = set()
        self._changed = asyncio.Event()
        self._check_due = False
        self._check_took = 0.0
        self._refused: set[str] = set()
        self._held: frozenset[str] = frozenset()
        self.healthy = False
        """Whether the node was as it should be when that was last looked at."""
        slices.add_index(SERVICE, lambda s: [f"{k.namespace}/{k.name}" for k in _service_of(s)])
        services.on_change(self._on_service)
        slices.on_change(self._on_slice)
        nodes.on_change(self._on_node)
        pods.on_change(self._on_pod)
        cidrs.on_change(lambda old, new: self._mark(RANGES))

    def holds(self, addresses: Iterable[str]) -> None:
        """The addresses of load balancers that this node answers for: on them nothing else of the node does."""
        self._held = frozenset(addresses)
        self._mark(HELD)

    async def run(self) -> None:
        """Program the node until cancelled.

        Nothing is programmed before all kinds are known completely: half of the services would cut off the others.
        """
        for informer in (self._services, self._slices, self._nodes, self._pods, self._cidrs):
            await informer.synced()
        await together(self._follow(), self._check_now_and_then())

    async def _follow(self) -> None:
        done = False
        while True:
            self.healthy = done = await self.sync()
            self._readiness.ready(done)
            if not done:
                await self._clock.sleep(RETRY_SECONDS)
                continue
            ended = self._clock.monotonic()
            await self._changed.wait()
            if (left := ended + COALESCE_SECONDS - self._clock.monotonic()) > 0:
                await self._clock.sleep(left)

    async def sync(self) -> bool:
        """One iteration; whether the node is now as it should be."""
        self._changed.clear()
        dirty, self._dirty = self._dirty, set()
        started, full = self._clock.monotonic(), not self._table.known
        checked = full or self._check_due
        before = [self._table.ledger.claims(k) for k in dirty]
        try:
            change = await asyncio.to_thread(self._table.apply, {k: self._wanted(k) for k in dirty})
            self._flows_of |= udp_ends(change)
            if self._check_due:
                await self._check()
        except NftablesError as e:
            log.error("the rules cannot be programmed: %s", e)
            self._metrics.failed()
            # The next success brings this change about, too, but does not tell of it.
            after = (self._table.ledger.claims(k) for k in dirty)
            self._flows_of |= udp_ends(Change(removed=[*itertools.chain(*before, *after)]))
            return False
        self._metrics.synced(self._clock.monotonic() - started, full=full)
        if checked:
            await self._set("ports of the node are not served on 127.0.0.1", loopback.allow)
            await self._set("quiet connections are forgotten early", timeouts.keep)
        return await self._adapt_flows() & await self._ensure_routes()

    async def _set(self, without: str, setting: Callable[[], None]) -> None:
        """Tell the kernel something that the proxy can do without, but for what `without` says."""
        try:
            await asyncio.to_thread(setting)
        except OSError as e:
            if without not in self._refused:
                log.warning("%s: %s", without, e)
            self._refused.add(without)

    def _wanted(self, service: Key) -> Elements:
        try:
            return self._desired(service)
        except Exception:  # one object's defect must not end the proxies of all nodes, again after each start
            log.exception("the rules of %s cannot be made, and stay as they are", service)
            return self._table.ledger.claims(service)

    def _desired(self, service: Key) -> Elements:
        if service == HELD:
            return {Element("held", address): "" for address in self._held}
        if service == RANGES:
            return ranges(self._ranges())
        if service.namespace.startswith(PODS):
            pod = self._pods.get(service.namespace.removeprefix(PODS), service.name)
            return published(pod) if pod is not None else {}
        found = self._services.get(*service)
        slices = self._slices.by_index(SERVICE, str(service))
        ports = balanced(found, slices, place(self._nodes.get("", self._node))) if found is not None else []
        wanted: Elements = {}
        for port in ports:
            wanted |= elements(port)
        self._metrics.without_local.pop(service, None)
        if lonely := frozenset(policy for port in ports for policy in port.without_local):
            self._metrics.without_local[service] = lonely
        return wanted

    async def _adapt_flows(self) -> bool:
        if not self._flows_of:
            return True
        ends, ledger = frozenset(self._flows_of), self._table.ledger
        own = node_address(self._nodes.get("", self._node))
        started = self._clock.monotonic()
        try:
            deleted = await asyncio.to_thread(conntrack.delete_flows, lambda f: is_stale(f, ends, ledger, own))
        except OSError as e:
            log.warning("stale UDP flows cannot be found: %s", e)
            return False
        self._flows_of.clear()
        self._metrics.searched(self._clock.monotonic() - started, deleted)
        if deleted:
            log.info("%d UDP flows to endpoints that left were ended", deleted)
        return True

    async def _ensure_routes(self) -> bool:
        """Without a node object, or an address in it, there is nothing to do yet; its next change comes here again."""
        address = node_address(self._nodes.get("", self._node))
        if not address:
            return True
        for network in self._ranges():
            try:
                await asyncio.to_thread(routes.ensure, network, address)
            except OSError as e:
                log.warning("the routes to %s from %s cannot be set: %s", network, address, e)
                return False
        return True

    def _ranges(self) -> set[str]:
        """Where cluster addresses are, since when they were first (a range that is deleted has no services by then)."""
        told = (network for cidr in self._cidrs.list() for network in cidr.spec.cidrs if ":" not in network)
        return {self._service_range, *told}

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
        self._metrics.changed("service", key(new or old))
        self._mark(key(new or old))

    def _on_slice(self, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        for service in {*_service_of(old), *_service_of(new)}:
            self._metrics.changed("endpoint", service)
            self._mark(service)
        if new is not None and (at := new.metadata.annotations.get(TRIGGERED)):
            with suppress(ValueError):  # slices may be written by anybody, and nothing hangs on this
                self._metrics.triggered(times.parse(at))

    def _on_node(self, old: Node | None, new: Node | None) -> None:
        if self._node in (each.metadata.name for each in (old, new) if each is not None):
            self._changed.set()
            if place(old) != place(new):
                self._dirty.update(map(key, self._services.list()))

    def _on_pod(self, old: Pod | None, new: Pod | None) -> None:
        before, after = (published(each) if each is not None else {} for each in (old, new))
        if before != after:
            of = key(new or old)
            self._mark(Key(PODS + of.namespace, of.name))

    def _mark(self, service: Key) -> None:
        self._dirty.add(service)
        self._readiness.queued()
        self._changed.set()


def udp_ends(change: Change) -> set[tuple[str, int]]:
    """The addresses and ports (address "" for a port of the node) of UDP services and pods that changed."""
    ends = set()
    for element in (*change.removed, *change.added):
        parts = element.key.split(" . ")
        if element.map in ("endpoints-udp", "host-ports-udp"):
            ends.add((parts[0], int(parts[2])))
        elif element.map in ("node-port-endpoints-udp", "host-ports-anywhere-udp"):
            ends.add(("", int(parts[1])))
    return ends


def is_stale(flow: Flow, ends: frozenset[tuple[str, int]], ledger: Ledger, own: str) -> bool:
    """Whether the flow belongs to one of `ends` and is answered by none of its endpoints. `own`: the node's address."""
    backend = f"{flow.backend} . {flow.backend_port}"
    if (flow.address, flow.port) in ends:
        return backend not in ledger.answering(flow.address, "udp", flow.port)
    # A flow that was never translated is to somebody else's port of the same number, unless it came to this node
    # before there was anybody to answer.
    if ("", flow.port) not in ends or (flow.backend == flow.address and flow.address != own):
        return False
    if ledger.answering(flow.address, "udp", flow.port):
        return False  # to a Service's address, whose port has the number of a node port
    answering = ledger.answering("", "udp", flow.port)
    return backend not in answering and bool(answering or flow.backend != flow.address)


def node_address(node: Node | None) -> str:
    """The node's internal IPv4 address, or ""."""
    addresses = node.status.addresses if node is not None else []
    return next((decimal(a.address) for a in addresses if a.type == "InternalIP" and is_ipv4(a.address)), "")


def place(node: Node | None) -> Place:
    """Where a proxy on the node is."""
    if node is None:
        return Place("")
    return Place(node.metadata.name, node.metadata.labels.get(ZONE, ""), node_address(node))


def _service_of(each: Any) -> list[Key]:
    name = each.metadata.labels.get(SERVICE_NAME) if each is not None else None
    return [Key(each.metadata.namespace, name)] if name else []
