"""PodDisruptionBudgets as preemption sees them: kept to if there is a choice, and broken if there is none. Pure.

https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/#poddisruptionbudget-is-supported-but-not-guaranteed
"""

from collections.abc import Iterable
from typing import NamedTuple

from api import labels
from api.labels import Selector
from api.types import PodDisruptionBudget
from scheduler.wishes import Wish


class Budget(NamedTuple):
    namespace: str
    selector: Selector
    allowed: int
    disrupted: frozenset[str]
    """Names of pods that the budget was already charged for."""

    def concerns(self, wish: Wish) -> bool:
        return (
            self.namespace == wish.namespace
            and self.selector.matches(wish.labels)
            and wish.key.name not in self.disrupted
        )


def budget(given: PodDisruptionBudget) -> Budget:
    selector, status = labels.from_object(given.spec.selector), given.status
    return Budget(
        given.metadata.namespace, selector, status.disruptionsAllowed, frozenset(status.disruptedPods)
    )  # fmt: skip


def split(pods: Iterable[Wish], budgets: Iterable[Budget]) -> tuple[list[Wish], list[Wish]]:
    """Those whose deletion would break a budget if all before them went too, and the others; both in their order."""
    known = [*budgets]
    left = [b.allowed for b in known]
    violating: list[Wish] = []
    others: list[Wish] = []
    for pod in pods:
        broken = False
        for at, each in enumerate(known):
            if each.concerns(pod):
                left[at] -= 1
                broken |= left[at] < 0
        (violating if broken else others).append(pod)
    return violating, others
