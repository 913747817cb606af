"""What came of a storm, and the table that tells it."""

from dataclasses import dataclass, field

from tests.chaos.faults.parts import Target
from tests.chaos.faults.plans import Strike
from tests.chaos.histories import Record, Verdict

STANDSTILL = 15
"""Seconds after which writes have stopped, not paused."""


@dataclass(frozen=True, slots=True)
class Struck:
    strike: Strike
    targets: tuple[Target, ...]
    gap: float
    """The longest time (seconds) for which a writer behind the balancer had no definite answer."""
    recovery: float
    """Seconds from the last healing until nothing was wrong."""
    ended_containers: int
    """Of pods, by faults that must end none."""

    @property
    def kind(self) -> str:
        return self.strike[0].kind.name if len(self.strike) == 1 else "two at once"

    @property
    def ends_containers(self) -> bool:
        return any(fault.kind.ends_containers for fault in self.strike)

    @property
    def stops_writes(self) -> bool:
        return any(fault.kind.stops_writes for fault in self.strike)

    def __str__(self) -> str:
        whom = (", ".join(target) for target in self.targets)
        done = (f"{fault.kind.name} ({who})" for fault, who in zip(self.strike, whom, strict=True))
        told = f"{' + '.join(done)}: {self.gap:.1f} s without a write, recovered in {self.recovery:.1f} s"
        return f"{told}, ended {self.ended_containers} containers" if self.ended_containers else told


@dataclass(slots=True)
class Outcome:
    record: Record
    verdict: Verdict | None = None
    """None as long as the history was not checked."""
    struck: list[Struck] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    @property
    def ended_containers(self) -> int:
        return sum(s.ended_containers for s in self.struck)

    @property
    def holds(self) -> bool:
        checked = self.verdict is not None and self.verdict.holds
        return checked and not self.violations and not self.ended_containers


def table(outcome: Outcome) -> str:
    """By kind of fault, and in all."""
    columns = ("fault", "times", "longest without writes", "slowest recovery", "containers ended")
    rows = ["{:24} {:>5} {:>23} {:>17} {:>17}".format(*columns)]
    kinds: dict[str, list[Struck]] = {}
    for each in outcome.struck:
        kinds.setdefault(each.kind, []).append(each)
    for kind, all_ in sorted(kinds.items()):
        gap, slowest = max(s.gap for s in all_), max(s.recovery for s in all_)
        ended = sum(s.ended_containers for s in all_)
        told = str(ended) if ended or not any(s.ends_containers for s in all_) else "meant to"
        rows.append(f"{kind:24} {len(all_):5} {gap:21.2f} s {slowest:15.1f} s {told:>17}")
    return "\n".join([*rows, "", *_sums(outcome), *outcome.notes, "", *_judgement(outcome)])


def _sums(outcome: Outcome) -> list[str]:
    record = outcome.record
    told = sum(len(s.told) for s in record.segments)
    done = len(record.acknowledged())
    unknown = sum(w.outcome == "unknown" for w in record.writes)
    refused = len(record.writes) - done - unknown
    return [
        f"faults injected {sum(len(s.strike) for s in outcome.struck)}",
        f"writes acknowledged {done}, refused {refused}, without an answer {unknown}; lists {len(record.reads)}; "
        f"watches {len(record.segments)}, their events {told}",
        f"containers ended by faults that must end none {outcome.ended_containers}",
    ]


def _judgement(outcome: Outcome) -> list[str]:
    if outcome.verdict is None:
        return ["The history is not checked yet.", *(f"- {wrong}" for wrong in outcome.violations)]
    lost, wrong = outcome.verdict.lost, [*outcome.verdict.lost, *outcome.verdict.wrong, *outcome.violations]
    told = [f"VIOLATED ({len(wrong)}):" if wrong else "Every check holds.", *(f"- {w[:600]}" for w in wrong[:20])]
    return [f"writes lost {len(lost)}", *told]
