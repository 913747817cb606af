import numpy as np
import pytest

from scheduler.columns import Ints
from scheduler.remembering import VECTORS, Remembered, Rows


class Column:
    """Something to remember of, and how many of its rows were looked at."""

    def __init__(self, rows: int) -> None:
        self.values = np.zeros(rows, dtype=np.int64)
        self.looked_at = 0
        self.remembered = Remembered()
        self.remembered.grow(rows)

    def set(self, row: int, value: int) -> None:
        self.values[row] = value
        self.remembered.change(row)

    def doubled(self) -> Ints:
        return self.remembered.get("doubled", self._compute)

    def _compute(self, rows: Rows) -> Ints:
        found: Ints = 2 * self.values[rows]
        self.looked_at += len(found)
        return found


def test_only_what_has_changed_is_looked_at_again() -> None:
    column = Column(1000)
    assert not column.doubled().any()
    for row in (7, 8, 7):
        column.set(row, row)
    assert (column.doubled()[7:9] == (14, 16)).all()
    assert not column.doubled()[9:].any()
    assert column.looked_at == 1002


@pytest.mark.parametrize("changes", [100, 500, 5000])
def test_many_changes_are_seen_as_well_as_few(changes: int) -> None:
    column = Column(1000)
    column.doubled()
    for at in range(changes):
        column.set(at % 1000, at)
    assert (column.doubled() == 2 * column.values).all()


def test_no_more_is_remembered_than_is_worth_it() -> None:
    remembered = Remembered()
    remembered.grow(2)
    asked: list[int] = []

    def value(number: int) -> int:
        def compute(rows: Rows) -> Ints:
            asked.append(number)
            return np.full(2, number)

        return int(remembered.get(number, compute)[0])

    assert [value(n) for n in (*range(VECTORS + 1), VECTORS, 0)] == [*range(VECTORS + 1), VECTORS, 0]
    assert asked == [*range(VECTORS + 1), 0]
