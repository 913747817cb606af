"""The text of transactions on the table: all of it, or a change. Pure.

https://wiki.nftables.org/wiki-nftables/index.php/Main_Page ; one buffer is one transaction of the kernel.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from kube_proxy.ledger import Change
from kube_proxy.rules import MASQUERADE, PROTOCOLS, TABLE, Element, Elements, chain_rules

FIRST_PRIORITY = -300  # of the first hook, before its turn
_ADDRESSED = "ipv4_addr . inet_proto . inet_service"
_NUMBERED = "inet_proto . inet_service"
# Only for its type: nft has no name for a plain 32-bit integer, so these maps are defined by expressions.
_INDEX = "numgen random mod 65536"

# Every map and set; those that change hold nothing but elements of the ledger.
MAPS = {
    "ips": f"type {_ADDRESSED} : verdict",
    "node-ports": f"type {_NUMBERED} : verdict",
    "inside-ips": f"type {_ADDRESSED} : verdict",
    "inside-node-ports": f"type {_NUMBERED} : verdict",
    "unserved-ips": f"type {_ADDRESSED} : verdict",
    "unserved-node-ports": f"type {_NUMBERED} : verdict",
    "remembered-ips": f"type {_ADDRESSED} : verdict",
    "remembered-node-ports": f"type {_NUMBERED} : verdict",
    # One for each protocol, because nft 1.0.6 cannot read a definition back in which `th dport` is the value
    # ("conflicting protocols specified: ip vs. th"), and with `tcp dport` a rule that uses the map matches TCP only.
    **{
        f"endpoints-{p}": f"typeof ip daddr . meta l4proto . th dport . {_INDEX} : ip daddr . {p} dport"
        for p in PROTOCOLS
    },
    **{
        f"node-port-endpoints-{p}": f"typeof meta l4proto . th dport . {_INDEX} : ip daddr . {p} dport"
        for p in PROTOCOLS
    },
    **{f"host-ports-{p}": f"typeof ip daddr . meta l4proto . th dport : ip daddr . {p} dport" for p in PROTOCOLS},
    **{f"host-ports-anywhere-{p}": f"typeof meta l4proto . th dport : ip daddr . {p} dport" for p in PROTOCOLS},
}
SETS = {
    "hairpins": "type ipv4_addr . ipv4_addr",
    "held": "type ipv4_addr",
    "service-ranges": "type ipv4_addr; flags interval",
    "limited": f"type {_ADDRESSED}",
    "permitted": f"type {_ADDRESSED} . ipv4_addr; flags interval",
}
# All but the rest of 127.0.0.0/8, where Docker's resolver and others have addresses of their own.
_OWN = "ip daddr != { 127.0.0.0, 127.0.0.2-127.255.255.255 }"
_MARK = f"meta mark set meta mark | {MASQUERADE:#x}"
_UNMARK = f"meta mark set meta mark & {~MASQUERADE & 0xFFFFFFFF:#x}"
AFFINITY = f"type {_ADDRESSED} . ipv4_addr : ipv4_addr . inet_service; flags dynamic, timeout; size 65536"


@dataclass(frozen=True, slots=True)
class Layout:
    """What the table's fixed part depends on."""

    service_range: str  # the first one; ServiceCIDRs may add to it
    cluster_range: str = ""  # where pods live; "" if unknown, and then nobody is known to be outside
    node_port_ranges: tuple[str, ...] = ()  # local addresses that serve node ports; none given: all
    masquerade_all: bool = False  # clients of cluster addresses are seen as the node, pods too


