"""One balanced port → the elements of the table's maps. Pure.

No service has a chain or an anonymous set of its own: both make the kernel quadratic (88-260 ms a change at 10,000
services). A service is elements of named maps, and shares its chain with every service of as many endpoints.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, collapse_addresses
from typing import NamedTuple

from kube_proxy.services import Backend, Balanced, within

MASQUERADE = 0x4000  # upstream's bit of the packet mark
TABLE = "kube-proxy"
PROTOCOLS = ("tcp", "udp", "sctp")


class Element(NamedTuple):
    """Names one element: of which map or set, under which key."""

    map: str
    key: str


Elements = dict[Element, str]  # the value: a verdict, an endpoint, or "" in a set

REFUSE, DROP = "goto refuse", "drop"


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain shared by all ports that draw from as many endpoints in the same manner."""

    of: str  # "ip": keyed by address, protocol and port; "port": a node port, keyed by protocol and port
    count: int
    first: int = 0
    masquerade: bool = False
    pin: bool = False

    @property
    def name(self) -> str:
        parts = [self.of, "masq" if self.masquerade else "", "pin" if self.pin else "", str(self.count)]
        parts.append(f"from-{self.first}" if self.first else "")
        return "-".join(p for p in parts if p)

    @property
    def rules(self) -> list[str]:
        key = "ip daddr . meta l4proto . th dport" if self.of == "ip" else "meta l4proto . th dport"
        endpoints = "endpoints" if self.of == "ip" else "node-port-endpoints"
        draw = f"numgen random mod {self.count}" + (f" offset {self.first}" if self.first else "")
        return [
            *([f"meta mark set meta mark | {MASQUERADE:#x}"] if self.masquerade else []),
            # A client without a pin misses the map, which ends this rule and leads to the next.
            *(["dnat ip to ip daddr . meta l4proto . th dport . ip saddr map @affinity"] if self.pin else []),
            *(f"dnat ip to {key} . {draw} map @{endpoints}-{protocol}" for protocol in PROTOCOLS),
        ]


def chain_rules(name: str) -> list[str]:
    """The rules of a shared chain, from its name alone."""
    if name.startswith("remember-"):
        # Only here, after the draw, both ends are known: the address that was asked, and the endpoint that answers.
        key = "ct original ip daddr . meta l4proto . ct original proto-dst . ip saddr"
        seconds = name.removeprefix("remember-")
        return [
            f"meta l4proto {p} update @affinity {{ {key} timeout {seconds} : ip daddr . {p} dport }}" for p in PROTOCOLS
        ]
    of, *rest = name.split("-")
    first = int(rest.pop()) if "from" in rest else 0
    rest = [r for r in rest if r != "from"]
    return Chain(of, int(rest[-1]), first, masquerade="masq" in rest, pin="pin" in rest).rules


def chain_of(value: str) -> str:
    """The shared chain that an element's value leads to, or "" if it leads to none."""
    return value.removeprefix("goto ") if value.startswith("goto ") and value != REFUSE else ""


def ranges(networks: Iterable[str]) -> Elements:
    """Where addresses that no service has are refused; overlaps, which a set of ranges refuses, are joined."""
    return {Element("service-ranges", str(n)): "" for n in collapse_addresses(map(IPv4Network, networks))}


def elements(port: Balanced) -> Elements:
    """Everything that the table must hold for this port."""
    found: Elements = {}
    inside = port.here if port.internal_local else port.everywhere
    for address in port.cluster_ips:
        # The range refuses what no map serves, so a cluster address without endpoints needs no element …
        if inside:
            found |= _served(port, address, inside)
            found[Element("ips", _key(port, address))] = _goto(port, address, len(inside))
        elif port.internal_local and port.everywhere:
            # … unless another node would answer: then upstream drops, so that clients retry.
            found[Element("unserved-ips", _key(port, address))] = DROP
    for address in port.external_ips:
        found |= _external(port, address)
    if port.node_port:
        found |= _external(port, "")
    for address in port.limited_ips:
        found[Element("limited", _key(port, address))] = ""
        # A process on a node that holds the address comes from the address itself. The set refuses overlaps.
        own = port.own_source and not any(within(address, source) for source in port.sources)
        for source in (*port.sources, *([address] if own else [])):
            found[Element("permitted", f"{_key(port, address)} . {source}")] = ""
    for address in port.hairpins:
        found[Element("hairpins", f"{address} . {address}")] = ""
    return found


def _external(port: Balanced, address: str) -> Elements:
    """What an address of the outside, or a node port (""), needs."""
    key = _key(port, address)
    names = "ips" if address else "node-ports"
    if not port.external_local:
        if not port.everywhere:
            return {Element(f"unserved-{names}", key): REFUSE}
        found = _served(port, address, port.everywhere)
        found[Element(names, key)] = _goto(port, address, len(port.everywhere), masquerade=True)
        return found

    # Policy Local binds the outside only: clients of the cluster reach all endpoints. Both draw from one list, in
    # which this node's endpoints come first.
    listed, first = _local_first(port)
    found = _served(port, address, listed) if listed else {}
    if port.here:
        found[Element(names, key)] = _goto(port, address, len(port.here))
    else:
        found[Element(f"unserved-{names}", key)] = DROP if port.everywhere else REFUSE
    if port.everywhere:
        found[Element(f"inside-{names}", key)] = _goto(port, address, len(port.everywhere), first=first)
    return found


def _local_first(port: Balanced) -> tuple[list[Backend], int]:
    """The endpoints in the order of their indices, and where `everywhere` begins."""
    here = set(port.here)
    others = [b for b in port.everywhere if b not in here]
    shared = len(others) < len(port.everywhere)
    return [*port.here, *others], 0 if shared else len(port.here)


def _served(port: Balanced, address: str, backends: tuple[Backend, ...] | list[Backend]) -> Elements:
    key = _key(port, address)
    name = f"{'endpoints' if address else 'node-port-endpoints'}-{port.protocol}"
    found = {Element(name, f"{key} . {i}"): f"{b.address} . {b.port}" for i, b in enumerate(backends)}
    if port.affinity_seconds:
        remembered = "remembered-ips" if address else "remembered-node-ports"
        found[Element(remembered, key)] = f"goto remember-{port.affinity_seconds}s"
    return found


def _goto(port: Balanced, address: str, count: int, *, first: int = 0, masquerade: bool = False) -> str:
    chain = Chain("ip" if address else "port", count, first, masquerade=masquerade, pin=port.affinity_seconds > 0)
    return f"goto {chain.name}"


def _key(port: Balanced, address: str) -> str:
    if address:
        return f"{address} . {port.protocol} . {port.port}"
    return f"{port.protocol} . {port.node_port}"
