"""Which pod goes first, and what it is told.  Pure.
https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/#pod-selection-for-kubelet-eviction
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from api import quantities
from api.quotas import pods as totals
from api.types import Pod
from kubelet.eviction.deciding import Observations
from kubelet.eviction.thresholds import RESOURCES, Threshold


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one pod, and in `containers` of each of its containers, of what is short."""

    amount: int
    containers: Mapping[str, int] = field(default_factory=dict)


def ranked(pods: Iterable[Pod], resource: str, usages: Mapping[str, Usage]) -> list[Pod]:
    """The first to go first.  `usages` by the pods' uids: one of which nothing is known goes before all others."""

    def key(pod: Pod) -> tuple[float, ...]:
        usage, priority = usages.get(pod.metadata.uid), pod.spec.priority or 0
        if resource == "pids":
            return priority, -usage.amount if usage is not None else -math.inf
        if usage is None:
            return -1, priority, 0
        over = usage.amount - requested(pod, resource)
        return 0 if over > 0 else 1, priority, -over

    return sorted(pods, key=key)


def requested(pod: Pod, resource: str) -> int:
    found = totals.requests(pod).get(resource)
    return math.ceil(found.value) if found is not None else 0


def message(pod: Pod, resource: str, usage: Usage | None, due: Sequence[Threshold], observed: Observations) -> str:
    text = f"The node was low on resource: {resource}. "
    threshold = next((t for t in due if RESOURCES[t.signal] == resource and t.signal in observed), None)
    if threshold is not None:
        seen = observed[threshold.signal]
        family = "decimal" if resource in ("inodes", "pids") else "binary"
        available = quantities.spelled(Decimal(seen.available), family)
        text += f"Threshold quantity: {threshold.value.spelled(seen.capacity)}, available: {available}. "
    if usage is None:
        return text
    whole = pod.spec.resources
    if resource == "memory" and whole is not None and resource in whole.requests:
        text += _larger("Pod", pod.metadata.name, usage.amount, whole.requests[resource], resource)
    for container in (*pod.spec.containers, *pod.spec.initContainers):
        used, asked = usage.containers.get(container.name), container.resources.requests.get(resource, "0")
        if used is not None and used > quantities.value(asked):
            text += _larger("Container", container.name, used, asked, resource)
    return text


def _larger(kind: str, name: str, used: int, asked: str, resource: str) -> str:
    amount = quantities.spelled(Decimal(used), "binary")
    return f"{kind} {name} was using {amount}, request is {asked}, has larger consumption of {resource}. "
