"""Cluster IPs and node ports for services.

The choice is made against what the cache shows as taken; that it holds is decided by the transaction that stores the
service together with its claims (`claims`).
"""

import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from api import errors, kinds, meta
from api.addresses import decimal
from api.paths import Fault, Path, invalid, refusal
from api.types import IPAddress, Service, ServiceCIDR, ServicePort
from apiserver.admission import families
from apiserver.admission.claims import addresses, node_ports
from apiserver.admission.holdings import Holdings, Taken
from apiserver.admission.ranges import Addresses, Ports, Unavailable
from apiserver.admission.reading import Reader
from apiserver.requests import Request
from apiserver.rules.validation.services import cluster_ips

SERVICES, ADDRESSES, RANGES = kinds.of(Service), kinds.of(IPAddress), kinds.of(ServiceCIDR)
SPEC = Path("spec")


class ServiceAddresses:
    """Allocates as upstream does: https://kubernetes.io/docs/concepts/services-networking/cluster-ip-allocation/"""

    def __init__(
        self, reader: Reader, cluster_ip_ranges: str, node_port_range: str, rng: random.Random | None = None
    ) -> None:
        self.reader = reader
        ranges = [Addresses(cidr.strip()) for cidr in cluster_ip_ranges.split(",")]
        self.ranges = {r.family: r for r in ranges}
        if len(self.ranges) != len(ranges):
            raise ValueError(f"the ranges {cluster_ip_ranges} must be of different IP families")
        self.ports = Ports(node_port_range)
        self.held_addresses = Holdings(reader, SERVICES, addresses)
        self.named_addresses = Holdings(reader, ADDRESSES, lambda it: [it.metadata.name])
        self.held_ports = Holdings(reader, SERVICES, node_ports)
        self.rng = rng or random.Random()

    async def admit(self, request: Request, obj: Any, old: Any) -> None:
        if request.kind is not SERVICES or request.subresource or obj is None:
            return
        service: Service = obj
        if old is not None:
            families.drop_unused(service, old)
            families.keep_allocated(service, old)
        families.forget_insiders(service)
        families.synchronise(service, old)
        _refuse(service, list(cluster_ips(service)))
        _refuse(service, families.settle(service, old, list(self.ranges)))
        self._allocate_addresses(service, old)
        self._allocate_ports(service, old)

    def _allocate_addresses(self, service: Service, old: Service | None) -> None:
        spec = service.spec
        if spec.type == "ExternalName" or spec.clusterIPs[:1] == ["None"]:
            return
        held = set(addresses(old)) if old is not None else set()
        if held and spec.clusterIPs and decimal(spec.clusterIPs[0]) not in held:
            return  # validation says that it may not change
        taken: Taken[str] | None = None
        given = []
        for i, family in enumerate(spec.ipFamilies):
            wanted = spec.clusterIPs[i] if i < len(spec.clusterIPs) else ""
            if wanted and decimal(wanted) in held:
                given.append(wanted)
                continue
            if taken is None:
                taken = Taken(self.held_addresses.now(), self.named_addresses.now(), own=held)
            given.append(self._address(service, family, wanted, taken))
            taken.add(decimal(given[-1]))
        spec.clusterIPs = given
        spec.clusterIP = given[0]

    def _sources(self, family: str) -> Iterator[Addresses]:
        """The ranges to allocate from: the server's own, then those that were added to the cluster."""
        own, ranges = self.ranges[family], [*self.reader.list_cached(RANGES)]
        if not _leaves(own, ranges):
            yield own
        for it in ranges:
            if it.metadata.deletionTimestamp or not meta.is_true(it, "Ready"):
                continue
            for network in map(_network, it.spec.cidrs):
                if f"IPv{network.version}" == family and network != own.network:
                    yield Addresses(str(network))

    def _address(self, service: Service, family: str, wanted: str, taken: Taken[str]) -> str:
        if not wanted:
            for source in self._sources(family):
                with suppress(Unavailable):
                    return source.choose(taken, self.rng)
            message = "Internal error occurred: failed to allocate a serviceIP: range is full"
            raise errors.InternalError(message)
        # Of its own range a server gives what is asked for even while the range leaves: the API's Service must come
        # back at its address, whoever deletes it.
        holding = (s for s in self._sources(family) if ip_address(decimal(wanted)) in s.network)
        source = next(holding, self.ranges[family])
        try:
            source.check(wanted, taken)
        except Unavailable as e:
            why = f"failed to allocate IP {wanted}: {e}"
            _refuse(service, [invalid(SPEC.child("clusterIPs"), service.spec.clusterIPs, why)])
        return wanted

    def _allocate_ports(self, service: Service, old: Service | None) -> None:
        spec = service.spec
        if spec.type not in ("NodePort", "LoadBalancer"):
            return
        held = node_ports(old) if old is not None else set()
        wanting = [p for p in spec.ports if p.nodePort not in held]
        health = families.needs_health_check(service) and (spec.healthCheckNodePort or 0) not in held
        if not wanting and not health:
            return
        taken = Taken(self.held_ports.now(), own=held)
        self._requested_ports(service, held, taken)
        if families.gets_node_ports(service):
            # One port number for several protocols gets one node port.
            by_port = {p.port: p.nodePort for p in spec.ports if p.nodePort}
            for port in spec.ports:
                if not port.nodePort:
                    port.nodePort = self._node_port(service, port, by_port, taken.also(held))
                    by_port[port.port] = port.nodePort
        if health:
            spec.healthCheckNodePort = self._health_port(spec.healthCheckNodePort, taken, held | node_ports(service))

    def _requested_ports(self, service: Service, held: set[int], taken: Taken[int]) -> None:
        mine: set[int] = set()
        for i, port in enumerate(service.spec.ports):
            if not port.nodePort or port.nodePort in held or port.nodePort in mine:
                continue
            try:
                self.ports.check(port.nodePort, taken)
            except Unavailable as e:
                at = SPEC.child("ports").index(i).child("nodePort")
                _refuse(service, [invalid(at, port.nodePort, str(e))])
            mine.add(port.nodePort)
        for given in mine:
            taken.add(given)

    def _node_port(self, service: Service, port: ServicePort, by_port: dict[int, int], taken: Taken[int]) -> int:
        shared = by_port.get(port.port)
        if shared and not any(p.nodePort == shared and p.protocol == port.protocol for p in service.spec.ports):
            return shared
        return self._any_port("failed to allocate a nodePort", taken.also(node_ports(service)))

    def _health_port(self, wanted: int | None, taken: Taken[int], own: set[int]) -> int:
        if not wanted:
            return self._any_port("failed to allocate a HealthCheck NodePort 0", taken.also(own))
        try:
            self.ports.check(wanted, taken)
        except Unavailable as e:
            message = f"failed to allocate requested HealthCheck NodePort {wanted}: {e}"
            raise errors.InternalError(f"Internal error occurred: {message}") from e
        return wanted

    def _any_port(self, failure: str, taken: Taken[int]) -> int:
        try:
            return self.ports.choose(taken, self.rng)
        except Unavailable as e:
            raise errors.InternalError(f"Internal error occurred: {failure}: {e}") from e


def _leaves(own: Addresses, ranges: Sequence[ServiceCIDR]) -> bool:
    """Whether somebody has deleted the range, and services shall move to others until it can go."""
    having = [it for it in ranges if own.network in map(_network, it.spec.cidrs)]
    return bool(having) and all(it.metadata.deletionTimestamp for it in having)


def _network(cidr: str) -> IPv4Network | IPv6Network:
    return ip_network(cidr, strict=False)  # older servers took any address of a network for it


def _refuse(service: Service, faults: list[Fault]) -> None:
    if faults:
        raise refusal("", "Service", service.metadata.name, faults)
