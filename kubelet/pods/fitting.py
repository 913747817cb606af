"""Whether a pod fits on its node, whoever sent it there: a scheduler may have been passed by, or been too late.  Pure.
https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/#pod-priority-and-node-pressure-eviction
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from api import quantities
from api.node_affinity import is_chosen
from api.qos import qos_class
from api.quotas import pods as totals
from api.tolerations import tolerates
from api.types import Node, Pod
from kubelet.statics.manifests import is_static
from kubelet.syncing.importance import may_preempt

FIXED = "cpu", "memory", "ephemeral-storage"
ORDER = "BestEffort", "Burstable", "Guaranteed"
PREEMPTED = "Preempted in order to admit critical pod"


@dataclass(frozen=True, slots=True)
class Shortage:
    """Amounts as upstream compares them: millicores of cpu, whole units of all else."""

    resource: str
    requested: int
    used: int
    capacity: int

    @property
    def reason(self) -> str:
        return f"OutOf{self.resource}"

    @property
    def message(self) -> str:
        amounts = f"requested: {self.requested}, used: {self.used}, capacity: {self.capacity}"
        return f"Node didn't have enough resource: {self.resource}, {amounts}"

    @property
    def missing(self) -> int:
        return self.requested - (self.capacity - self.used)


@dataclass(frozen=True, slots=True)
class Mismatch:
    """No room that could be made would help."""

    reason: str
    why: str

    @property
    def message(self) -> str:
        return f"Predicate {self.reason} failed: {self.why}"


def misfits(pod: Pod, node: Node, others: Sequence[Pod]) -> list[Shortage | Mismatch]:
    """In upstream's order, so that the first one is what the pod is told."""
    return [*shortages(pod, node.status.allocatable, others), *_mismatches(pod, node, others)]


def shortages(pod: Pod, allocatable: Mapping[str, str], others: Sequence[Pod]) -> Iterator[Shortage]:
    most = quantities.value(allocatable.get("pods", "0"))
    if len(others) + 1 > most:
        yield Shortage("pods", 1, len(others), most)
    asked = requested(pod)
    for resource in (*FIXED, *sorted(r for r in asked if r not in FIXED)):
        # An extended resource that no node has is somebody else's to know of.
        if not asked.get(resource) or ("/" in resource and resource not in allocatable):
            continue
        has, used = _units(resource, allocatable.get(resource, "0")), sum(requested(o).get(resource, 0) for o in others)
        if asked[resource] > has - used:
            yield Shortage(resource, asked[resource], used, has)


def requested(pod: Pod) -> dict[str, int]:
    scale = {"cpu": 1000}
    return {name: math.ceil(a.value * scale.get(name, 1)) for name, a in totals.requests(pod, with_status=True).items()}


def _units(resource: str, amount: str) -> int:
    return quantities.milli(amount) if resource == "cpu" else quantities.value(amount)


def _mismatches(pod: Pod, node: Node, others: Iterable[Pod]) -> Iterator[Mismatch]:
    if not is_chosen(pod.spec, node):
        yield Mismatch("NodeAffinity", "node(s) didn't match Pod's node affinity/selector")
    if pod.spec.nodeName not in ("", node.metadata.name):
        yield Mismatch("NodeName", "node(s) didn't match the requested node name")
    taken = {port for other in others for port in _ports(other)}
    if any(_clash(port, other) for port in _ports(pod) for other in taken):
        yield Mismatch("NodePorts", "node(s) didn't have free ports for the requested pod ports")
    repelling = [t for t in node.spec.taints if t.effect == "NoExecute"]
    if not is_static(pod) and not all(tolerates(pod.spec.tolerations, t) for t in repelling):
        yield Mismatch("TaintToleration", "node(s) had taints that the pod didn't tolerate")


def _ports(pod: Pod) -> set[tuple[str, str, int]]:
    sidecars = [c for c in pod.spec.initContainers if c.restartPolicy == "Always"]
    return {
        (p.hostIP or "0.0.0.0", p.protocol or "TCP", p.hostPort)  # noqa: S104
        for c in (*pod.spec.containers, *sidecars)
        for p in c.ports
        if p.hostPort
    }


def _clash(a: tuple[str, str, int], b: tuple[str, str, int]) -> bool:
    return a[1:] == b[1:] and (a[0] == b[0] or "0.0.0.0" in (a[0], b[0]))  # noqa: S104


def victims(pod: Pod, others: Sequence[Pod], short: Iterable[Shortage]) -> list[Pod] | None:
    """Whom a critical pod takes the place of: as few as possible, best-effort ones rather than burstable ones rather
    than guaranteed ones.  None if all of them were not enough."""
    classes = [[p for p in others if qos_class(p.spec) == name and may_preempt(pod, p)] for name in ORDER]
    needs = {s.resource: s.missing for s in short}
    if _left(needs, [p for members in classes for p in members]):
        return None
    chosen: list[Pod] = []
    for rank in reversed(range(len(ORDER))):
        # What the classes below could give, they give: of this one only those go that are missing even then.
        below = [p for members in classes[:rank] for p in members]
        chosen += _nearest(classes[rank], _left(needs, [*below, *chosen]))
    return chosen


def _nearest(pods: list[Pod], needs: Mapping[str, int]) -> list[Pod]:
    """By shortest distance from what is still needed; of two as near, the one that requests less."""
    left, chosen = list(pods), []
    while needs and left:
        best = min(left, key=lambda p: (_distance(p, needs), requested(p).get("memory", 0), requested(p).get("cpu", 0)))
        left.remove(best)
        chosen.append(best)
        needs = _left(needs, [best])
    return chosen


def _distance(pod: Pod, needs: Mapping[str, int]) -> float:
    return sum((max(0, need - _share(pod, name)) / need) ** 2 for name, need in needs.items())


def _left(needs: Mapping[str, int], pods: Iterable[Pod]) -> dict[str, int]:
    rest = dict(needs)
    for pod in pods:
        rest = {name: need - _share(pod, name) for name, need in rest.items()}
    return {name: need for name, need in rest.items() if need > 0}


def _share(pod: Pod, resource: str) -> int:
    return 1 if resource == "pods" else requested(pod).get(resource, 0)
