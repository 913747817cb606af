"""How many pods there are, should be, and which go first. Pure; shared by replica sets and replication controllers.

https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#scaling-a-replicaset
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from api import meta, times
from api.types import ObjectMeta, Pod
from controller_manager.pods import is_ready, is_terminating, ready_since, restarts, seconds_to_available

BURST = 500
"""Pods created or deleted in one reconciliation, at most."""
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
PHASES = {"": 0, "Pending": 0, "Unknown": 1, "Running": 2}


def slow_start(count: int) -> Iterator[int]:
    """Sizes of batches 1, 2, 4 … that sum up to `count`.

    When a quota refuses pods, all but the first few attempts are saved.
    """
    size = 1
    while count > 0:
        batch = min(size, count)
        yield batch
        count -= batch
        size *= 2


def deletion_cost(pod: Pod) -> int:
    """The annotation's value; 0 if there is none, or one that upstream refuses too."""
    text = pod.metadata.annotations.get(DELETION_COST, "0")
    digits = text.removeprefix("-")
    leading_zero = len(digits) > 1 and digits.startswith("0")
    if not (digits.isascii() and digits.isdigit()) or leading_zero or text == "-0":
        return 0
    cost = int(text)
    return cost if -(2**31) <= cost < 2**31 else 0


def choose_victims(pods: Sequence[Pod], count: int, related: Iterable[Pod], now: float) -> list[Pod]:
    """The `count` pods to delete first.

    Unassigned before assigned, pending before unknown before running, not ready before ready, cheap before dear, from
    nodes with many of the `related` pods before few, ready for a short time before a long one, many restarts before
    few, young before old. Ages count by their order of magnitude, so that the choice among pods of about one age is
    spread and not always the youngest.
    """
    if count >= len(pods):
        return list(pods)
    on_node = Counter(p.spec.nodeName for p in related if p.spec.nodeName)

    def rank(pod: Pod) -> tuple[Any, ...]:
        return (
            bool(pod.spec.nodeName), PHASES.get(pod.status.phase, 2), is_ready(pod), deletion_cost(pod),
            -on_node[pod.spec.nodeName], _magnitude(ready_since(pod), now), -restarts(pod),
            _magnitude(_created(pod), now), pod.metadata.uid,
        )  # fmt: skip

    return sorted(pods, key=rank)[:count]


def _created(pod: Pod) -> float | None:
    return times.parse(pod.metadata.creationTimestamp) if pod.metadata.creationTimestamp else None


def _magnitude(since: float | None, now: float) -> int:
    """The logarithm of an age; no known beginning counts as the youngest."""
    age = 0 if since is None else int((now - since) * 1e9)
    return int(math.log2(age)) if age > 0 else -1


@dataclass(frozen=True, slots=True)
class Counts:
    """The numbers in a status."""

    replicas: int
    fully_labelled: int
    ready: int
    available: int
    terminating: int
    next_available: float | None
    """Seconds until one more pod will have been ready for minReadySeconds."""


def count(active: Sequence[Pod], owned: Iterable[Pod], template: Any, min_ready_seconds: int, now: float) -> Counts:
    """`active` are the controller's own active pods, `owned` all pods that it controls."""
    wanted = template.metadata.labels.items() if template is not None else {}.items()
    waits = [seconds_to_available(p, min_ready_seconds, now) for p in active]
    return Counts(
        replicas=len(active),
        fully_labelled=sum(wanted <= p.metadata.labels.items() for p in active),
        ready=sum(w is not None or is_ready(p) for w, p in zip(waits, active, strict=True)),
        available=sum(w == 0 for w in waits),
        terminating=sum(is_terminating(p) and p.status.phase not in ("Succeeded", "Failed") for p in owned),
        next_available=min((w for w in waits if w), default=None),
    )


def from_template(owner: Any) -> Pod:
    """The pod that a controller's template describes, owned by that controller."""
    template = meta.clone(owner.spec.template)
    metadata = ObjectMeta(
        generateName=f"{owner.metadata.name}-", namespace=owner.metadata.namespace,
        labels=template.metadata.labels, annotations=template.metadata.annotations,
        finalizers=template.metadata.finalizers, ownerReferences=[meta.controller_reference(owner)],
    )  # fmt: skip
    return Pod(metadata=metadata, spec=template.spec)