def fixed(layout: Layout, turn: int = 0) -> str:
    """The part that does not depend on services: maps, hooks and the chains that they lead to.

    Priorities are numbers because nft 1.0.6 does not know the name `dstnat` in an output hook. See mirrors.Mirror for
    `turn`.
    """

    def hook(kind: str, place: str, priority: int) -> str:
        return f"type {kind} hook {place} priority {priority + turn}"

    node = f"{_OWN} fib daddr type local"
    if layout.node_port_ranges:
        node = f"ip daddr {{ {', '.join(layout.node_port_ranges)} }} fib daddr type local"
    outside, pods, leaving = "", "", ""
    clusters = "ip daddr @service-ranges"
    if layout.cluster_range:
        outside = f"{clusters} ip saddr != {layout.cluster_range} {_MARK}"
        pods = f"ip saddr {layout.cluster_range} jump inside"
        # Whoever is no pod (the API server, cluster DNS, the world) has no route to pods: answers come by the node.
        leaving = f"ip saddr {layout.cluster_range} ip daddr != {layout.cluster_range} masquerade fully-random"
    if layout.masquerade_all:
        outside = f"{clusters} {_MARK}"
    addressed, numbered = "ip daddr . meta l4proto . th dport", "meta l4proto . th dport"
    original = "ct original ip daddr . meta l4proto . ct original proto-dst"
    local = "fib daddr type local jump host-ports"
    # Each needs its own rule: nft learns the width of proto-dst from a match on the protocol before it.
    remember = [
        f"ct status dnat meta l4proto {p} {key} vmap @remembered-{what}"
        for what, key in (("ips", original), ("node-ports", "meta l4proto . ct original proto-dst"))
        for p in PROTOCOLS
    ]
    # A packet that is not new and still has a service's address belongs to no connection: a reset for it (a late
    # duplicate) would kill a living one. https://github.com/kubernetes/kubernetes/issues/74839
    refused = [f"{addressed} vmap @unserved-ips", f"{clusters} goto unclaimed"]
    limits = f"ct state new {addressed} @limited {addressed} . ip saddr != @permitted drop"
    host_ports = [
        *(f"dnat ip to {addressed} map @host-ports-{p}" for p in PROTOCOLS),
        *(f"{_OWN} dnat ip to {numbered} map @host-ports-anywhere-{p}" for p in PROTOCOLS),
    ]
    chains: dict[str, list[str]] = {
        # Connections to 127.0.0.1 can be led to pods; nothing of the kind may come in from elsewhere.
        "strangers": [
            hook("filter", "prerouting", FIRST_PRIORITY),
            "iif != lo ip daddr 127.0.0.0/8 drop",
            "iif != lo ip saddr 127.0.0.0/8 drop",
        ],
        "sources": [hook("filter", "prerouting", -110), "iif != lo jump limits"],
        "own-sources": [hook("filter", "output", -110), "jump limits"],
        "limits": [limits],
        "host-ports": host_ports,
        "services": [outside, f"{addressed} vmap @ips", f"{node} {numbered} vmap @node-ports"],
        "inside": [f"{addressed} vmap @inside-ips", f"{node} {numbered} vmap @inside-node-ports"],
        "remember": remember,
        # ICMP rejects are rate-limited and would stall TCP clients for a second.
        "unclaimed": ["ct state new goto refuse", "drop"],
        "refuse": ["meta l4proto tcp reject with tcp reset", "reject with icmp port-unreachable"],
        "prerouting": [hook("nat", "prerouting", -100), local, pods, "jump services"],
        "output": [hook("nat", "output", -100), local, "jump inside", "jump services"],
        "postrouting": [
            hook("nat", "postrouting", 100),
            "jump remember",
            "ct status dnat ip saddr . ip daddr @hairpins masquerade fully-random",
            f"meta mark & {MASQUERADE:#x} == {MASQUERADE:#x} {_UNMARK} masquerade fully-random",
            "ct status dnat oif != lo ip saddr 127.0.0.0/8 masquerade fully-random",
            leaving,
        ],
        "input": [hook("nat", "input", 100), "jump remember"],
        "filter-forward": [hook("filter", "forward", 0), "ct state invalid drop", *refused],
        "filter-output": [hook("filter", "output", 0), *refused],
        "filter-input": [
            hook("filter", "input", 0),
            f"{node} ct state new {numbered} vmap @unserved-node-ports",
            # An address of load balancers that is here has no other ports, whatever the node listens on.
            "ct state new ip daddr @held meta l4proto { tcp, udp, sctp } goto refuse",
            *refused,
        ],
    }
    lines = [f"table ip {TABLE} {{"]
    lines += [f"map {name} {{ {kind}; }}" for name, kind in MAPS.items()]
    lines += [f"set {name} {{ {kind}; }}" for name, kind in SETS.items()]
    lines += [f"map affinity {{ {AFFINITY}; }}"]
    for name, rules in chains.items():
        lines += [f"chain {name} {{", *(r for r in rules if r), "}"]
    return "\n".join([*lines, "}", ""])


def whole(layout: Layout, chains: Iterable[str], elements: Elements, pins: Iterable[str] = (), turn: int = 0) -> str:
    """Put the table in the place of whatever table of its name there is. `pins` are elements of the affinity map."""
    lines = [f"table ip {TABLE}", f"delete table ip {TABLE}", fixed(layout, turn)]
    lines += [line for chain in chains for line in _new_chain(chain)]
    lines += additions(TABLE, elements)
    if pins := list(pins):
        lines.append(f"add element ip {TABLE} affinity {{ {', '.join(pins)} }}")
    return "\n".join([*lines, ""])


def part(change: Change) -> str:
    """Bring about a change. New chains come before the elements that lead to them, old ones go after."""
    lines = [line for chain in change.new_chains for line in _new_chain(chain)]
    lines += [*removals(TABLE, change.removed), *additions(TABLE, change.added)]
    lines += [f"delete chain ip {TABLE} {chain}" for chain in change.unused_chains]
    return "\n".join([*lines, ""])


def forget(pins: Iterable[tuple[str, str]]) -> str:
    """Remove entries (key, value) of the affinity map, whether or not they have expired meanwhile.

    Deleting an absent element fails the transaction; adding a present one does nothing. So: add, then delete.
    """
    pins = list(pins)
    added = ", ".join(f"{key} : {value}" for key, value in pins)
    deleted = ", ".join(key for key, _ in pins)
    return f"add element ip {TABLE} affinity {{ {added} }}\ndelete element ip {TABLE} affinity {{ {deleted} }}\n"


def _new_chain(name: str) -> list[str]:
    return [f"add chain ip {TABLE} {name}", *(f"add rule ip {TABLE} {name} {rule}" for rule in chain_rules(name))]


def additions(table: str, elements: Elements) -> list[str]:
    by_map: dict[str, list[str]] = defaultdict(list)
    for element, value in elements.items():
        by_map[element.map].append(_spelled(element, value))
    return [f"add element ip {table} {name} {{ {', '.join(each)} }}" for name, each in by_map.items()]


def removals(table: str, elements: Iterable[Element]) -> list[str]:
    by_map: dict[str, list[str]] = defaultdict(list)
    for element in elements:
        by_map[element.map].append(element.key)
    return [f"delete element ip {table} {name} {{ {', '.join(keys)} }}" for name, keys in by_map.items()]


def _spelled(element: Element, value: str) -> str:
    return f"{element.key} : {value}" if value else element.key
