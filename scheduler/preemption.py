"""DefaultPreemption: which pods of lower priority have to go so that a pod has room. Pure.

https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/ . On each node that it may help, all
pods of lower priority are thought away; those that the pod leaves room for are let back, the most important first, and
before them those that a disruption budget protects. Of the nodes, that one is taken which costs least.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from operator import add, lt, sub
from random import Random
from typing import NamedTuple

import numpy as np

from api import meta, times
from api.meta import Key
from scheduler import budgets, filters, inter_pod_affinity, spreading, volume_limits, volumes
from scheduler.columns import Mask
from scheduler.filters import Filter
from scheduler.judgements import Judgement, listed, unavailable
from scheduler.profiles import Profile
from scheduler.resources import PODS, Amounts
from scheduler.snapshots import Snapshot
from scheduler.wishes import Wish

FIT = "NodeResourcesFit"
NOT_HELPFUL = "Preemption is not helpful for scheduling"
NO_VICTIMS = "No preemption victims found for incoming pod"
NO_CANDIDATE = "no candidate node for preemption"
# Priorities are made positive before they are summed, so that many victims never cost less than few.
LOWEST_PRIORITY = -(2**31)
# A pod that has not started counts as started last.
NEVER = "9999-01-01T00:00:00Z"
NEVER_SECONDS = times.parse(NEVER)
CONDITION, REASON = "DisruptionTarget", "PreemptionByScheduler"


class Candidate(NamedTuple):
    node: str
    victims: list[Wish]  # the most important first; none: only an extender can say who would have to go
    violations: int

    @property
    def cost(self) -> tuple[float, ...]:
        highest = max(v.priority for v in self.victims)
        return (
            self.violations,
            highest,
            sum(v.priority - LOWEST_PRIORITY for v in self.victims),
            len(self.victims),
            -min(_started(v) for v in self.victims if v.priority == highest),
        )


class Preemption(NamedTuple):
    """Without a node, `message` says why; `keeps`: then the pod keeps the node that it was nominated to.

    With `candidates`, extenders have to be asked before one is chosen of them.
    """

    message: str = ""
    node: str = ""
    victims: tuple[Wish, ...] = ()
    keeps: bool = False
    candidates: tuple[Candidate, ...] = ()
    failed: bool = False
    """An extender could not be asked."""


NOTHING_HELPS = Preemption()


def preempt(
    snapshot: Snapshot, wish: Wish, judgements: list[Judgement], hopeless: Mask, random: Random, profile: Profile,
    extended: bool = False,
) -> Preemption:  # fmt: skip
    """For a pod that no node is feasible for; on the `hopeless` ones, removing pods does not help.

    `extended`: extenders choose among the candidates, and for them a node is one, too, that only they reject.
    """
    if why := _ineligible(snapshot, wish, hopeless):
        return Preemption(f"not eligible due to {why}.", keeps=True)
    with snapshot.counting_nominated(wish):
        needs = _needs(wish) if profile.asks(FIT) else {}
        promising, reasons = _promising(snapshot, wish, judgements, hopeless, needs)
        enough = max(int((snapshot.exists & ~hopeless).sum()) * profile.candidates_percent // 100, profile.candidates)
        changing = [f for name, f in _changing(snapshot, wish) if profile.asks(name)]
        trial = _Trial(snapshot, wish, needs, changing, extended)
        candidates = _candidates(trial, promising, reasons, enough, random)
    if not candidates:
        return Preemption(unavailable(snapshot, listed(reasons)))
    return Preemption(candidates=tuple(candidates)) if extended else chosen(candidates)


def chosen(candidates: Iterable[Candidate]) -> Preemption:
    """The one that costs least, of those that cost anything."""
    best = min((c for c in candidates if c.victims), key=lambda c: c.cost, default=None)
    if best is None:
        return Preemption(NO_CANDIDATE, keeps=True)
    return Preemption(node=best.node, victims=tuple(best.victims))


def _ineligible(snapshot: Snapshot, wish: Wish, hopeless: Mask) -> str:
    if wish.pod.spec.preemptionPolicy == "Never":
        return "preemptionPolicy=Never"
    node = snapshot.nominations.node_of(wish.key)
    if node in snapshot.rows and not hopeless[snapshot.rows[node]]:
        lower = (w for w in snapshot.pods(node) if w.priority < wish.priority)
        if any(_leaves(w) or w.pod.metadata.uid in snapshot.nominations.leaving for w in lower):
            return "a terminating pod on the nominated node"
    return ""


def _leaves(wish: Wish) -> bool:
    condition = meta.condition(wish.pod, CONDITION)
    return wish.terminating and condition is not None and (condition.status, condition.reason) == ("True", REASON)


def _promising(
    snapshot: Snapshot, wish: Wish, judgements: list[Judgement], hopeless: Mask, needs: Amounts
) -> tuple[Mask, Counter[str]]:  # fmt: skip
    """The nodes that are worth a trial, and why the others are not: looked at all at once, as most are not."""
    reasons = Counter({NOT_HELPFUL: int(hopeless.sum())})
    lower = snapshot.tiers.below(wish.priority)
    victims, left = lower.get(PODS), snapshot.exists & ~hopeless
    has = left & (victims > 0) if victims is not None else np.zeros_like(left)
    reasons[NO_VICTIMS] = int((left & ~has).sum())
    for rejection in (r for _, found in judgements for r in found if r.final):
        reasons[rejection.reason] += int((has & rejection.rejected).sum())
        has &= ~rejection.rejected
    short = np.zeros_like(has)
    for resource, amount in needs.items():
        free = snapshot.allocatable[resource] if has.any() else 0
        free = free - snapshot.used.get(resource, 0) + lower.get(resource, 0)
        here = has & (free < amount)
        reasons[_insufficient(resource)] += int(here.sum())
        short |= here
    return has & ~short, reasons


def _candidates(
    trial: "_Trial", promising: Mask, reasons: Counter[str], enough: int, random: Random
) -> list[Candidate]:  # fmt: skip
    """What would have to go on each of `enough` nodes; the others' reasons are counted."""
    rows = np.flatnonzero(promising)
    if not len(rows):
        return []
    found: list[Candidate] = []
    for row in np.roll(rows, -random.randrange(len(rows))):
        try:
            result = trial.select(int(row))
        finally:
            trial.undo()
        if isinstance(result, list):
            reasons.update(result)
            continue
        found.append(result)
        if len(found) >= enough and any(not c.violations for c in found):
            break
    return found


