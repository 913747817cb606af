"""Which records a Service, a Namespace and the zone itself have. Pure.

https://github.com/kubernetes/dns/blob/master/docs/specification.md (1.1.0); where it leaves a choice, CoreDNS's.
Names are absolute, in lower case, with the last dot.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_address
from typing import NamedTuple

from api.addresses import decimal
from api.types import Endpoint, EndpointSlice, Service

SCHEMA_VERSION = "1.1.0"
TTL = 5
LONGEST_LABEL = 63
TOLERATES_UNREADY = "service.alpha.kubernetes.io/tolerate-unready-endpoints"
_DASHED = re.compile(r"[0-9]+-[0-9]+-[0-9]+-[0-9]+")


class Record(NamedTuple):
    type: str
    data: str
    """As in a zone file."""


Records = Mapping[str, tuple[Record, ...]]
"""By name. A name without records exists all the same."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What is ours to answer for: names below `domain`, and the addresses of `ranges`."""

    domain: str = "cluster.local."
    ranges: tuple[IPv4Network, ...] = ()
    address: str = "10.96.0.10"
    """Where the cluster asks, which the zone's NS record leads to."""

    @property
    def name_server(self) -> str:
        return f"ns.dns.{self.domain}"

    def zones(self) -> tuple[str, ...]:
        """Reverse zones end at whole numbers of an address, so that a range may need several."""
        return self.domain, *(_reverse_zone(part) for each in self.ranges for part in _at_whole_numbers(each))


def of_zone(layout: Layout) -> Records:
    """What is there without any object; the SOA record is made where it is needed, for its serial number."""
    return {
        layout.name_server: (_address(layout.address),),
        f"dns-version.{layout.domain}": (Record("TXT", f'"{SCHEMA_VERSION}"'),),
        f"svc.{layout.domain}": (),
        f"pod.{layout.domain}": (),
        **{zone: (Record("NS", layout.name_server),) for zone in layout.zones()},
    }


def of_namespace(name: str, domain: str) -> Records:
    return {f"{name}.svc.{domain}": (), f"{name}.pod.{domain}": ()}


def of_pod_name(label: str) -> Record | None:
    """`10-244-0-7` is a pod of that address: nobody asks whether there is one (upstream's `pods insecure`)."""
    if "%" in label:
        return None  # Python's addresses may have a zone, those of DNS may not
    try:
        text = label.replace("-", ".") if _DASHED.fullmatch(label) else label.replace("-", ":")
        return _address(str(ip_address(text)))
    except ValueError:
        return None


def of_service(service: Service, slices: Iterable[EndpointSlice], domain: str) -> Records:
    """`slices` are all of this service. A headless service without ready endpoints has no name at all."""
    metadata, spec = service.metadata, service.spec
    own = f"{metadata.name}.{metadata.namespace}.svc.{domain}".lower()
    if spec.type == "ExternalName":
        return _external(own, spec.externalName or "")
    made = _Making(own)
    everyone = spec.publishNotReadyAddresses or metadata.annotations.get(TOLERATES_UNREADY) == "true"
    endpoints = list(_endpoints(slices, everyone=bool(everyone)))
    for each in endpoints:
        made.host(each.host, each.address)
    if spec.clusterIP == "None":
        for each in endpoints:
            made.add(own, _address(each.address))
            for name, protocol, number in each.ports:
                made.port(name, protocol, number, f"{each.host}.{own}", len(endpoints))
        return made.records()
    for address in filter(None, spec.clusterIPs or [spec.clusterIP or ""]):
        made.add(own, _address(address))
        made.add(reverse(address), Record("PTR", own))
    for port in spec.ports:
        made.port(port.name or "", port.protocol or "TCP", port.port, own, 1)
    return made.records()


def reverse(address: str) -> str:
    if ":" in address:
        return f"{ip_address(address).reverse_pointer}."
    return f"{'.'.join(reversed(decimal(address).split('.')))}.in-addr.arpa."


class _Making:
    """A service's records while they are collected, each once."""

    def __init__(self, own: str) -> None:
        self._own = own
        self._found: dict[str, dict[Record, None]] = {}

    def add(self, name: str, record: Record) -> None:
        self._found.setdefault(name, {})[record] = None

    def host(self, host: str, address: str) -> None:
        self.add(f"{host}.{self._own}", _address(address))
        self.add(reverse(address), Record("PTR", f"{host}.{self._own}"))

    def port(self, name: str, protocol: str, number: int, target: str, among: int) -> None:
        """SRV under the port's own name, if it has one, and under the service's, where upstream lists all ports."""
        record = Record("SRV", f"0 {max(100 // among, 1)} {number} {target}")
        self.add(self._own, record)
        if name:
            self.add(f"_{name}._{protocol}.{self._own}".lower(), record)

    def records(self) -> Records:
        return {name: tuple(records) for name, records in self._found.items()}


class _Reached(NamedTuple):
    """A ready endpoint of a service: the label under which it is found, its address and its ports."""

    host: str
    address: str
    ports: tuple[tuple[str, str, int], ...]


def _endpoints(slices: Iterable[EndpointSlice], *, everyone: bool) -> Iterator[_Reached]:
    for each in sorted(slices, key=lambda s: s.metadata.name):
        if each.addressType not in ("IPv4", "IPv6"):
            continue
        ports = tuple((p.name or "", p.protocol or "TCP", p.port) for p in each.ports if p.port)
        for endpoint in each.endpoints:
            if everyone or _is_ready(endpoint):
                for address in endpoint.addresses:
                    yield _Reached(_host(endpoint, address), address, ports)


def _is_ready(endpoint: Endpoint) -> bool:
    # The API's own rule: an unknown condition counts as ready.
    return endpoint.conditions is None or endpoint.conditions.ready is not False


def _host(endpoint: Endpoint, address: str) -> str:
    """CoreDNS's choice for endpoints without a host name: the address with dashes."""
    return (endpoint.hostname or address.replace(".", "-").replace(":", "-")).lower()


def _external(own: str, target: str) -> Records:
    try:
        ip_address(target)
    except ValueError:
        # The API knows no limit of a label, DNS does.
        fits = target and all(len(label) <= LONGEST_LABEL for label in target.split("."))
        return {own: (Record("CNAME", f"{target.rstrip('.').lower()}."),)} if fits else {}
    return {}  # an address is no name, whatever the field says


def _address(address: str) -> Record:
    # The API has seen to it that IPv4 is written as it is answered; to parse it would be half of all the work here.
    return Record("AAAA", str(ip_address(address))) if ":" in address else Record("A", decimal(address))


def _at_whole_numbers(network: IPv4Network) -> Iterator[IPv4Network]:
    wanted = max(8, -(-network.prefixlen // 8) * 8)
    return network.subnets(new_prefix=wanted)


def _reverse_zone(network: IPv4Network) -> str:
    numbers = str(network.network_address).split(".")[: network.prefixlen // 8]
    return f"{'.'.join(reversed(numbers))}.in-addr.arpa."
