"""How long single plug-ins take: timed in every tenth decision, as upstream does, so that the others cost nothing.

What is timed is a profile of its own, whose functions are the same with a clock around them.
"""

from collections.abc import Iterator
from dataclasses import replace

from machinery.clocks import Clock
from machinery.metrics import Histogram
from scheduler.columns import Ints
from scheduler.filters import Filter
from scheduler.profiles import Profile
from scheduler.rejections import Rejection
from scheduler.scores import Score
from scheduler.snapshots import Snapshot
from scheduler.wishes import Wish

EVERY = 10
SECONDS = tuple(0.00001 * 1.5**n for n in range(20))


class Sampling:
    def __init__(self, clock: Clock) -> None:
        self.durations = Histogram(
            "scheduler_plugin_execution_duration_seconds",
            "Duration for running a plugin at a specific extension point.",
            ("plugin", "extension_point", "status"), SECONDS,
        )  # fmt: skip
        self._clock = clock
        self._count = 0
        self._timed: dict[str, Profile] = {}

    def of(self, profile: Profile) -> Profile:
        """What to decide by: now and then the one whose plug-ins are timed."""
        self._count += 1
        if self._count % EVERY:
            return profile
        if profile.name not in self._timed:
            self._timed[profile.name] = replace(
                profile,
                filters=tuple((name, self._filter(name, judge)) for name, judge in profile.filters),
                scores=tuple((name, weight, self._score(name, score)) for name, weight, score in profile.scores),
            )
        return self._timed[profile.name]

    def _filter(self, name: str, judge: Filter) -> Filter:
        def timed(wish: Wish, snapshot: Snapshot) -> Iterator[Rejection]:
            began = self._clock.monotonic()
            found = [*judge(wish, snapshot)]
            status = "Unschedulable" if any(r.rejected.any() for r in found) else "Success"
            self.durations.observe(self._clock.monotonic() - began, (name, "Filter", status))
            return iter(found)

        return timed

    def _score(self, name: str, score: Score) -> Score:
        def timed(wish: Wish, snapshot: Snapshot, rows: Ints) -> Ints | None:
            began = self._clock.monotonic()
            points = score(wish, snapshot, rows)
            self.durations.observe(self._clock.monotonic() - began, (name, "Score", "Success"))
            return points

        return timed
