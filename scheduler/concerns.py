"""Whether what happened to a pod on a node can help one that waits: each plug-in that rejected it is asked. Pure.

These are upstream's queueing hints of the plug-ins; `hints` has those that need no more than the kind of event.
To be wrong here in the one direction costs an attempt, in the other five minutes: in doubt it helps.
"""

from collections.abc import Mapping

from scheduler.columns import EVERYWHERE, Bits
from scheduler.crowds import Standing
from scheduler.resources import PODS, Amounts
from scheduler.snapshots import Snapshot
from scheduler.wishes import Term, Wish

Labels = Mapping[str, Mapping[str, str]]


class PodChange:
    """A pod came to the node, left it, or has other labels now: `pods` is what it was and what it is."""

    def __init__(self, snapshot: Snapshot, node: str, *pods: Wish) -> None:
        self._snapshot = snapshot
        self._node = node
        self._pods = pods
        self._known: dict[tuple[object, ...], bool] = {}

    def helps(self, plugin: str, wish: Wish, room: Bits = EVERYWHERE) -> bool:
        """`room`: where nothing but other pods was in its way."""
        match plugin:
            case "NodeResourcesFit":
                row = self._snapshot.rows.get(self._node)
                return row is not None and row in room and self._has_room(wish)
            case "InterPodAffinity":
                return any(_related(wish, other, self._snapshot.namespaces) for other in self._pods)
            case "PodTopologySpread":
                return any(_counts(wish, other) for other in self._pods)
        return True

    def _has_room(self, wish: Wish) -> bool:
        """Whether the pod would have room there, if those went whose place it could take."""
        snapshot, row = self._snapshot, self._snapshot.rows.get(self._node)
        if row is None:
            return False
        if snapshot.nominations.node_of(wish.key) == self._node:
            # It waits for all its victims. Others that were nominated do not count: if they are too many for the node,
            # one has to be tried to find that out.
            waits = bool(snapshot.nominations.leaving)
            return self._fits(wish, row, {} if waits else snapshot.tiers.below_at(wish.priority, row))
        preempts = wish.pod.spec.preemptionPolicy != "Never"
        asked = (preempts, wish.priority, *wish.requests.items())
        known = self._known.get(asked)  # of a thousand that wait, most ask for the same
        if known is None:
            lower = snapshot.tiers.below_at(wish.priority, row) if preempts else {}
            ahead = snapshot.ahead_on(wish, row, self._node)
            known = self._known[asked] = self._fits(wish, row, lower, ahead)
        return known

    def _fits(self, wish: Wish, row: int, away: Amounts, ahead: Amounts | None = None) -> bool:
        """`away` is what those use that could go, `ahead` what others will."""
        snapshot = self._snapshot
        for resource, amount in (wish.requests | {PODS: 1}).items():
            there, used = snapshot.allocatable.get(resource), snapshot.used.get(resource)
            if there is None or not there[row]:
                continue  # a resource that the profile ignores, or else the node was out of the question anyway
            free = int(there[row]) - (int(used[row]) if used is not None else 0) + away.get(resource, 0)
            if amount and free - (ahead or {}).get(resource, 0) < amount:
                return False
        return True


def _related(wish: Wish, other: Wish, namespaces: Labels) -> bool:
    """Whether a required term of either speaks of the other; if one wants itself near, the last of its group too."""
    ours, theirs = wish.affinity + wish.anti_affinity, other.anti_affinity
    return _concerned(ours, other, namespaces) or _concerned(theirs, wish, namespaces)


def _concerned(terms: tuple[Term, ...], wish: Wish, namespaces: Labels) -> bool:
    return any(Standing(term).concerns(wish, namespaces) for term in terms)


def _counts(wish: Wish, other: Wish) -> bool:
    return wish.namespace == other.namespace and any(
        spread.required and spread.selector.matches(other.labels) for spread in wish.spreads
    )
