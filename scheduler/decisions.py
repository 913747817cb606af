"""One pod, one snapshot, one decision. Pure, but for the random choice among equals, which is a parameter."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING

import numpy as np

from api.meta import Key
from scheduler import volumes
from scheduler.advice import Advice
from scheduler.columns import EVERYWHERE, Bits, Ints, Mask
from scheduler.judgements import Judgement, judge, summary
from scheduler.preemption import NOTHING_HELPS, Preemption, preempt
from scheduler.profiles import DEFAULT, Profile
from scheduler.snapshots import Snapshot
from scheduler.storage import Choice
from scheduler.wishes import Wish

if TYPE_CHECKING:  # it brings the allocator
    from scheduler.devices import Grant

NO_NODES = "no nodes available to schedule pods"
FEWEST_COMPARED = 100
CLAIMS = "DynamicResources"
# What upstream's plug-in says after the filters: of a pod without claims, of one that a plug-in before it has rejected,
# of one with claims, and of one that another device may help.
NOTHING_TO_GIVE_BACK, NOT_PREPARED = "no new claims to deallocate", "not found"
STILL_NOT, GIVEN_BACK = "still not schedulable", "deallocation of ResourceClaim completed"
Lap = Callable[[str], None]
"""Is told which extension point has been run."""


def unmeasured(point: str) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Decision:
    """`node` is "" if there is none; then `message` says why, and `rejectors` are the plug-ins that rejected a node."""

    node: str
    message: str = ""
    rejectors: frozenset[str] = frozenset()
    choices: tuple[Choice, ...] = ()
    """What is to become of the pod's claims before it is bound."""
    grants: "tuple[Grant, ...]" = ()
    """And of those of devices."""
    gives_back: Key | None = None
    """Without a node: the claim whose devices are of no use to the pod, and to nobody else."""
    said: str = NOTHING_TO_GIVE_BACK
    """Without a node: what DynamicResources says of that."""
    preemption: Preemption = NOTHING_HELPS
    """Without a node: how there could be one."""
    room: Bits = EVERYWHERE
    """Without a node: where the pod may fit when others go, whoever they are."""


@dataclass(slots=True)
class Verdict:
    """On one node: the plug-in that rejects it, or its weighted scores."""

    node: str
    rejected_by: str = ""
    reason: str = ""
    scores: dict[str, int] = field(default_factory=dict)


def schedule(
    snapshot: Snapshot, wish: Wish, random: Random, profile: Profile = DEFAULT, lap: Lap = unmeasured,
    advice: Advice | None = None,
) -> Decision:  # fmt: skip
    """The node that the pod was nominated to, if it is feasible, or else a node with the highest score, at random."""
    if not len(snapshot):
        return Decision("", NO_NODES)
    feasible, judgements = _judge(snapshot, wish, profile, advice)
    rows = np.flatnonzero(feasible)
    lap("Filter")
    if not len(rows):
        preempted = advice is not None and advice.preempts
        decision = _rejection(snapshot, wish, judgements, random, profile, preempted)
        lap("PostFilter")
        return decision
    nominated = snapshot.rows.get(snapshot.nominations.node_of(wish.key))
    if nominated is not None and feasible[nominated]:
        row = nominated
    else:
        row = _best(snapshot, wish, rows, random, profile, advice)
    lap("Score")
    binds = wish.claims and profile.binds_volumes and profile.asks("VolumeBinding")
    return Decision(
        snapshot.names[row], choices=volumes.choose(wish, snapshot, row) if binds else (),
        grants=_grants(snapshot, wish, row, random, profile),
    )  # fmt: skip


def _grants(snapshot: Snapshot, wish: Wish, row: int, random: Random, profile: Profile) -> "tuple[Grant, ...]":
    if not (wish.pod.spec.resourceClaims and profile.binds_devices and profile.asks(CLAIMS)):
        return ()
    from scheduler import resource_claims

    return resource_claims.grants(wish, snapshot, row, random)


def _judge(snapshot: Snapshot, wish: Wish, profile: Profile, advice: Advice | None) -> tuple[Mask, list[Judgement]]:
    feasible, judgements = judge(snapshot, wish, profile)
    if advice is not None:
        for extender, rejection in advice.rejections(snapshot):
            judgements.append(Judgement(extender, [rejection]))
            feasible &= ~rejection.rejected
    return feasible, judgements


