"""What clients were told about some ConfigMaps, held against what etcd says has happened. Pure.

All clients share one clock, and etcd numbers every change, so there is nothing to search for: an operation that began
after another was acknowledged must come later in that numbering, and a read must tell a state that was still true when
it was asked.
"""

import bisect
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["acknowledged", "refused", "unknown"]


@dataclass(frozen=True, slots=True)
class Change:
    """As etcd tells it. Without a token the object was deleted; `before` is the revision that stood there, or 0."""

    revision: int
    name: str
    token: str
    before: int

    @property
    def type(self) -> str:
        return "DELETED" if not self.token else "MODIFIED" if self.before else "ADDED"


@dataclass(frozen=True, slots=True)
class Write:
    """Of `token`, which nobody else writes, in the place of what stood at revision `expected` (0: of nothing).

    Without a token it deletes. `revision` is what the answer told, 0 if it told none.
    """

    client: str
    name: str
    token: str
    expected: int
    begun: float
    ended: float
    outcome: Outcome
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Read:
    """The whole list: the revision of each object by its name, and of the list."""

    client: str
    begun: float
    ended: float
    revision: int
    objects: dict[str, int]


@dataclass(slots=True)
class Segment:
    """What one watch told after revision `since`; `until` is the last revision that it has told of, bookmarks too."""

    client: str
    since: int
    until: int
    told: list[tuple[str, str, int]] = field(default_factory=list)


@dataclass(slots=True)
class Record:
    writes: list[Write] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)

    def acknowledged(self) -> list[Write]:
        return [w for w in self.writes if w.outcome == "acknowledged"]


@dataclass(slots=True)
class Verdict:
    lost: list[str] = field(default_factory=list)
    """Writes that were acknowledged and did not happen."""
    wrong: list[str] = field(default_factory=list)
    """All else that must not be."""

    @property
    def holds(self) -> bool:
        return not self.lost and not self.wrong


def check(changes: list[Change], record: Record) -> Verdict:
    """`changes` in etcd's order, without a hole from the first write to the last."""
    verdict = Verdict(lost=[*_lost(changes, record)])
    verdict.wrong += _unasked(changes, record)
    verdict.wrong += _out_of_order(record)
    verdict.wrong += _stale_reads(changes, record)
    verdict.wrong += _holes(changes, record)
    return verdict


def _lost(changes: list[Change], record: Record) -> Iterator[str]:
    at = {change.revision: change for change in changes}
    deleted = {(c.name, c.before) for c in changes if not c.token}
    for write in record.acknowledged():
        if not write.token:
            if (write.name, write.expected) not in deleted:
                yield f"{write} never happened"
            continue
        change = at.get(write.revision)
        if change is None or (change.name, change.token) != (write.name, write.token):
            yield f"{write} never happened: {change}"
        elif change.before != write.expected:
            yield f"{write} overwrote {change.before}"


def _unasked(changes: list[Change], record: Record) -> Iterator[str]:
    """Changes that no client has asked for, asked for otherwise, was refused, or that happened twice."""
    asked = {w.token: w for w in record.writes if w.token}
    deletions = {(w.name, w.expected) for w in record.writes if not w.token and w.outcome != "refused"}
    times = Counter(c.token for c in changes if c.token)
    yield from (f"{token} was written {count} times" for token, count in times.items() if count > 1)
    for change in changes:
        if not change.token:
            if (change.name, change.before) not in deletions:
                yield f"nobody was told that this may happen: {change}"
            continue
        write = asked.get(change.token)
        if write is None or write.outcome == "refused":
            yield f"{change} happened, though {write}"
        elif (write.name, write.expected) != (change.name, change.before):
            yield f"{change} is not what was asked for: {write}"
    twice = Counter((w.name, w.expected) for w in record.acknowledged() if w.expected)
    yield from (f"{what} was replaced {count} times" for what, count in twice.items() if count > 1)


class Floor:
    """The highest revision that anybody was told of by a moment."""

    def __init__(self, told: Iterable[tuple[float, int]]) -> None:
        self._times: list[float] = []
        self._highest: list[int] = []
        for time, revision in sorted(told):
            self._times.append(time)
            self._highest.append(max(revision, self._highest[-1] if self._highest else 0))

    def at(self, time: float) -> int:
        before = bisect.bisect_left(self._times, time)
        return self._highest[before - 1] if before else 0


def _floor(record: Record) -> Floor:
    writes = ((w.ended, w.revision) for w in record.acknowledged())
    return Floor([*writes, *((r.ended, r.revision) for r in record.reads)])


def _out_of_order(record: Record) -> Iterator[str]:
    floor = _floor(record)
    for write in record.acknowledged():
        if write.token and write.revision <= floor.at(write.begun):
            yield f"{write} is older than what was told before it began: {floor.at(write.begun)}"


def _stale_reads(changes: list[Change], record: Record) -> Iterator[str]:
    """Each list is what stood there at its revision, which is not older than what anybody was told before.

    So no client's reads go backwards either.
    """
    floor = _floor(record)
    versions: dict[str, list[int]] = defaultdict(list)
    gone = {c.revision for c in changes if not c.token}
    for change in changes:
        versions[change.name].append(change.revision)

    def stood(revision: int) -> dict[str, int]:
        found = {}
        for name, all_ in versions.items():
            before = bisect.bisect_right(all_, revision)
            if before and all_[before - 1] not in gone:
                found[name] = all_[before - 1]
        return found

    for read in record.reads:
        if read.revision < floor.at(read.begun):
            yield f"{read} is older than what was told before it began: {floor.at(read.begun)}"
        if read.objects != stood(read.revision):
            yield f"{read} should have told {stood(read.revision)}"


def _holes(changes: list[Change], record: Record) -> Iterator[str]:
    revisions = [c.revision for c in changes]
    for segment in record.segments:
        bounds = (bisect.bisect_right(revisions, revision) for revision in (segment.since, segment.until))
        there = [(c.type, c.name, c.revision) for c in changes[slice(*bounds)]]
        if segment.told != there:
            missed, more = sorted({*there} - {*segment.told}), sorted({*segment.told} - {*there})
            yield f"{segment.client} watched {segment.since}–{segment.until}: missed {missed}, made up {more}"


def longest_gap(writes: Iterable[Write], begun: float, ended: float) -> float:
    """The longest time (seconds) for which a writer had no definite answer, of those that touch this stretch.

    To be asked when the stretch is over: who has not been answered since then had none until its end at least.
    """
    answers: dict[str, list[float]] = defaultdict(list)
    for write in writes:
        if write.outcome != "unknown":
            answers[write.client].append(write.ended)
    longest = 0.0
    for times in answers.values():
        for first, second in itertools.pairwise([*times, max(ended, times[-1])]):
            if second >= begun and first <= ended:
                longest = max(longest, second - first)
    return longest
