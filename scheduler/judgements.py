"""What the filters say of all nodes, and how that is put into words. Pure."""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from scheduler.columns import Mask
from scheduler.filters import named_nodes
from scheduler.profiles import DEFAULT, Profile
from scheduler.rejections import Rejection
from scheduler.snapshots import Snapshot
from scheduler.wishes import Wish


class Judgement(NamedTuple):
    plugin: str
    found: list[Rejection]


def judge(snapshot: Snapshot, wish: Wish, profile: Profile = DEFAULT) -> tuple[Mask, list[Judgement]]:
    """The feasible nodes, and what was found on the way.

    Pods that were nominated to a node count there for those that have to give way to them. That they come is not
    certain, so a pod that needs others near it has to fit without them as well.
    """
    with snapshot.counting_nominated(wish) as counted:
        feasible, judgements = _filter(snapshot, wish, profile)
    if counted and (wish.affinity or wish.spreads_strictly) and feasible.any():
        without, more = _filter(snapshot, wish, profile)
        return feasible & without, judgements + more
    return feasible, judgements


def _filter(snapshot: Snapshot, wish: Wish, profile: Profile) -> tuple[Mask, list[Judgement]]:
    feasible = snapshot.exists.copy()
    judgements = []
    first = (("NodeAffinity", named_nodes),) if profile.asks("NodeAffinity") else ()
    for name, judging in (*first, *profile.filters):
        found = [*judging(wish, snapshot)]
        if not found:
            continue
        if (error := next((r for r in found if r.fatal and (r.rejected & feasible).any()), None)) is not None:
            found = [error._replace(rejected=snapshot.exists, whole=True)]
        judgements.append(Judgement(name, found))
        for rejection in found:
            feasible &= ~rejection.rejected
    return feasible, judgements


def summary(snapshot: Snapshot, judgements: list[Judgement]) -> tuple[str, Mask]:
    """Upstream's sentence, and the nodes that removing pods would not help.

    Each node counts under the first filter that rejects it, with every reason that this one has.
    """
    whole = next((r for _, found in judgements for r in found if r.whole), None)
    if whole is not None:
        judgements = [Judgement("", [whole])]
    reasons: Counter[str] = Counter()
    left, final = snapshot.exists.copy(), np.zeros_like(snapshot.exists)
    for _, found in judgements:
        rejected = np.zeros_like(left)
        for rejection in found:
            here = rejection.rejected & left
            reasons[rejection.reason] += int(here.sum())
            rejected |= here
            if rejection.final:
                final |= here
        left &= ~rejected
    return unavailable(snapshot, listed(reasons) if whole is None else whole.reason), final


def unavailable(snapshot: Snapshot, why: str) -> str:
    return f"0/{len(snapshot)} nodes are available: {why}."


def listed(reasons: Mapping[str, int]) -> str:
    return ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items() if count))
