"""Which endpoints stand behind which port of a service, as this node sees it. Pure.

https://kubernetes.io/docs/reference/networking/virtual-ips/ ; terminating endpoints as in KEP-1669, hints of topology
as in KEP-3015.
"""

import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, collapse_addresses
from typing import NamedTuple

from api.addresses import decimal
from api.types import Endpoint, EndpointConditions, EndpointSlice, Service

# A service, or a slice, with one of these labels, whatever its value, is none of this proxy's: it is another one's, or
# nobody's.
PASSED_OVER = ("service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless")
SERVICE_NAME = "kubernetes.io/service-name"
ZONE = "topology.kubernetes.io/zone"
DEFAULT_AFFINITY_SECONDS = 10800


class Backend(NamedTuple):
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Balanced:
    """One port of one service. `everywhere` and `here` are what may be chosen, in the order of their addresses.

    `everywhere` is for policy Cluster; `here` (endpoints on this node) for policy Local. `here` need not be a part of
    `everywhere`: while this node's last endpoints terminate, policy Local still goes to them, and hints of topology
    are only for policy Cluster.
    """

    protocol: str
    port: int
    cluster_ips: tuple[str, ...] = ()
    external_ips: tuple[str, ...] = ()
    node_port: int = 0
    everywhere: tuple[Backend, ...] = ()
    here: tuple[Backend, ...] = ()
    hairpins: tuple[str, ...] = ()
    affinity_seconds: int = 0  # 0: none
    limited_ips: tuple[str, ...] = ()  # those of the external ones that only `sources` may use
    sources: tuple[str, ...] = ()
    own_source: bool = False  # whether this node is one of them
    internal_local: bool = False
    external_local: bool = False

    @property
    def without_local(self) -> list[str]:
        """The policies that are Local while only other nodes have endpoints."""
        policies = {"internal": self.internal_local, "external": self.external_local}
        return [name for name, local in policies.items() if local and self.everywhere and not self.here]


class Place(NamedTuple):
    """Where this proxy is; "" for what its node does not tell."""

    node: str
    zone: str = ""
    address: str = ""


def balanced(service: Service, slices: Iterable[EndpointSlice], here: Place) -> list[Balanced]:
    """The ports of `service` that this proxy serves: none of a headless, external or foreign one."""
    spec = service.spec
    addresses = tuple(decimal(a) for a in spec.clusterIPs or [spec.clusterIP] if is_ipv4(a))
    if spec.type == "ExternalName" or not addresses or is_passed_over(service):
        return []
    slices = [s for s in slices if s.addressType == "IPv4" and not is_passed_over(s)]
    ingress = [decimal(i.ip) for i in service.status.loadBalancer.ingress if i.ipMode != "Proxy"]
    external = dict.fromkeys(a for a in [*map(decimal, spec.externalIPs), *ingress] if is_ipv4(a))
    sources = _sources(spec.loadBalancerSourceRanges)
    affinity = 0
    if spec.sessionAffinity == "ClientIP":
        config = spec.sessionAffinityConfig
        affinity = (config and config.clientIP and config.clientIP.timeoutSeconds) or DEFAULT_AFFINITY_SECONDS
    ports = []
    for port in spec.ports:
        protocol = port.protocol or "TCP"
        candidates = _candidates(slices, port.name, protocol, here.node)
        ports.append(
            Balanced(
                protocol=protocol.lower(),
                port=port.port,
                cluster_ips=addresses,
                external_ips=tuple(external),
                node_port=port.nodePort or 0,
                everywhere=_usable(_near(candidates, here)),
                here=_usable([c for c in candidates if c.local]),
                hairpins=tuple(sorted({c.backend.address for c in candidates if c.local and c.usable})),
                affinity_seconds=affinity,
                limited_ips=tuple(a for a in external if a in ingress) if sources is not None else (),
                sources=sources or (),
                own_source=any(within(here.address, source) for source in sources or ()),
                internal_local=spec.internalTrafficPolicy == "Local",
                external_local=spec.externalTrafficPolicy == "Local",
            )
        )
    return ports


def is_passed_over(it: Service | EndpointSlice) -> bool:
    return any(label in it.metadata.labels for label in PASSED_OVER)


