"""Policies × pods × namespaces → what this node's table must hold. Pure, and only what changed is thought about.

Policies that select no pod of this node cost nothing here; what a pod of another node may be worth is known from the
groups that the others name. One changed pod is matched with those groups; one changed policy, with the pods of its
namespace on this node, and any group that is new with all pods.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from api.meta import Key
from kube_proxy.policies.chains import Chain, Group, Policy, port_set, verdict
from kube_proxy.policies.members import Member, NamedPort
from kube_proxy.rules import Element, Elements

RANGE = Key("range/", "")
CHAINS = "chains/"


class Isolation(NamedTuple):
    """The chains that decide for a pod; None: everything may pass."""

    ingress: Chain | None
    egress: Chain | None


@dataclass(frozen=True)
class Content:
    """`changed` is what each owner wants from now on (see Ledger), `chains` are all that there are to be, by name."""

    changed: Mapping[Key, Elements]
    chains: Mapping[str, Chain]


@dataclass
class _Wants:
    """What the isolations of this node's pods look into."""

    chains: dict[str, Chain] = field(default_factory=dict)
    groups: set[Group] = field(default_factory=set)
    ports: set[NamedPort] = field(default_factory=set)


class View:
    """`node` is this node's name."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._range = ""
        self._policies: dict[str, dict[Key, Policy]] = defaultdict(dict)
        self._namespaces: dict[str, dict[str, str]] = {}
        self._pods: dict[Key, Member] = {}
        self._by_namespace: dict[str, set[Key]] = {}
        self._here: set[Key] = set()
        self._isolated: dict[Key, Isolation] = {}
        self._isolations: Counter[Isolation] = Counter()
        self._wants = _Wants()
        self._members: dict[Group, set[Key]] = {}
        self._groups: dict[Key, set[Group]] = defaultdict(set)
        self._dirty: set[Key] = set()
        self._unjudged: set[Key] = set()

    def set_range(self, network: str) -> None:
        """Where this node's pods have their addresses: what is not known yet there is no pod that may be reached."""
        self._range = network

    def set_policy(self, key: Key, policy: Policy | None) -> None:
        had_any = bool(self._policies)
        if policy is None:
            self._policies[key.namespace].pop(key, None)
            if not self._policies[key.namespace]:
                del self._policies[key.namespace]
        else:
            self._policies[key.namespace][key] = policy
        self._unjudged |= self._by_namespace.get(key.namespace, set()) & self._here
        if bool(self._policies) != had_any:
            self._unjudged |= self._here

    def set_namespace(self, name: str, labels: dict[str, str] | None) -> None:
        if self._namespaces.get(name) == labels:
            return
        if labels is None:
            del self._namespaces[name]
        else:
            self._namespaces[name] = labels
        for key in self._by_namespace.get(name, ()):
            self._match(key, self._wants.groups)

    def set_pod(self, key: Key, pod: Member | None) -> None:
        if self._pods.get(key) == pod:
            return
        if pod is None:
            del self._pods[key]
            of_namespace = self._by_namespace[key.namespace]
            of_namespace.discard(key)
            if not of_namespace:
                del self._by_namespace[key.namespace]
        else:
            self._pods[key] = pod
            self._by_namespace.setdefault(key.namespace, set()).add(key)
        if pod is not None and pod.node == self._node:
            self._here.add(key)
        else:
            self._here.discard(key)
        self._unjudged.add(key)
        self._dirty.add(key)
        self._match(key, self._wants.groups)

    def take(self) -> Content:
        """What changed since the last time."""
        changed: dict[Key, Elements] = {}
        if self._judge():
            changed |= self._look_again()
        changed[RANGE] = {Element("local-range", self._range): ""} if self._policies and self._range else {}
        changed |= {key: self._elements(key) for key in self._dirty}
        self._dirty.clear()
        return Content(changed, dict(self._wants.chains))

    def _judge(self) -> bool:
        """Find what isolates the pods that may be isolated otherwise than before; whether any is."""
        before = +self._isolations
        for key in self._unjudged:
            old = self._isolated.pop(key, None)
            if old is not None:
                self._isolations[old] -= 1
            if key in self._here:
                new = self._isolation(self._pods[key])
                self._isolated[key] = new
                self._isolations[new] += 1
            self._dirty.add(key)
        self._unjudged.clear()
        self._isolations = +self._isolations
        return self._isolations.keys() != before.keys()

    def _isolation(self, pod: Member) -> Isolation:
        found = [p for p in self._policies.get(pod.namespace, {}).values() if p.pods.matches(pod.labels)]
        return Isolation(
            verdict("ingress", (p.ingress for p in found if p.ingress is not None)),
            verdict("egress", (p.egress for p in found if p.egress is not None)),
        )

    def _look_again(self) -> dict[Key, Elements]:
        """Learn which chains, and by them which groups and names of ports, this node needs now."""
        old, new = self._wants, _wants(self._isolations)
        self._wants = new
        for group in old.groups - new.groups:
            for key in self._members.pop(group):
                self._groups[key].discard(group)
                self._dirty.add(key)
        for group in new.groups - old.groups:
            self._members[group] = set()
            for key in self._by_namespace.get(group.namespace, ()) if group.namespace else self._pods:
                self._match(key, [group])
        if named := new.ports ^ old.ports:
            self._dirty |= {k for k, pod in self._pods.items() if any(port in named for port, _ in pod.ports)}
        gone = old.chains.keys() - new.chains.keys()
        come = new.chains.keys() - old.chains.keys()
        return {Key(CHAINS, n): {} for n in gone} | {Key(CHAINS, n): new.chains[n].fixed for n in come}

    def _match(self, key: Key, groups: Iterable[Group]) -> None:
        """Put the pod into those of `groups` that hold it, and out of the others."""
        pod = self._pods.get(key)
        of_namespace = self._namespaces.get(key.namespace, {})
        for group in groups:
            members = self._members[group]
            if (pod is not None and group.holds(pod, of_namespace)) != (key in members):
                if key in members:
                    members.discard(key)
                    self._groups[key].discard(group)
                else:
                    members.add(key)
                    self._groups[key].add(group)
                self._dirty.add(key)
        if pod is None and not self._groups[key]:
            del self._groups[key]

    def _elements(self, key: Key) -> Elements:
        pod = self._pods.get(key)
        if pod is None:
            return {}
        address = pod.address
        found: Elements = {Element(group.set, address): "" for group in self._groups[key]}
        for port, number in pod.ports:
            if port in self._wants.ports:
                found[Element(port_set(port), f"{address} . {port.protocol} . {number}")] = ""
        if key in self._here and self._policies:
            found[Element("local-pods", address)] = ""
            for direction, chain in zip(("ingress", "egress"), self._isolated[key], strict=True):
                if chain is not None:
                    found[Element(f"{direction}-pods", address)] = f"goto {chain.name}"
                    found[Element("selves", f"{address} . {address}")] = ""
        return found


def _wants(isolations: Iterable[Isolation]) -> _Wants:
    wants = _Wants()
    for last in filter(None, itertools.chain.from_iterable(isolations)):
        for chain in (last, *last.parts):
            wants.chains[chain.name] = chain
            wants.groups |= chain.groups
            wants.ports |= chain.ports
    return wants
