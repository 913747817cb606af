"""Endpoints and EndpointSlices: where the traffic of a service goes."""

from api import names
from api.paths import Path, duplicate, invalid, required, too_many
from api.types import DiscoveryV1EndpointPort, Endpoint, EndpointAddress, EndpointPort, Endpoints, EndpointSlice
from apiserver.rules.validation.metadata import labels
from apiserver.rules.validation.values import (
    PROTOCOLS,
    Faults,
    formed,
    immutable,
    ip,
    one_of,
    ordinary_ip,
    parse_ip,
    port_number,
)  # fmt: skip

ADDRESS_TYPES = {"IPv4", "IPv6", "FQDN"}
MOST_ENDPOINTS = 1000
MOST_ADDRESSES = 100
MOST_PORTS = 20000
MOST_ZONES = 8


def endpoints(it: Endpoints) -> Faults:
    for i, subset in enumerate(it.subsets):
        at = Path("subsets").index(i)
        if not subset.addresses and not subset.notReadyAddresses:
            yield required(at, "must specify `addresses` or `notReadyAddresses`")
        for name in ("addresses", "notReadyAddresses"):
            for j, address in enumerate(getattr(subset, name)):
                yield from _address(at.child(name).index(j), address)
        for j, port in enumerate(subset.ports):
            yield from _port(at.child("ports").index(j), port, name_required=len(subset.ports) > 1)


def _address(path: Path, it: EndpointAddress) -> Faults:
    yield from ip(path.child("ip"), it.ip)
    if it.hostname:
        yield from formed(path.child("hostname"), it.hostname, names.dns_label_faults)
    if it.nodeName:
        yield from formed(path.child("nodeName"), it.nodeName, names.dns_subdomain_faults)
    yield from ordinary_ip(path.child("ip"), it.ip)


def _port(path: Path, it: EndpointPort, *, name_required: bool) -> Faults:
    if it.name:
        yield from formed(path.child("name"), it.name, names.dns_label_faults)
    elif name_required:
        yield required(path.child("name"))
    yield from port_number(path.child("port"), it.port)
    yield from one_of(path.child("protocol"), it.protocol, PROTOCOLS)
    if it.appProtocol:
        yield from formed(path.child("appProtocol"), it.appProtocol, names.qualified_name_faults)


def endpoint_slice(it: EndpointSlice) -> Faults:
    yield from one_of(Path("addressType"), it.addressType, ADDRESS_TYPES)
    at = Path("endpoints")
    if len(it.endpoints) > MOST_ENDPOINTS:
        yield too_many(at, len(it.endpoints), MOST_ENDPOINTS)
    else:
        for i, endpoint in enumerate(it.endpoints):
            yield from _endpoint(at.index(i), endpoint, it.addressType)
    at = Path("ports")
    if len(it.ports) > MOST_PORTS:
        yield too_many(at, len(it.ports), MOST_PORTS)
        return
    seen: set[str] = set()
    for i, port in enumerate(it.ports):
        yield from _slice_port(at.index(i), port, seen)


def endpoint_slice_updated(new: EndpointSlice, old: EndpointSlice) -> Faults:
    yield from endpoint_slice(new)
    yield from immutable(Path("addressType"), new.addressType, old.addressType)


def _endpoint(path: Path, it: Endpoint, address_type: str) -> Faults:
    at = path.child("addresses")
    if not it.addresses:
        yield required(at, "must contain at least 1 address")
    elif len(it.addresses) > MOST_ADDRESSES:
        yield too_many(at, len(it.addresses), MOST_ADDRESSES)
    for i, address in enumerate(it.addresses):
        yield from _slice_address(at.index(i), address, address_type)
    if it.nodeName:
        yield from formed(path.child("nodeName"), it.nodeName, names.dns_subdomain_faults)
    if it.deprecatedTopology:
        yield from labels(path.child("deprecatedTopology"), it.deprecatedTopology)
    if it.hostname:
        yield from formed(path.child("hostname"), it.hostname, names.dns_label_faults)
    if it.hints is not None and len(it.hints.forZones) > MOST_ZONES:
        yield too_many(path.child("hints", "forZones"), len(it.hints.forZones), MOST_ZONES)


def _slice_address(path: Path, address: str, address_type: str) -> Faults:
    if address_type in ("IPv4", "IPv6"):
        parsed = parse_ip(address)
        if parsed is None or f"IPv{parsed.version}" != address_type:
            yield invalid(path, address, f"must be a valid {address_type} address")
        yield from ordinary_ip(path, address)
    elif address_type == "FQDN":
        faults = names.dns_subdomain_faults(address)
        for why in faults:
            yield invalid(path, address, why)
        if not faults and address.count(".") < 1:
            yield invalid(path, address, "should be a domain with at least two segments separated by dots")


def _slice_port(path: Path, it: DiscoveryV1EndpointPort, seen: set[str]) -> Faults:
    name = it.name or ""
    if name:
        yield from formed(path.child("name"), name, names.dns_label_faults)
    if name in seen:
        yield duplicate(path.child("name"), name)
    seen.add(name)
    yield from one_of(path.child("protocol"), it.protocol, PROTOCOLS)
    if it.appProtocol:
        yield from formed(path.child("appProtocol"), it.appProtocol, names.qualified_name_faults)
