"""On which nodes a daemon set's pods belong. Pure.

https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/#how-daemon-pods-are-scheduled
"""

from collections.abc import Iterable
from typing import NamedTuple

from api.node_affinity import NAME_FIELD, is_chosen, required
from api.types import (
    Affinity,
    Node,
    NodeAffinity,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    Pod,
    PodSpec,
    Taint,
    Toleration,
)
from controller_manager.node_health import tolerates

# A daemon stays on a node in trouble, for it may be what the node is waiting for.
TOLERATED = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)
TOLERATED_BY_HOST_NETWORK = ("node.kubernetes.io/network-unavailable", "NoSchedule")


class Verdict(NamedTuple):
    """Whether a pod should be on a node, and whether one that is there may stay."""

    runs: bool
    stays: bool


def tolerations(spec: PodSpec) -> list[Toleration]:
    """Those of a daemon's pods: the template's and those that every daemon has."""
    own = [*TOLERATED, *([TOLERATED_BY_HOST_NETWORK] if spec.hostNetwork else [])]
    added = [Toleration(key=key, operator="Exists", effect=effect) for key, effect in own]
    taken = {(t.key, t.operator, t.effect, t.value) for t in added}
    return [t for t in spec.tolerations if (t.key, t.operator, t.effect, t.value) not in taken] + added


def verdict(spec: PodSpec, tolerated: Iterable[Toleration], node: Node) -> Verdict:
    """`spec` is the template's, `tolerated` are its `tolerations`."""
    if spec.nodeName not in ("", node.metadata.name) or not is_chosen(spec, node):
        return Verdict(False, False)
    repelling = [t for t in node.spec.taints if not any(tolerates(o, t) for o in tolerated)]
    return Verdict(not _have(repelling, "NoSchedule", "NoExecute"), not _have(repelling, "NoExecute"))


def _have(taints: Iterable[Taint], *effects: str) -> bool:
    return any(t.effect in effects for t in taints)


def bind(spec: PodSpec, node: str) -> None:
    """Make the scheduler put the pod on that node or nowhere; what else the affinity requires still holds."""
    there = [NodeSelectorRequirement(key=NAME_FIELD, operator="In", values=[node])]
    affinity = spec.affinity = spec.affinity or Affinity()
    of_nodes = affinity.nodeAffinity = affinity.nodeAffinity or NodeAffinity()
    wished = of_nodes.requiredDuringSchedulingIgnoredDuringExecution
    terms = wished.nodeSelectorTerms if wished is not None else []
    of_nodes.requiredDuringSchedulingIgnoredDuringExecution = NodeSelector(
        nodeSelectorTerms=[NodeSelectorTerm(matchFields=there)]
        if not terms
        else [NodeSelectorTerm(matchExpressions=t.matchExpressions, matchFields=there) for t in terms]
    )


def target(pod: Pod) -> str:
    """The node that a daemon's pod is on, or was made for; "" if it was not made for one."""
    if pod.spec.nodeName:
        return pod.spec.nodeName
    wished = required(pod.spec)
    for term in wished.nodeSelectorTerms if wished is not None else ():
        for field in term.matchFields:
            if field.key == NAME_FIELD and field.operator == "In" and len(field.values) == 1:
                return field.values[0]
    return ""
