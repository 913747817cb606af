"""What extenders have said of nodes, as a decision is given it. Pure."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from scheduler.columns import Ints
from scheduler.rejections import Rejection
from scheduler.snapshots import Snapshot


class Failed(Exception):
    """An extender that is not ignorable has not answered, or with an error."""


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
    points: Counter[str] = field(default_factory=Counter)

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
        return np.array([self.points[snapshot.names[row]] for row in rows], dtype=np.int64)
