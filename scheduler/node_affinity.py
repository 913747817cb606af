"""nodeSelector and node affinity over all nodes at once.

https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#affinity-and-anti-affinity
"""

import re

import numpy as np

from api.types import NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm
from scheduler.columns import Ints, Mask
from scheduler.snapshots import Snapshot
from scheduler.wishes import Wish

NAME = "metadata.name"


def required(wish: Wish, snapshot: Snapshot) -> Mask | None:
    """The nodes that the pod's selector and required affinity allow; None if it has neither."""
    selector, node_selector = _required(wish), wish.pod.spec.nodeSelector
    if selector is None and not node_selector:
        return None
    allowed = snapshot.exists.copy()
    for label, value in node_selector.items():
        allowed &= having(snapshot, label, [value])
    if selector is not None:
        allowed &= any_of(selector, snapshot)
    return allowed


def named(wish: Wish) -> frozenset[str] | None:
    """The nodes that the required affinity names; None if it lets others in as well."""
    selector = _required(wish)
    if selector is None or not selector.nodeSelectorTerms:
        return None
    chosen: frozenset[str] = frozenset()
    for term in selector.nodeSelectorTerms:
        names = [frozenset(r.values) for r in term.matchFields if r.key == NAME and r.operator == "In"]
        if not names:
            return None
        chosen |= frozenset.intersection(*names)
    return chosen


def any_of(selector: NodeSelector, snapshot: Snapshot) -> Mask:
    """The nodes that fulfil one of the terms."""
    found = np.zeros_like(snapshot.exists)
    for term in selector.nodeSelectorTerms:
        found |= matching(term, snapshot)
    return found


def preferred(wish: Wish, snapshot: Snapshot, added: NodeAffinity | None) -> Ints | None:
    """The summed weights of the preferences that each node fulfils; None if there are none."""
    affinity = wish.pod.spec.affinity
    own = affinity.nodeAffinity if affinity is not None else None
    preferences = [p for a in (added, own) if a for p in a.preferredDuringSchedulingIgnoredDuringExecution]
    if not preferences:
        return None
    weights = np.zeros(len(snapshot.exists), dtype=np.int64)
    for preference in preferences:
        if preference.preference is not None:
            weights += preference.weight * matching(preference.preference, snapshot)
    return weights


def matching(term: NodeSelectorTerm, snapshot: Snapshot) -> Mask:
    """The nodes that fulfil all of the term; an empty term is fulfilled by none."""
    if not term.matchExpressions and not term.matchFields:
        return np.zeros_like(snapshot.exists)
    found = snapshot.exists.copy()
    for requirement in term.matchExpressions:
        found &= _matching(requirement, snapshot)
    for requirement in term.matchFields:
        named = np.zeros_like(found)
        named[[snapshot.rows[name] for name in requirement.values if name in snapshot.rows]] = True
        found &= named if requirement.operator == "In" else ~named
    return found


def _matching(requirement: NodeSelectorRequirement, snapshot: Snapshot) -> Mask:
    label, values = requirement.key, requirement.values
    match requirement.operator:
        case "In":
            return having(snapshot, label, values)
        case "NotIn":
            return ~having(snapshot, label, values)
        case "Exists":
            return snapshot.labels[label].codes >= 0
        case "DoesNotExist":
            return snapshot.labels[label].codes < 0
        case "Gt" | "Lt" as operator:
            return snapshot.labels[label].having(lambda value: _compares(value, operator, values))
    return np.zeros_like(snapshot.exists)


def having(snapshot: Snapshot, label: str, values: list[str]) -> Mask:
    """The nodes whose label has one of the values."""
    column = snapshot.labels[label]
    codes = [column.values[v] for v in values if v in column.values]
    found: Mask = column.codes == codes[0] if len(codes) == 1 else np.isin(column.codes, codes)
    return found


def _compares(value: str | None, operator: str, bounds: list[str]) -> bool:
    if value is None or len(bounds) != 1:
        return False
    if not all(re.fullmatch(r"[+-]?[0-9]+", text) for text in (value, bounds[0])):
        return False
    return int(value) > int(bounds[0]) if operator == "Gt" else int(value) < int(bounds[0])


def _required(wish: Wish) -> NodeSelector | None:
    affinity = wish.pod.spec.affinity
    if affinity is None or affinity.nodeAffinity is None:
        return None
    return affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution
