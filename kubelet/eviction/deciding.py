"""From what is observed to what is done about it.  Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kubelet.eviction.thresholds import ALLOCATABLE_MEMORY, CONDITIONS, MEMORY, Threshold


@dataclass(frozen=True, slots=True)
class Observation:
    available: int
    capacity: int


Observations = Mapping[str, Observation]
"""By signal; one that is missing could not be observed, and meets no threshold."""


@dataclass(frozen=True, slots=True)
class State:
    """What one look leaves to the next one."""

    since: Mapping[Threshold, float] = field(default_factory=dict)  # when each that is met was first
    seen: Mapping[str, float] = field(default_factory=dict)  # when each condition held last
    met: tuple[Threshold, ...] = ()  # with their grace periods over


@dataclass(frozen=True, slots=True)
class Decision:
    state: State
    conditions: frozenset[str]
    reclaim: tuple[Threshold, ...]  # what to do something about; the first one first


def decide(
    thresholds: Iterable[Threshold], observed: Observations, state: State, now: float, transition: float
) -> Decision:  # fmt: skip
    """A threshold that was met stays so until `reclaim` more is there; a condition lasts for `transition` seconds after
    it was last seen, so that it does not flap."""
    here = met(thresholds, observed)
    here += [t for t in met(state.met, observed, reclaimed=True) if t not in here]
    since = {t: state.since.get(t, now) for t in here}
    seen = {**state.seen, **dict.fromkeys((CONDITIONS[t.signal] for t in here), now)}
    due = tuple(t for t, first in since.items() if now - first >= t.grace)
    return Decision(
        State(since, seen, due),
        frozenset(c for c, last in seen.items() if now - last < transition),
        # Memory first: a node that has none left cannot do the rest.
        tuple(sorted(due, key=lambda t: t.signal not in (MEMORY, ALLOCATABLE_MEMORY))),
    )


def met(thresholds: Iterable[Threshold], observed: Observations, *, reclaimed: bool = False) -> list[Threshold]:
    """`reclaimed`: also those that are still short of what is to be reclaimed at least."""
    return [t for t in thresholds if t.signal in observed and _is_met(t, observed[t.signal], reclaimed)]


def _is_met(threshold: Threshold, observed: Observation, reclaimed: bool) -> bool:
    least = threshold.value.of(observed.capacity)
    if reclaimed:
        least += threshold.reclaim.of(observed.capacity)
    return observed.available < least
