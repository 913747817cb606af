"""GangScheduling: the pods of a PodGroup are placed all together, or none of them is. No I/O.

A gang waits until its PodGroup is there, and as many pods as it wants (PreEnqueue). Then all that wait are decided in
one go, one after the other, and bound only if enough of them have a place: two gangs never hold halves of what both
need. https://kubernetes.io/docs/concepts/scheduling-eviction/gang-scheduling/
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from api import meta
from api.meta import Key
from api.types import Pod, PodGroup
from scheduler.decisions import Decision
from scheduler.snapshots import Snapshot
from scheduler.wishes import Wish

PLUGIN = "GangScheduling"
TOO_FEW = "waiting for minCount pods from a gang to appear in scheduling queue"


def group_of(pod: Pod) -> Key | None:
    """The PodGroup that the pod says it belongs to."""
    group = pod.spec.schedulingGroup
    return Key(pod.metadata.namespace, group.podGroupName) if group is not None and group.podGroupName else None


class Gangs:
    """The PodGroups, and the pods that belong to each, placed or not."""

    def __init__(self) -> None:
        self.groups: dict[Key, PodGroup] = {}
        self._members: defaultdict[Key, set[Key]] = defaultdict(set)

    def add(self, group: Key, pod: Key) -> bool:
        """Whether the pod is new to the group."""
        known = pod in self._members[group]
        self._members[group].add(pod)
        return not known

    def remove(self, group: Key, pod: Key) -> None:
        if group in self._members:
            self._members[group].discard(pod)
            if not self._members[group]:
                del self._members[group]

    def members(self, group: Key) -> frozenset[Key]:
        return frozenset(self._members.get(group, ()))

    def minimum(self, group: Key) -> int:
        """So many must have a place at once; 0 if the group is none whose pods depend on each other."""
        found = self.groups.get(group)
        policy = found.spec.schedulingPolicy if found is not None else None
        return (policy.gang.minCount or 0) if policy is not None and policy.gang is not None else 0

    def why_not(self, pod: Pod) -> str:
        """Why the pod is not to be tried yet, in upstream's words, or ""."""
        group = group_of(pod)
        if group is None:
            return ""
        if group not in self.groups:
            return f'waiting for pods\'s pod group "{group.name}" to appear in scheduling queue'
        return TOO_FEW if len(self.members(group) | {meta.key(pod)}) < self.minimum(group) else ""


class Round(NamedTuple):
    """What came of one go at a gang."""

    decisions: list[Decision]
    """Of the pods that were tried; the last ones may not have been, if they could not make enough any more."""
    message: str
    """Why the gang has no place, or ""."""

    @property
    def preempts(self) -> bool:
        """There is a place for enough of them once others are gone."""
        return not self.message and any(d.preemption.node for d in self.decisions)


class Supposed:
    """What the snapshot would be if those of a gang that have a place already had it, and whom they preempt were gone.

    It is only so between `apply` and `lift`, in which nobody may change the snapshot otherwise: whoever waits for
    something lifts it before, so that what happens meanwhile is known as it is.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.taken: list[tuple[Wish, Decision]] = []
        self._snapshot = snapshot
        self._applied = 0  # of those taken
        self._undo: list[Callable[[], object]] = []

    def take(self, wish: Wish, decision: Decision) -> None:
        self.taken.append((wish, decision))

    def apply(self) -> None:
        for wish, decision in self.taken[self._applied :]:
            if not decision.node:
                self._think_away(decision.preemption.victims)
            if not self._snapshot.node_of(wish.key):  # else somebody else has placed it
                self._place(wish, decision)
        self._applied = len(self.taken)

    def lift(self) -> None:
        while self._undo:
            self._undo.pop()()
        self._applied = 0

    @contextmanager
    def standing(self) -> Iterator[None]:
        """For those who look at the snapshot, and wait for something between two looks."""
        self.apply()
        try:
            yield
        finally:
            self.lift()

    def _think_away(self, victims: Iterable[Wish]) -> None:
        for victim in victims:
            node = self._snapshot.node_of(victim.key)
            if (gone := self._snapshot.remove_pod(victim.key)) is not None:
                self._undo.append(partial(self._snapshot.set_pod, gone, node))

    def _place(self, wish: Wish, decision: Decision) -> None:
        node = decision.node or decision.preemption.node
        self._snapshot.set_pod(wish, node)
        self._snapshot.promise(decision.choices, decision.grants, node, supposed=True)
        self._undo += [
            partial(self._snapshot.remove_pod, wish.key),
            partial(self._snapshot.withdraw, decision.choices, decision.grants, supposed=True),
        ]


async def try_gang(
    snapshot: Snapshot, wishes: Sequence[Wish], placed: int, minimum: int,
    decide: Callable[[Wish, Supposed], Awaitable[Decision]],
) -> Round:  # fmt: skip
    """Each pod is decided as if those before it were where they were put, and whom they preempt were gone.

    `placed` of the gang are on nodes already. The snapshot is as it was afterwards, but for what others have changed.
    """
    decisions: list[Decision] = []
    supposed = Supposed(snapshot)
    try:
        for wish in wishes:
            left = len(wishes) - len(decisions)
            if placed + len(supposed.taken) + left < minimum:
                break
            decision = await decide(wish, supposed)
            decisions.append(decision)
            if decision.node or decision.preemption.node:
                supposed.take(wish, decision)
    finally:
        supposed.lift()
    scheduled, left = placed + len(supposed.taken), len(wishes) - len(decisions)
    if scheduled >= minimum:
        return Round(decisions, "")
    return Round(decisions, f"minCount ({minimum}) cannot be satisfied: {scheduled} scheduled, {left} remaining")
