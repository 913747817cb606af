"""What one kind of pods is scheduled by: the plug-ins that filter and score, and what they were told.

https://kubernetes.io/docs/reference/scheduling/config/#profiles . Plug-ins that do their work at other extension points
than filter, score and postFilter are part of every profile.
"""

from dataclasses import dataclass

from scheduler.filters import FILTERS, Filter
from scheduler.scores import SCORES, Score


@dataclass(frozen=True, slots=True)
class Profile:
    name: str = "default-scheduler"
    filters: tuple[tuple[str, Filter], ...] = FILTERS
    scores: tuple[tuple[str, int, Score], ...] = SCORES
    preempts: bool = True
    # Upstream's minCandidateNodesPercentage and minCandidateNodesAbsolute: so many nodes are compared.
    candidates_percent: int = 10
    candidates: int = 100

    def asks(self, judging: Filter) -> bool:
        return any(each is judging for _, each in self.filters)


DEFAULT = Profile()
