"""What was computed from a node's own columns is computed again only for the nodes that have changed since.

A decision changes one node, and the next pod mostly asks for the same: to value 5,000 nodes anew for it would be nearly
all that it costs.  A vector is remembered by what it was computed for, and depends on nothing else but its row.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from scheduler.columns import Ints

VECTORS = 64
# Beyond that many, to look at the changed rows one by one costs more than to look at all of them.
SHARE = 8
EVERY = slice(None)

Rows = Ints | slice
Compute = Callable[[Rows], npt.NDArray[Any]]
"""The values of these rows."""


class Remembered:
    def __init__(self) -> None:
        self._vectors: OrderedDict[Hashable, tuple[npt.NDArray[Any], int]] = OrderedDict()
        self._changed: list[int] = []
        self._rows = 0

    def grow(self, rows: int) -> None:
        self._rows = rows
        self._forget()

    def change(self, row: int) -> None:
        """Something in that row is different now."""
        self.change_all((row,))

    def change_all(self, rows: Iterable[int]) -> None:
        self._changed.extend(rows)
        if len(self._changed) > 2 * self._rows:
            self._forget()

    def get(self, key: Hashable, compute: Compute) -> npt.NDArray[Any]:
        """The values of all rows. Not to be changed, and valid until the next change."""
        known = self._vectors.pop(key, None)
        if known is None:
            vector = compute(EVERY)
            if len(self._vectors) >= VECTORS:
                self._vectors.popitem(last=False)
        else:
            vector, seen = known
            if seen < len(self._changed):
                rows = {*self._changed[seen:]}
                if len(rows) * SHARE > self._rows:
                    vector = compute(EVERY)
                else:
                    at = np.fromiter(rows, dtype=np.int64, count=len(rows))
                    vector[at] = compute(at)
        self._vectors[key] = (vector, len(self._changed))
        return vector

    def _forget(self) -> None:
        self._vectors.clear()
        self._changed.clear()
