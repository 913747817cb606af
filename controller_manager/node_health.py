"""What the state of nodes means: conditions of silent nodes, taints of unhealthy ones. Pure.

https://kubernetes.io/docs/concepts/architecture/nodes/#node-controller
"""

from collections.abc import Iterable
from enum import Enum

from api import meta, times
from api.types import Node, NodeCondition, Pod, Taint, Toleration

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
PRESSURES = {
    ("MemoryPressure", "True"): "node.kubernetes.io/memory-pressure",
    ("DiskPressure", "True"): "node.kubernetes.io/disk-pressure",
    ("PIDPressure", "True"): "node.kubernetes.io/pid-pressure",
    ("NetworkUnavailable", "True"): "node.kubernetes.io/network-unavailable",
}
BY_READINESS = {"False": NOT_READY, "Unknown": UNREACHABLE}
MANAGED = {UNSCHEDULABLE, NOT_READY, UNREACHABLE, *PRESSURES.values()}
WATCHED = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
ZONE = "topology.kubernetes.io/zone"
REGION = "topology.kubernetes.io/region"


def readiness(node: Node) -> str:
    """True, False or Unknown: the status of the condition Ready."""
    found = meta.condition(node, "Ready")
    return found.status if found is not None and found.status in ("True", "False") else "Unknown"


def ever_reported(node: Node) -> bool:
    return meta.condition(node, "Ready") is not None


def silenced(node: Node, now: float) -> list[NodeCondition]:
    """The conditions of a node that is heard of no more."""
    at = times.format(now)
    conditions = meta.clone(node).status.conditions
    for kind in WATCHED:
        found = next((c for c in conditions if c.type == kind), None)
        if found is None:
            conditions.append(
                NodeCondition(
                    type=kind, status="Unknown", reason="NodeStatusNeverUpdated",
                    message="Kubelet never posted node status.", lastHeartbeatTime=node.metadata.creationTimestamp,
                    lastTransitionTime=at,
                )
            )  # fmt: skip
        elif found.status != "Unknown":
            found.status, found.reason = "Unknown", "NodeStatusUnknown"
            found.message = "Kubelet stopped posting node status."
            found.lastTransitionTime = at
    return conditions


class Eviction(Enum):
    """What may be done about the pods of a node that is not ready."""

    BEGIN = "begin"
    KEEP = "go on if it has begun"
    CANCEL = "cancel"


def wanted_taints(node: Node, eviction: Eviction, now: float) -> list[Taint]:
    """All taints that the node should have; those of other people stay where they are."""
    wanted = _no_schedule(node)
    trouble = BY_READINESS.get(readiness(node))
    executing = [t for t in node.spec.taints if t.effect == "NoExecute" and t.key in BY_READINESS.values()]
    if trouble is not None and (eviction is Eviction.BEGIN or (eviction is Eviction.KEEP and executing)):
        # From not-ready to unreachable or back is a new trouble with a new time.
        wanted.append(Taint(key=trouble, effect="NoExecute", timeAdded=times.format(now)))
    result: list[Taint] = []
    for taint in node.spec.taints:
        ours = taint.key in MANAGED and taint.effect == "NoSchedule"
        if not ours and taint not in executing:
            result.append(taint)
        elif any(_is(taint, w) for w in wanted):
            result.append(taint)
            wanted = [w for w in wanted if not _is(taint, w)]
    return result + wanted


def _is(a: Taint, b: Taint) -> bool:
    return (a.key, a.effect) == (b.key, b.effect)


def _no_schedule(node: Node) -> list[Taint]:
    keys = [key for c in node.status.conditions if (key := PRESSURES.get((c.type or "", c.status or "")))]
    if ever_reported(node) and (trouble := BY_READINESS.get(readiness(node))):
        keys.append(trouble)
    if node.spec.unschedulable:
        keys.append(UNSCHEDULABLE)
    return [Taint(key=key, effect="NoSchedule") for key in keys]


def zone_of(node: Node) -> str:
    labels = node.metadata.labels
    return f"{labels.get(REGION, '')}:{labels.get(ZONE, '')}"


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator == "Exists":
        return True
    return toleration.operator in ("", "Equal") and bool(toleration.key) and toleration.value == taint.value


def toleration_time(pod: Pod, taints: Iterable[Taint]) -> float | None:
    """How many seconds the pod stands these NoExecute taints: 0 if not at all, None if for ever.

    For each taint the first toleration counts that fits, whatever others say.
    """
    limits: list[int] = []
    for taint in taints:
        fitting = next((t for t in pod.spec.tolerations if tolerates(t, taint)), None)
        if fitting is None:
            return 0.0
        if fitting.tolerationSeconds is not None:
            limits.append(fitting.tolerationSeconds)
    return max(0.0, float(min(limits))) if limits else None
