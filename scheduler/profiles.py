"""What one kind of pods is scheduled by: the plug-ins that filter and score, and what they were told.

https://kubernetes.io/docs/reference/scheduling/config/#profiles
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from api.types import Pod
from scheduler.filters import FILTERS, Filter
from scheduler.scores import SCORES, Score
from scheduler.wishes import SYSTEM_SPREADS, Spread


@dataclass(frozen=True, slots=True)
class Profile:
    name: str = "default-scheduler"
    filters: tuple[tuple[str, Filter], ...] = FILTERS
    scores: tuple[tuple[str, int, Score], ...] = SCORES
    preempts: bool = True
    claims: bool = True
    """DynamicResources has its word after the filters: of pods without claims that there are none to give back."""
    gates: bool = True
    """Pods with scheduling gates wait."""
    gangs: bool = True
    """Pods of a gang come together, where there are pod groups."""
    binds_volumes: bool = True
    binds_devices: bool = True
    awaits_claims: bool = True
    """Pods whose claims are not made yet are not tried."""
    # Upstream's minCandidateNodesPercentage and minCandidateNodesAbsolute: so many nodes are compared.
    candidates_percent: int = 10
    candidates: int = 100
    spreads: tuple[Spread, ...] = SYSTEM_SPREADS
    """Of pods that state no constraints and belong to something; their selectors are that group's."""
    bind_seconds: float = 600.0
    """How long a pod's claims may take to be bound."""
    device_seconds: float = 600.0
    """And how long its devices may take to be prepared."""
    percent_of_nodes: int = 100
    """Of so many nodes at least, if so many are feasible, the best is taken; 100: of all."""

    def asks(self, plugin: str) -> bool:
        return any(name == plugin for name, _ in self.filters)

    def with_filter(self, plugin: str, judging: Filter) -> Self:
        return replace(self, filters=tuple((n, judging if n == plugin else f) for n, f in self.filters))

    def with_score(self, plugin: str, score: Score) -> Self:
        return replace(self, scores=tuple((n, w, score if n == plugin else s) for n, w, s in self.scores))


DEFAULT = Profile()


class Profiles:
    """By the schedulerName of pods; there is at least one."""

    def __init__(self, profiles: Iterable[Profile]) -> None:
        self._named = {profile.name: profile for profile in profiles}
        self._first = next(iter(self._named.values()))

    def serve(self, pod: Pod) -> bool:
        """Whether the pod is to be scheduled by this scheduler."""
        return (pod.spec.schedulerName or DEFAULT.name) in self._named

    def of(self, pod: Pod) -> Profile:
        """Pods of other schedulers are judged by the first one."""
        return self._named.get(pod.spec.schedulerName or DEFAULT.name, self._first)