def local_endpoints(slices: Iterable[EndpointSlice], node: str) -> set[str]:
    """The addresses of the ready endpoints on `node`."""
    found = (_candidate(e, 0, node) for e in _endpoints(slices))
    return {c.backend.address for c in found if c.local and c.ready}


def nodes_with_endpoints(slices: Iterable[EndpointSlice], nodes: Iterable[str]) -> list[str]:
    """Those of `nodes` with ready endpoints; without any, those whose endpoints still serve while they terminate."""
    endpoints = [(e.nodeName, _candidate(e, 0, "")) for e in _endpoints(slices)]
    ready = {node for node, c in endpoints if c.ready}
    leaving = {node for node, c in endpoints if c.last_resort}
    nodes = list(nodes)
    return [node for node in nodes if node in ready] or [node for node in nodes if node in leaving]


def _endpoints(slices: Iterable[EndpointSlice]) -> Iterator[Endpoint]:
    for each in slices:
        if each.addressType == "IPv4" and not is_passed_over(each):
            yield from (e for e in each.endpoints if e.addresses)


def _sources(ranges: Iterable[str]) -> tuple[str, ...] | None:
    """What may use a load balancer, without overlaps; None: everybody."""
    given = [text.strip() for text in ranges]
    networks = [IPv4Network(text, strict=False) for text in given if ":" not in text]
    if not given or any(n.prefixlen == 0 for n in networks):
        return None
    return tuple(str(n) if n.prefixlen < 32 else str(n[0]) for n in collapse_addresses(networks))


_NOBODY: frozenset[str | None] = frozenset()


def within(address: str, network: str) -> bool:
    return bool(address) and IPv4Address(address) in IPv4Network(network)


class _Candidate(NamedTuple):
    backend: Backend
    local: bool
    ready: bool
    last_resort: bool  # terminating, and still serving
    nodes: frozenset[str | None] = _NOBODY  # for whose clients it is meant, by its hints
    zones: frozenset[str | None] = _NOBODY

    @property
    def usable(self) -> bool:
        return self.ready or self.last_resort


def _candidates(slices: Iterable[EndpointSlice], name: str, protocol: str, node: str) -> list[_Candidate]:
    found = []
    for each in slices:
        numbers = [
            p.port for p in each.ports if (p.name or "") == name and (p.protocol or "TCP") == protocol and p.port
        ]
        for number in numbers:
            found += [_candidate(e, number, node) for e in each.endpoints if e.addresses]
    return found


def _candidate(endpoint: Endpoint, port: int, node: str) -> _Candidate:
    # An unknown condition counts as ready and serving: the API says so, and manually written slices rely on it.
    conditions = endpoint.conditions or EndpointConditions()
    ready = conditions.ready is not False
    serving = ready if conditions.serving is None else conditions.serving
    return _Candidate(
        Backend(decimal(endpoint.addresses[0]), port),
        local=endpoint.nodeName == node,
        ready=ready,
        last_resort=serving and conditions.terminating is True,
        nodes=_NOBODY if endpoint.hints is None else frozenset(n.name for n in endpoint.hints.forNodes),
        zones=_NOBODY if endpoint.hints is None else frozenset(z.name for z in endpoint.hints.forZones),
    )


def _near(candidates: list[_Candidate], here: Place) -> list[_Candidate]:
    """Those that are meant for this node, or else for its zone; all of them if one that is ready does not say.

    Hints that leave this node, or this zone, without any endpoint are not followed either.
    """
    ready = [c for c in candidates if c.ready]
    for hints, own in (([c.nodes for c in ready], here.node), ([c.zones for c in ready], here.zone)):
        if all(hints) and any(own in hint for hint in hints):
            return [c for c, hint in zip(ready, hints, strict=True) if own in hint]
    return candidates


def _usable(candidates: list[_Candidate]) -> tuple[Backend, ...]:
    """The ready ones; without any, those that still serve while they terminate."""
    ready = {c.backend for c in candidates if c.ready}
    return tuple(sorted(ready or {c.backend for c in candidates if c.last_resort}))


def is_ipv4(address: str) -> bool:
    """Whether it is an address, perhaps with leading zeros, and nothing but that.

    The kernel's tables refuse ::ffff:192.0.2.1 or 10.0.0.x, and with it all that is to be changed at the same time.
    """
    try:
        socket.inet_pton(socket.AF_INET, decimal(address))
    except (OSError, ValueError):
        return False
    return True