def _rejection(
    snapshot: Snapshot, wish: Wish, judgements: list[Judgement], random: Random, profile: Profile, extended: bool
) -> Decision:  # fmt: skip
    why, hopeless = summary(snapshot, judgements)
    rejectors = frozenset(name for name, found in judgements if any(r.rejected.any() for r in found))
    decision = Decision("", why, rejectors, room=_room(snapshot, judgements))
    by, whole = next(((name, r) for name, found in judgements for r in found if r.whole), ("", None))
    if whole is not None and whole.fatal:
        return replace(decision, message=whole.reason)
    if whole is not None and profile.claims and by != CLAIMS:
        # Upstream's plug-ins after the filters end at the first error, and this is one: nobody is preempted then.
        return replace(decision, message=f"{why} {NOT_PREPARED}")
    if whole is None and profile.claims and wish.pod.spec.resourceClaims:
        decision = _given_back(decision, snapshot, wish, judgements)
    if not profile.preempts:
        return replace(decision, message=f"{why} {decision.said}") if profile.claims else decision
    return preempting(decision, wish, preempt(snapshot, wish, judgements, hopeless, random, profile, extended), profile)


def _given_back(decision: Decision, snapshot: Snapshot, wish: Wish, judgements: list[Judgement]) -> Decision:
    """With the claim that is to be given back, if there is one."""
    from scheduler import resource_claims

    if not resource_claims.has_claims(wish):
        return decision
    claim = resource_claims.of_no_use(wish, snapshot, judgements)
    return replace(decision, gives_back=claim, said=STILL_NOT if claim is None else GIVEN_BACK)


def preempting(decision: Decision, wish: Wish, preemption: Preemption, profile: Profile) -> Decision:
    """The decision, which so far says only why there is no node, with what has come of preemption."""
    said = [f"preemption: {preemption.message}"] if preemption.message else []
    if said and profile.claims and not preemption.failed:  # what has failed drowns out what was said before
        said = [decision.said, *said]
    return replace(decision, preemption=preemption, message=" ".join([decision.message, ", ".join(said)]).rstrip())


def _room(snapshot: Snapshot, judgements: list[Judgement]) -> Bits:
    """The nodes that are rejected for nothing but other pods."""
    left = snapshot.exists.copy()
    for name, found in judgements:
        # The last of a group that wants to be together may leave, and the next is the first of one.
        for rejection in found if name != "InterPodAffinity" else ():
            if rejection.final:
                left &= ~rejection.rejected
    return Bits.of(left)


def feasible_nodes(snapshot: Snapshot, wish: Wish, profile: Profile) -> list[str]:
    """Those that extenders are to be asked about."""
    feasible, _ = judge(snapshot, wish, profile)
    return [snapshot.names[row] for row in np.flatnonzero(feasible)]


def _best(
    snapshot: Snapshot, wish: Wish, rows: Ints, random: Random, profile: Profile, advice: Advice | None
) -> int:  # fmt: skip
    rows = _sampled(snapshot, rows, profile)
    if len(rows) > 1:
        total = np.zeros(len(rows), dtype=np.int64)
        for _, points in _scores(snapshot, wish, rows, profile):
            total += points
        if advice is not None:
            total += advice.scores(snapshot, rows)
        rows = rows[total == total.max()]
    return int(rows[random.randrange(len(rows))]) if len(rows) > 1 else int(rows[0])


def _sampled(snapshot: Snapshot, rows: Ints, profile: Profile) -> Ints:
    """As many feasible nodes as the profile wants to compare, beginning where the last ones ended."""
    enough = max(len(snapshot) * profile.percent_of_nodes // 100, FEWEST_COMPARED)
    if profile.percent_of_nodes >= 100 or len(rows) <= enough:
        return rows
    chosen = np.roll(rows, -np.searchsorted(rows, snapshot.next_row))[:enough]
    snapshot.next_row = int(chosen[-1]) + 1
    return chosen


def explain(
    snapshot: Snapshot, wish: Wish, profile: Profile = DEFAULT, advice: Advice | None = None
) -> list[Verdict]:  # fmt: skip
    """A verdict on each node, by name."""
    feasible, judgements = _judge(snapshot, wish, profile, advice)
    verdicts = {row: Verdict(name) for name, row in sorted(snapshot.rows.items())}
    for name, found in judgements:
        for at, verdict in verdicts.items():
            reasons = dict.fromkeys(r.reason for r in found if r.rejected[at])
            if reasons and not verdict.rejected_by:
                verdict.rejected_by, verdict.reason = name, ", ".join(reasons)
    rows = np.flatnonzero(feasible)
    if len(rows):
        for name, points in _scores(snapshot, wish, rows, profile):
            for row, value in zip(rows, points, strict=True):
                verdicts[int(row)].scores[name] = int(value)
        for name, given in advice.points.items() if advice is not None else ():
            for row in rows:
                verdicts[int(row)].scores[name] = given.get(snapshot.names[row], 0)
    return [*verdicts.values()]


def _scores(snapshot: Snapshot, wish: Wish, rows: Ints, profile: Profile) -> Iterator[tuple[str, Ints]]:
    for name, weight, score in profile.scores:
        points = score(wish, snapshot, rows)
        if points is not None:
            yield name, weight * points
