"""What one kind of pods is scheduled by: the plug-ins that filter and score, and what they were told.

https://kubernetes.io/docs/reference/scheduling/config/#profiles
"""

from dataclasses import dataclass, replace
from typing import Self

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
    binds_volumes: bool = True
    # Upstream's minCandidateNodesPercentage and minCandidateNodesAbsolute: so many nodes are compared.
    candidates_percent: int = 10
    candidates: int = 100
    spreads: tuple[Spread, ...] = SYSTEM_SPREADS
    """Of pods that state no constraints and belong to something; their selectors are that group's."""
    bind_seconds: float = 600.0
    """How long a pod's claims may take to be bound."""
    percent_of_nodes: int = 100
    """Of so many nodes at least, if so many are feasible, the best is taken; 100: of all."""

    def asks(self, plugin: str) -> bool:
        return any(name == plugin for name, _ in self.filters)

    def with_filter(self, plugin: str, judging: Filter) -> Self:
        return replace(self, filters=tuple((n, judging if n == plugin else f) for n, f in self.filters))

    def with_score(self, plugin: str, score: Score) -> Self:
        return replace(self, scores=tuple((n, w, score if n == plugin else s) for n, w, s in self.scores))


DEFAULT = Profile()