def _changing(snapshot: Snapshot, wish: Wish) -> Iterator[tuple[str, Filter]]:
    """The filters, beside resources, whose word on this pod may change when other pods go."""
    if wish.host_ports:
        yield "NodePorts", filters.node_ports
    if wish.claims:
        yield "VolumeRestrictions", volumes.restrictions
        yield "NodeVolumeLimits", volume_limits.rejections
    if wish.spreads_strictly:
        yield "PodTopologySpread", spreading.rejections
    kept_away = (s.excludes for s, _ in snapshot.standing.concerning(wish, snapshot.namespaces))
    if wish.affinity or wish.anti_affinity or any(kept_away):
        yield "InterPodAffinity", inter_pod_affinity.rejections


class _Trial:
    """One node after another, while pods are thought away from it and back. `undo` restores the snapshot."""

    def __init__(
        self, snapshot: Snapshot, wish: Wish, needs: Amounts, changing: list[Filter], extended: bool
    ) -> None:  # fmt: skip
        self._extended = extended
        self._snapshot = snapshot
        self._wish = wish
        self._changing = changing
        self._resources, self._needs = [*needs], [*needs.values()]
        self._row, self._node = 0, ""
        self._free: list[int] = []
        self._away: dict[Key, Wish] = {}
        self._uses: dict[tuple[tuple[str, int], ...], list[int]] = {}

    def select(self, row: int) -> Candidate | list[str]:
        """The victims, or the reasons why none would do."""
        self._row, self._node = row, self._snapshot.names[row]
        self._free = [_free(self._snapshot, resource, row) for resource in self._resources]
        lower = [w for w in self._snapshot.pods(self._node) if w.priority < self._wish.priority]
        lower.sort(key=lambda w: (-w.priority, w.pod.status.startTime or NEVER))
        for pod in lower:
            self._take(pod)
        if reasons := self._rejected():
            return reasons
        violating, others = budgets.split(lower, self._snapshot.budgets.values())
        broken = [pod for pod in violating if not self._reprieve(pod)]
        victims = {w.key for w in broken} | {pod.key for pod in others if not self._reprieve(pod)}
        if not victims and not self._extended:
            return [NO_VICTIMS]
        return Candidate(self._node, [w for w in lower if w.key in victims], len(broken))

    def undo(self) -> None:
        for pod in [*self._away.values()]:
            self._let_back(pod)

    def _reprieve(self, pod: Wish) -> bool:
        """Whether the pod may stay."""
        self._let_back(pod)
        if any(map(lt, self._free, self._needs)) or (self._changing and self._rejected()):
            self._take(pod)
            return False
        return True

    def _take(self, pod: Wish) -> None:
        self._free = [*map(add, self._free, self._used(pod))]
        if self._changing:  # otherwise the sums suffice, and the snapshot stays as it is
            self._away[pod.key] = pod
            self._snapshot.remove_pod(pod.key)

    def _let_back(self, pod: Wish) -> None:
        self._free = [*map(sub, self._free, self._used(pod))]
        if self._changing:
            del self._away[pod.key]
            self._snapshot.set_pod(pod, self._node)

    def _used(self, pod: Wish) -> list[int]:
        """Of the resources that the pod needs; worked out once for all that ask for the same."""
        asked = (*pod.requests.items(),)
        known = self._uses.get(asked)
        if known is None:
            known = self._uses[asked] = [pod.requests.get(r, 0) if r != PODS else 1 for r in self._resources]
        return known

    def _rejected(self) -> list[str]:
        """Why the pod does not fit now, in the words of a filter that says no."""
        if any(map(lt, self._free, self._needs)):
            return [_insufficient(r) for r, f, n in zip(self._resources, self._free, self._needs, strict=True) if f < n]
        for judging in self._changing:
            if reasons := self._asked(judging):
                return reasons
        return []

    def _asked(self, judging: Filter) -> list[str]:
        found = judging(self._wish, self._snapshot)
        return [*dict.fromkeys(r.reason for r in found if r.rejected[self._row])]


def _needs(wish: Wish) -> Amounts:
    return {PODS: 1, **{r: amount for r, amount in wish.requests.items() if amount}}


def _free(snapshot: Snapshot, resource: str, row: int) -> int:
    used = snapshot.used.get(resource)
    return int(snapshot.allocatable[resource][row]) - (int(used[row]) if used is not None else 0)


def _insufficient(resource: str) -> str:
    return "Too many pods" if resource == PODS else f"Insufficient {resource}"


def _started(wish: Wish) -> float:
    return times.parse(wish.pod.status.startTime) if wish.pod.status.startTime else NEVER_SECONDS
