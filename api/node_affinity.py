"""Whether a pod wants to be on a node.
https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#affinity-and-anti-affinity
"""

from api.labels import Requirement
from api.types import Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSpec

NAME_FIELD = "metadata.name"
_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!exists", "Gt": "gt", "Lt": "lt"}


def is_chosen(spec: PodSpec, node: Node) -> bool:
    """By its nodeSelector and by what its affinity requires."""
    if not spec.nodeSelector.items() <= node.metadata.labels.items():
        return False
    found = required(spec)
    return found is None or any(_fulfils(node, term) for term in found.nodeSelectorTerms)


def required(spec: PodSpec) -> NodeSelector | None:
    if spec.affinity is None or spec.affinity.nodeAffinity is None:
        return None
    return spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution


def _fulfils(node: Node, term: NodeSelectorTerm) -> bool:
    """An empty term is fulfilled by no node."""
    if not term.matchExpressions and not term.matchFields:
        return False
    fields = {NAME_FIELD: node.metadata.name}
    return all(_holds(r, node.metadata.labels) for r in term.matchExpressions) and all(
        _holds(r, fields) for r in term.matchFields
    )


def _holds(it: NodeSelectorRequirement, values: dict[str, str]) -> bool:
    return Requirement(it.key, _OPERATORS[it.operator], frozenset(it.values)).matches(values)
