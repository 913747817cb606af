"""One NetworkPolicy → chains of the kernel's table, one for each direction that it isolates. Pure.

A chain, and every set that it looks into, is named by a digest of what it says. So none ever changes: an edited policy
is another chain, and equal selectors in a hundred policies are one set.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Network, collapse_addresses
from typing import Any

from api import labels
from api.labels import EVERYTHING, Selector
from api.types import IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort
from kube_proxy.policies.members import Member, NamedPort
from kube_proxy.rules import Element, Elements

SETS = {
    "pods": "type ipv4_addr",
    "except": "type ipv4_addr; flags interval",
    "ports": "type inet_proto . inet_service; flags interval",
    "named": "type ipv4_addr . inet_proto . inet_service",
}
_PORT = "meta l4proto . th dport"
_HIGHEST = 65535


@dataclass(frozen=True, slots=True)
class Group:
    """Pods, chosen by their labels in `namespace` or, if that is "", in the namespaces that `namespaces` chooses."""

    namespace: str
    namespaces: Selector
    pods: Selector

    @property
    def set(self) -> str:
        return _named("pods", f"{self.namespace}/{self.namespaces}/{self.pods}")

    def holds(self, pod: Member, namespace_labels: dict[str, str]) -> bool:
        if self.namespace:
            return self.namespace == pod.namespace and self.pods.matches(pod.labels)
        return self.namespaces.matches(namespace_labels) and self.pods.matches(pod.labels)


@dataclass(frozen=True, slots=True)
class Chain:
    """Rules. Those of a policy accept something; those that end a pod's way jump to these, `parts`, and drop.

    `fixed` are elements of its sets that no pod changes. The name says everything, so nothing else is compared.
    """

    name: str
    rules: tuple[str, ...] = field(compare=False)
    groups: frozenset[Group] = field(default=frozenset(), compare=False)
    ports: frozenset[NamedPort] = field(default=frozenset(), compare=False)
    fixed: Elements = field(default_factory=dict, compare=False)
    parts: "tuple[Chain, ...]" = field(default=(), compare=False)

    @property
    def sets(self) -> set[str]:
        return {*(g.set for g in self.groups), *(port_set(p) for p in self.ports), *(e.map for e in self.fixed)}


@dataclass(frozen=True, slots=True)
class Policy:
    """`ingress`, `egress`: what it allows the pods that it selects; None where it does not isolate them."""

    namespace: str
    pods: Selector
    ingress: Chain | None
    egress: Chain | None


def policy(given: NetworkPolicy) -> Policy:
    spec, namespace = given.spec, given.metadata.namespace
    types = spec.policyTypes or ["Ingress", *(["Egress"] if spec.egress else [])]
    return Policy(
        namespace,
        EVERYTHING if spec.podSelector is None else labels.from_object(spec.podSelector),
        _chain("ingress", namespace, [(r.from_, r.ports) for r in spec.ingress]) if "Ingress" in types else None,
        _chain("egress", namespace, [(r.to, r.ports) for r in spec.egress]) if "Egress" in types else None,
    )


def verdict(direction: str, chains: Iterable[Chain]) -> Chain | None:
    """What becomes of a packet of a pod that these chains isolate: any of them may accept it. None: there are none."""
    by_name = {c.name: c for c in chains}
    if not by_name:
        return None
    parts = tuple(c for _, c in sorted(by_name.items()) if c.rules)
    rules = (*(f"jump {c.name}" for c in parts), "drop")
    return Chain(_named(f"{direction}-of", "\n".join(rules)), rules, parts=parts)


def port_set(port: NamedPort) -> str:
    return _named("named", f"{port.name}/{port.protocol}")


def _chain(direction: str, namespace: str, rules: Iterable[tuple[list[NetworkPolicyPeer], Any]]) -> Chain:
    side = "ip saddr" if direction == "ingress" else "ip daddr"
    lines: dict[str, None] = {}
    found = _Found()
    for peers, ports in rules:
        to = list(_numbers(ports, found)) if ports else [""]
        for peer in _peers(side, namespace, peers, found) if peers else [""]:
            lines.update((" ".join(filter(None, (peer, port, "accept"))), None) for port in to)
    return Chain(
        _named(direction, "\n".join(lines)), tuple(lines),
        frozenset(found.groups), frozenset(found.ports), found.fixed,
    )  # fmt: skip


@dataclass
class _Found:
    groups: set[Group] = field(default_factory=set)
    ports: set[NamedPort] = field(default_factory=set)
    fixed: Elements = field(default_factory=dict)


def _peers(side: str, namespace: str, peers: Iterable[NetworkPolicyPeer], found: _Found) -> Iterator[str]:
    for peer in peers:
        if peer.ipBlock is not None:
            if ":" not in (peer.ipBlock.cidr or ":"):
                yield _block(side, peer.ipBlock, found)
            continue
        everywhere = peer.namespaceSelector is not None
        group = Group(
            "" if everywhere else namespace,
            labels.from_object(peer.namespaceSelector) if everywhere else EVERYTHING,
            EVERYTHING if peer.podSelector is None else labels.from_object(peer.podSelector),
        )
        found.groups.add(group)
        yield f"{side} @{group.set}"


def _block(side: str, block: IPBlock, found: _Found) -> str:
    network = IPv4Network(block.cidr or "", strict=False)
    inside = f"{side} {network}" if network.prefixlen else ""
    networks = collapse_addresses(IPv4Network(each, strict=False) for each in block.except_ if ":" not in each)
    ranges = [str(n) if n.prefixlen < 32 else str(n[0]) for n in networks]
    if not ranges:
        return inside
    name = _named("except", " ".join(ranges))
    found.fixed |= {Element(name, each): "" for each in ranges}
    return f"{inside} {side} != @{name}".strip()


def _numbers(ports: Iterable[NetworkPolicyPort], found: _Found) -> Iterator[str]:
    """What a packet's port must match: one set of all that are given by number, and one for each name.

    A name means, at each pod, the port that this pod calls so.
    """
    ranges: list[tuple[str, int, int]] = []
    for port in ports:
        protocol = (port.protocol or "TCP").lower()
        if isinstance(port.port, str):
            named = NamedPort(port.port, protocol)
            found.ports.add(named)
            yield f"ip daddr . {_PORT} @{port_set(named)}"
        elif port.port is None:
            ranges.append((protocol, 0, _HIGHEST))
        else:
            ranges.append((protocol, port.port, port.endPort or port.port))
    if ranges:
        spelled = [f"{p} . {first}" if first == last else f"{p} . {first}-{last}" for p, first, last in _joined(ranges)]
        name = _named("ports", " ".join(spelled))
        found.fixed |= {Element(name, each): "" for each in spelled}
        yield f"{_PORT} @{name}"


def _joined(ranges: Iterable[tuple[str, int, int]]) -> Iterator[tuple[str, int, int]]:
    """Without overlaps, which a set of ranges refuses."""
    current: tuple[str, int, int] | None = None
    for protocol, first, last in sorted(ranges):
        if current is not None and current[0] == protocol and first <= current[2] + 1:
            current = protocol, current[1], max(last, current[2])
        else:
            if current is not None:
                yield current
            current = protocol, first, last
    if current is not None:
        yield current


def _named(kind: str, content: str) -> str:
    return f"{kind}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
