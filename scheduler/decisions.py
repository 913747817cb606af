"""One pod, one snapshot, one decision. Pure, but for the random choice among equals, which is a parameter."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

import numpy as np

from scheduler.columns import Ints, Mask
from scheduler.filters import FILTERS
from scheduler.rejections import Rejection
from scheduler.scores import SCORES
from scheduler.snapshots import Snapshot
from scheduler.storage import Choice
from scheduler.volumes import choose
from scheduler.wishes import Wish

Judgement = tuple[str, list[Rejection]]


@dataclass(frozen=True, slots=True)
class Decision:
    """`node` is "" if there is none; then `message` says why, and `rejectors` are the plug-ins that rejected a node."""

    node: str
    message: str = ""
    rejectors: frozenset[str] = frozenset()
    choices: tuple[Choice, ...] = ()
    """What is to become of the pod's claims before it is bound."""


@dataclass(slots=True)
class Verdict:
    """On one node: the plug-in that rejects it, or its weighted scores."""

    node: str
    rejected_by: str = ""
    reason: str = ""
    scores: dict[str, int] = field(default_factory=dict)


def schedule(snapshot: Snapshot, wish: Wish, random: Random) -> Decision:
    """The best feasible node; one of the best at random if there are several."""
    if not len(snapshot):
        return Decision("", "no nodes available to schedule pods")
    feasible, judgements = _filter(snapshot, wish)
    rows = np.flatnonzero(feasible)
    if not len(rows):
        rejectors = frozenset(name for name, found in judgements if any(r.rejected.any() for r in found))
        return Decision("", _why(snapshot, wish, judgements), rejectors)
    row = _best(snapshot, wish, rows, random)
    return Decision(snapshot.names[row], choices=choose(wish, snapshot, row) if wish.claims else ())


def _best(snapshot: Snapshot, wish: Wish, rows: Ints, random: Random) -> int:
    if len(rows) > 1:
        total = np.zeros(len(rows), dtype=np.int64)
        for _, points in _scores(snapshot, wish, rows):
            total += points
        rows = rows[total == total.max()]
    return int(rows[random.randrange(len(rows))]) if len(rows) > 1 else int(rows[0])


def explain(snapshot: Snapshot, wish: Wish) -> tuple[str, list[Verdict]]:
    """The message (as if no node were feasible; "" if one is), and a verdict on each node, by name."""
    feasible, judgements = _filter(snapshot, wish)
    verdicts = {row: Verdict(name) for name, row in sorted(snapshot.rows.items())}
    for name, found in judgements:
        for at, verdict in verdicts.items():
            reasons = dict.fromkeys(r.reason for r in found if r.rejected[at])
            if reasons and not verdict.rejected_by:
                verdict.rejected_by, verdict.reason = name, ", ".join(reasons)
    rows = np.flatnonzero(feasible)
    if len(rows):
        for name, points in _scores(snapshot, wish, rows):
            for row, value in zip(rows, points, strict=True):
                verdicts[int(row)].scores[name] = int(value)
        return "", [*verdicts.values()]
    message = _why(snapshot, wish, judgements) if len(snapshot) else "no nodes available to schedule pods"
    return message, [*verdicts.values()]


def _filter(snapshot: Snapshot, wish: Wish) -> tuple[Mask, list[Judgement]]:
    feasible = snapshot.exists.copy()
    judgements = []
    for name, judge in FILTERS:
        found = [*judge(wish, snapshot)]
        if not found:
            continue
        judgements.append((name, found))
        for rejection in found:
            feasible &= ~rejection.rejected
    return feasible, judgements


def _scores(snapshot: Snapshot, wish: Wish, rows: Ints) -> Iterator[tuple[str, Ints]]:
    for name, weight, score in SCORES:
        points = score(wish, snapshot, rows)
        if points is not None:
            yield name, weight * points


def _why(snapshot: Snapshot, wish: Wish, judgements: list[Judgement]) -> str:
    """Upstream's sentence: each node under the first filter that rejects it, with every reason that this one has."""
    nodes = len(snapshot)
    whole = next((r for _, found in judgements for r in found if r.whole), None)
    if whole is not None:
        judgements = [("", [whole])]
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
    preemption = {
        "Preemption is not helpful for scheduling": int(final.sum()),
        "No preemption victims found for incoming pod": nodes - int(final.sum()),
    }
    listed = _listed(reasons) if whole is None else whole.reason
    why = f"0/{nodes} nodes are available: {listed}. preemption: "
    if wish.pod.spec.preemptionPolicy == "Never":
        return f"{why}not eligible due to preemptionPolicy=Never."
    return f"{why}0/{nodes} nodes are available: {_listed(preemption)}."


def _listed(reasons: dict[str, int]) -> str:
    return ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items() if count))
