"""A node's conditions, with upstream's reasons and messages.
https://kubernetes.io/docs/reference/node/node-status/#condition
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from api import meta, times
from api.types import Node, NodeCondition

# What a pressure is called as the reason of its condition, of its event, and in words: there and not there.
PRESSURES = {
    "MemoryPressure": (
        "InsufficientMemory", "SufficientMemory", "insufficient memory available", "sufficient memory available",
    ),
    "DiskPressure": ("DiskPressure", "NoDiskPressure", "disk pressure", "no disk pressure"),
    "PIDPressure": ("InsufficientPID", "SufficientPID", "insufficient PID available", "sufficient PID available"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Health:
    """What was seen at `now`.  `problems` are why the node cannot run pods, `pressures` what it is short of."""

    now: float
    pressures: Collection[str] = ()
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
    problems = f"[{', '.join(health.problems)}]" if len(health.problems) > 1 else "".join(health.problems)
    return [
        *(_pressure(kind, kind in health.pressures) for kind in PRESSURES),
        _condition("Ready", False, "KubeletNotReady", problems)
        if problems
        else _condition("Ready", True, "KubeletReady", "kubelet is posting ready status"),
    ]


def _pressure(kind: str, holds: bool) -> NodeCondition:
    there, not_there, words, other_words = PRESSURES[kind]
    return _condition(
        kind, holds, f"KubeletHas{there if holds else not_there}", f"kubelet has {words if holds else other_words}"
    )  # fmt: skip


def turned(old: Node, new: Sequence[NodeCondition]) -> list[str]:
    """The reasons of the events that a change of pressures is worth."""
    was = {c.type: c.status for c in old.status.conditions}
    return [
        f"NodeHas{PRESSURES[c.type][0 if c.status == 'True' else 1]}"
        for c in new
        if c.type in PRESSURES and was.get(c.type) != c.status
    ]


def _condition(kind: str, holds: bool, reason: str, message: str) -> NodeCondition:
    return NodeCondition(type=kind, status="True" if holds else "False", reason=reason, message=message)
