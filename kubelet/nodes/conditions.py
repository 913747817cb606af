"""A node's conditions, with upstream's reasons and messages.
https://kubernetes.io/docs/reference/node/node-status/#condition
"""

from dataclasses import dataclass

from api import meta, times
from api.types import Node, NodeCondition

MEMORY_THRESHOLD = 100 * 2**20
STORAGE_THRESHOLD = 0.10


@dataclass(frozen=True, slots=True)
class Health:
    """What was seen at `now`.  `problems` are why the node cannot run pods."""

    now: float
    free_memory: int
    free_storage: float
    problems: tuple[str, ...] = ()


def conditions(node: Node, health: Health) -> list[NodeCondition]:
    """The node's conditions with the kubelet's four brought up to date; others are kept."""
    found = [meta.clone(c) for c in node.status.conditions]
    stamp = times.format(health.now)
    for condition in _own(health):
        condition.lastHeartbeatTime = condition.lastTransitionTime = stamp
        meta.set_condition(found, condition)
    return found


def _own(health: Health) -> list[NodeCondition]:
    memory, storage = health.free_memory < MEMORY_THRESHOLD, health.free_storage < STORAGE_THRESHOLD
    problems = f"[{', '.join(health.problems)}]" if len(health.problems) > 1 else "".join(health.problems)
    return [
        _condition("MemoryPressure", True, "KubeletHasInsufficientMemory", "kubelet has insufficient memory available")
        if memory
        else _condition(
            "MemoryPressure", False, "KubeletHasSufficientMemory", "kubelet has sufficient memory available"
        ),
        _condition("DiskPressure", True, "KubeletHasDiskPressure", "kubelet has disk pressure")
        if storage
        else _condition("DiskPressure", False, "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        _condition("PIDPressure", False, "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        _condition("Ready", False, "KubeletNotReady", problems)
        if problems
        else _condition("Ready", True, "KubeletReady", "kubelet is posting ready status"),
    ]


def _condition(kind: str, holds: bool, reason: str, message: str) -> NodeCondition:
    return NodeCondition(type=kind, status="True" if holds else "False", reason=reason, message=message)
