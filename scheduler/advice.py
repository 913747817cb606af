"""What extenders have said of nodes, as a decision is given it. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from scheduler.columns import Ints
from scheduler.rejections import Rejection
from scheduler.snapshots import Snapshot


class Failed(Exception):
    """An extender has not answered, or with an error."""

    def __init__(self, message: str, by: str) -> None:
        super().__init__(message)
        self.by = by


class Refusal(NamedTuple):
    by: str
    reason: str
    final: bool = False
    """That pods go from the node would not help."""


@dataclass(slots=True)
class Advice:
    allowed: frozenset[str]
    """Of the nodes that were asked about; all others are out of the question, unless a plug-in rejects them anyway."""
    refused: dict[str, Refusal] = field(default_factory=dict)
    points: dict[str, Mapping[str, int]] = field(default_factory=dict)
    """By extender, what nodes are worth to it."""
    preempts: bool = False
    """There is one that has to be asked who may be preempted."""

    def rejections(self, snapshot: Snapshot) -> Iterator[tuple[str, Rejection]]:
        """With the name of the extender."""
        left = snapshot.exists.copy()
        left[[snapshot.rows[name] for name in self.allowed if name in snapshot.rows]] = False
        by_refusal: dict[Refusal, list[int]] = {}
        for name, refusal in self.refused.items():
            if (row := snapshot.rows.get(name)) is not None:
                by_refusal.setdefault(refusal, []).append(row)
        for refusal, rows in by_refusal.items():
            rejected = np.zeros_like(left)
            rejected[rows] = True
            left &= ~rejected
            yield refusal.by, Rejection(rejected, refusal.reason, final=refusal.final)
        if left.any():  # they came, or became feasible, while the extenders were asked
            yield "", Rejection(left, "node(s) were not known to the extenders yet")

    def scores(self, snapshot: Snapshot, rows: Ints) -> Ints:
        names = [snapshot.names[row] for row in rows]
        return np.array([sum(p.get(name, 0) for p in self.points.values()) for name in names], dtype=np.int64)
