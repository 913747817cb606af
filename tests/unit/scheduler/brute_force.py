"""The scheduler as upstream's documentation tells it, one node and one pod at a time: slow, plain, and by itself.

What the vectorised one decides must be what this one finds. It shares with it nothing but the types of the API and the
matching of label selectors.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from api.labels import from_object
from api.types import (
    LabelSelector,
    Node,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    Pod,
    PodAffinityTerm,
    Taint,
    Toleration,
    TopologySpreadConstraint,
)

HOSTNAME = "kubernetes.io/hostname"
UNITS = {"": 1, "m": 1, "Mi": 2**20, "Gi": 2**30}


@dataclass
class Cluster:
    nodes: dict[str, Node]
    namespaces: dict[str, dict[str, str]]
    pods: list[tuple[Pod, str]] = field(default_factory=list)
    """With the names of their nodes."""

    def on(self, node: str) -> list[Pod]:
        return [pod for pod, at in self.pods if at == node]


# --- filters: the name of the plug-in that says no, or ""


def rejector(cluster: Cluster, pod: Pod, node: Node) -> str:
    filters = {
        "NodeUnschedulable": _schedulable(pod, node),
        "TaintToleration": _tolerated(pod, node, ("NoSchedule", "NoExecute")),
        "NodeAffinity": _selects(pod, node),
        "NodePorts": _ports_free(cluster, pod, node),
        "NodeResourcesFit": _fits(cluster, pod, node),
        "PodTopologySpread": all(_within_skew(cluster, pod, node, c) for c in _hard(pod)) and _has_labels(pod, node),
        "InterPodAffinity": _gets_along(cluster, pod, node),
    }
    return next((name for name, passes in filters.items() if not passes), "")


def _schedulable(pod: Pod, node: Node) -> bool:
    cordon = Taint(key="node.kubernetes.io/unschedulable", value="", effect="NoSchedule")
    return not node.spec.unschedulable or any(_tolerates(t, cordon) for t in pod.spec.tolerations)


def _tolerated(pod: Pod, node: Node, effects: tuple[str, ...]) -> bool:
    return not _untolerated(pod, node, effects)


def _untolerated(pod: Pod, node: Node, effects: tuple[str, ...]) -> int:
    return sum(
        taint.effect in effects and not any(_tolerates(t, taint) for t in pod.spec.tolerations)
        for taint in node.spec.taints
    )


def _tolerates(toleration: Toleration, taint: Taint) -> bool:
    if toleration.effect not in ("", taint.effect) or toleration.key not in ("", taint.key):
        return False
    return toleration.operator == "Exists" or (toleration.key != "" and toleration.value == taint.value)


def _selects(pod: Pod, node: Node) -> bool:
    labels = node.metadata.labels
    if any(labels.get(key) != value for key, value in pod.spec.nodeSelector.items()):
        return False
    affinity = pod.spec.affinity.nodeAffinity if pod.spec.affinity else None
    required = affinity.requiredDuringSchedulingIgnoredDuringExecution if affinity else None
    return required is None or any(_term_matches(term, node) for term in required.nodeSelectorTerms)


def _term_matches(term: NodeSelectorTerm, node: Node) -> bool:
    return bool(term.matchExpressions) and all(_matches(r, node.metadata.labels) for r in term.matchExpressions)


def _matches(requirement: NodeSelectorRequirement, labels: Mapping[str, str]) -> bool:
    value, values = labels.get(requirement.key), requirement.values
    match requirement.operator:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt":
            return value is not None and value.isdigit() and int(value) > int(values[0])
        case _:
            return value is not None and value.isdigit() and int(value) < int(values[0])


def _ports_free(cluster: Cluster, pod: Pod, node: Node) -> bool:
    taken = [port for other in cluster.on(node.metadata.name) for port in _ports(other)]
    return not any(_collide(mine, theirs) for mine in _ports(pod) for theirs in taken)


def _ports(pod: Pod) -> list[tuple[str, int, str]]:
    every = "0.0.0.0"  # noqa: S104
    return [
        (p.protocol or "TCP", p.hostPort, p.hostIP or every)
        for c in pod.spec.containers for p in c.ports if p.hostPort
    ]  # fmt: skip


def _collide(a: tuple[str, int, str], b: tuple[str, int, str]) -> bool:
    return a[:2] == b[:2] and (a[2] == b[2] or "0.0.0.0" in (a[2], b[2]))  # noqa: S104


def amount(text: str) -> int:
    """In thousandths."""
    number = text.rstrip("mMGi")
    unit = text[len(number) :]
    return int(number) if unit == "m" else 1000 * int(number) * UNITS[unit]


def requested(pod: Pod, resource: str, unstated: int = 0) -> int:
    asked = [c.resources.requests.get(resource) for c in pod.spec.containers]
    return sum(unstated if text is None else amount(text) for text in asked)


def _fits(cluster: Cluster, pod: Pod, node: Node) -> bool:
    there, others = node.status.allocatable, cluster.on(node.metadata.name)
    if len(others) + 1 > int(there["pods"]):
        return False
    resources = {r for c in pod.spec.containers for r in c.resources.requests}
    return all(
        not requested(pod, r)
        or requested(pod, r) + sum(requested(other, r) for other in others) <= amount(there.get(r, "0"))
        for r in resources
    )


def _hard(pod: Pod) -> list[TopologySpreadConstraint]:
    return [c for c in pod.spec.topologySpreadConstraints if c.whenUnsatisfiable == "DoNotSchedule"]


def _has_labels(pod: Pod, node: Node) -> bool:
    return all(c.topologyKey in node.metadata.labels for c in _hard(pod))


def _within_skew(cluster: Cluster, pod: Pod, node: Node, constraint: TopologySpreadConstraint) -> bool:
    key = constraint.topologyKey
    if key not in node.metadata.labels:
        return True  # said elsewhere
    counts: dict[str, int] = {}
    for other in cluster.nodes.values():
        if _has_labels(pod, other) and _counts_for(constraint, pod, other):
            domain = other.metadata.labels[key]
            counts[domain] = counts.get(domain, 0) + _matching(cluster, pod, constraint, other)
    least = 0 if len(counts) < (constraint.minDomains or 1) else min(counts.values(), default=0)
    itself = int(_spread_selects(constraint, pod, pod))
    return counts.get(node.metadata.labels[key], 0) + itself - least <= (constraint.maxSkew or 1)


def _counts_for(constraint: TopologySpreadConstraint, pod: Pod, node: Node) -> bool:
    if constraint.nodeAffinityPolicy != "Ignore" and not _selects(pod, node):
        return False
    return constraint.nodeTaintsPolicy != "Honor" or _tolerated(pod, node, ("NoSchedule", "NoExecute"))


def _matching(cluster: Cluster, pod: Pod, constraint: TopologySpreadConstraint, node: Node) -> int:
    return sum(
        other.metadata.namespace == pod.metadata.namespace
        and not other.metadata.deletionTimestamp
        and _spread_selects(constraint, pod, other)
        for other in cluster.on(node.metadata.name)
    )


def _spread_selects(constraint: TopologySpreadConstraint, pod: Pod, other: Pod) -> bool:
    labels = pod.metadata.labels
    same = all(other.metadata.labels.get(k) == labels[k] for k in constraint.matchLabelKeys if k in labels)
    return same and _selected(constraint.labelSelector, other)


def _selected(selector: LabelSelector | None, pod: Pod) -> bool:
    return from_object(selector).matches(pod.metadata.labels)


def _gets_along(cluster: Cluster, pod: Pod, node: Node) -> bool:
    labels = node.metadata.labels
    if any(_around(cluster, node, term, pod) for term in _required(pod, "podAntiAffinity")):
        return False
    for other, at in cluster.pods:
        for term in _required(other, "podAntiAffinity"):
            key = term.topologyKey
            home = cluster.nodes[at].metadata.labels
            if key in labels and labels[key] == home.get(key) and _speaks_of(cluster, term, other, pod):
                return False
    terms = _required(pod, "podAffinity")
    if any(term.topologyKey not in labels for term in terms):
        return False

    def all_match(other: Pod) -> bool:
        return all(_speaks_of(cluster, term, pod, other) for term in terms)

    def near(term: PodAffinityTerm) -> bool:
        key = term.topologyKey
        return any(
            cluster.nodes[at].metadata.labels.get(key) == labels[key] and all_match(other) for other, at in cluster.pods
        )

    if all(near(term) for term in terms):
        return True
    anybody = any(
        all_match(other) and any(t.topologyKey in cluster.nodes[at].metadata.labels for t in terms)
        for other, at in cluster.pods
    )
    return not anybody and all_match(pod)


def _required(pod: Pod, of: str) -> list[PodAffinityTerm]:
    given = getattr(pod.spec.affinity, of) if pod.spec.affinity else None
    return given.requiredDuringSchedulingIgnoredDuringExecution if given else []


def _around(cluster: Cluster, node: Node, term: PodAffinityTerm, pod: Pod) -> int:
    """How many pods that the pod's term speaks of are in the node's domain."""
    key, labels = term.topologyKey, node.metadata.labels
    return sum(
        key in labels and cluster.nodes[at].metadata.labels.get(key) == labels[key]
        and _speaks_of(cluster, term, pod, other)
        for other, at in cluster.pods
    )  # fmt: skip


def _speaks_of(cluster: Cluster, term: PodAffinityTerm, owner: Pod, other: Pod) -> bool:
    namespace, own = other.metadata.namespace, owner.metadata.labels
    if term.namespaces or term.namespaceSelector is not None:
        selects = term.namespaceSelector is not None and from_object(term.namespaceSelector).matches(
            cluster.namespaces.get(namespace, {})
        )
        if namespace not in term.namespaces and not selects:
            return False
    elif namespace != owner.metadata.namespace:
        return False
    theirs = other.metadata.labels
    return (
        _selected(term.labelSelector, other)
        and all(theirs.get(k) == own[k] for k in term.matchLabelKeys if k in own)
        and all(theirs.get(k) != own[k] for k in term.mismatchLabelKeys if k in own)
    )


# --- scores: by plug-in, 0-100 for each feasible node


def scores(cluster: Cluster, pod: Pod, feasible: list[Node]) -> dict[str, list[int]]:
    return {
        "TaintToleration": _normalized([_untolerated(pod, n, ("PreferNoSchedule",)) for n in feasible], reverse=True),
        "NodeAffinity": _normalized([_preferred(pod, n) for n in feasible]),
        "NodeResourcesFit": [_least_allocated(cluster, pod, n) for n in feasible],
        "NodeResourcesBalancedAllocation": [_balanced(cluster, pod, n) for n in feasible],
        "InterPodAffinity": _drawn(cluster, pod, feasible),
        "PodTopologySpread": _spread(cluster, pod, feasible),
    }


def _normalized(raw: list[int], *, reverse: bool = False) -> list[int]:
    most = max(raw)
    if not most:
        return [100 * reverse] * len(raw)
    return [100 - 100 * r // most if reverse else 100 * r // most for r in raw]


def _preferred(pod: Pod, node: Node) -> int:
    affinity = pod.spec.affinity.nodeAffinity if pod.spec.affinity else None
    preferences = affinity.preferredDuringSchedulingIgnoredDuringExecution if affinity else []
    return sum(p.weight for p in preferences if p.preference and _term_matches(p.preference, node))


def _used(cluster: Cluster, pod: Pod, node: Node, resource: str, unstated: int) -> int:
    return sum(requested(p, resource, unstated) for p in (pod, *cluster.on(node.metadata.name)))


def _least_allocated(cluster: Cluster, pod: Pod, node: Node) -> int:
    points, weights = 0, 0
    for resource, unstated in (("cpu", 100), ("memory", 1000 * 200 * 2**20)):
        capacity = amount(node.status.allocatable[resource])
        if capacity:
            used = _used(cluster, pod, node, resource, unstated)
            points += (capacity - used) * 100 // capacity if used <= capacity else 0
            weights += 1
    return points // weights if weights else 0


def _balanced(cluster: Cluster, pod: Pod, node: Node) -> int:
    resources = [r for r in ("cpu", "memory") if amount(node.status.allocatable[r])]
    if not any(requested(pod, r) for r in ("cpu", "memory")):
        return 0
    shares = [min(_used(cluster, pod, node, r, 0) / amount(node.status.allocatable[r]), 1.0) for r in resources]
    deviation = abs(shares[0] - shares[1]) / 2 if len(shares) == 2 else 0.0
    return int((1 - deviation) * 100)


def _drawn(cluster: Cluster, pod: Pod, feasible: list[Node]) -> list[int]:
    raw = [_draw(cluster, pod, node) for node in feasible]
    least, most = min(raw), max(raw)
    return [int(100 * ((r - least) / (most - least))) if most > least else 0 for r in raw]


def _draw(cluster: Cluster, pod: Pod, node: Node) -> int:
    total = sum(sign * w * _around(cluster, node, term, pod) for term, w, sign in _preferences(pod))
    labels = node.metadata.labels
    for other, at in cluster.pods:
        wants = [(t, 1, 1) for t in _required(other, "podAffinity")]
        for term, weight, sign in (*_preferences(other), *wants):
            key, home = term.topologyKey, cluster.nodes[at].metadata.labels
            if key in labels and labels[key] == home.get(key) and _speaks_of(cluster, term, other, pod):
                total += sign * weight
    return total


def _preferences(pod: Pod) -> Iterable[tuple[PodAffinityTerm, int, int]]:
    for of, sign in (("podAffinity", 1), ("podAntiAffinity", -1)):
        given = getattr(pod.spec.affinity, of) if pod.spec.affinity else None
        for p in given.preferredDuringSchedulingIgnoredDuringExecution if given else ():
            if p.podAffinityTerm is not None:
                yield p.podAffinityTerm, p.weight, sign


def _spread(cluster: Cluster, pod: Pod, feasible: list[Node]) -> list[int]:
    soft = [c for c in pod.spec.topologySpreadConstraints if c.whenUnsatisfiable == "ScheduleAnyway"]
    if not soft:
        return [0] * len(feasible)

    def compared(node: Node) -> bool:
        return all(c.topologyKey in node.metadata.labels for c in soft)

    raw: list[float] = [0.0] * len(feasible)
    for c in soft:
        key = c.topologyKey
        domains = {n.metadata.labels[key] for n in feasible if compared(n)}
        size = sum(map(compared, feasible)) if key == HOSTNAME else len(domains)
        counts: dict[str, int] = {}
        for n in cluster.nodes.values():
            counted = key == HOSTNAME or _counts_for(c, pod, n)
            if compared(n) and counted:
                domain = n.metadata.labels[key]
                counts[domain] = counts.get(domain, 0) + _matching(cluster, pod, c, n)
        for at, n in enumerate(feasible):
            if compared(n):
                count = counts.get(n.metadata.labels[key], 0)
                raw[at] += count * math.log(size + 2) + (c.maxSkew or 1) - 1
    rounded = [round(r) for r in raw]
    those = [r for r, n in zip(rounded, feasible, strict=True) if compared(n)]
    if not those:
        return [0] * len(feasible)
    least, most = min(those), max(those)
    return [
        0 if not compared(n) else 100 if not most else 100 * (most + least - r) // most
        for r, n in zip(rounded, feasible, strict=True)
    ]
