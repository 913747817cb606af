"""Facts about nodes as columns: one number per node, so that a plug-in looks at all nodes at once. No I/O."""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

ABSENT = -1


class Bits:
    """A mask that is kept, at an eighth of its size."""

    __slots__ = ("_bits",)

    def __init__(self, bits: bytes | None = None) -> None:
        """None: every row."""
        self._bits = bits

    @classmethod
    def of(cls, mask: Mask) -> "Bits":
        return cls(np.packbits(mask).tobytes() if mask.any() else b"")

    def __bool__(self) -> bool:
        """Whether any row is in it."""
        return self._bits != b""

    def __contains__(self, row: int) -> bool:
        if self._bits is None:
            return True
        at, bit = divmod(row, 8)
        return at < len(self._bits) and bool(self._bits[at] >> (7 - bit) & 1)


EVERYWHERE = Bits()


def grown(column: Ints, rows: int, fill: int = 0) -> Ints:
    """The column with at least that many rows."""
    if len(column) >= rows:
        return column
    longer = np.full(rows, fill, dtype=np.int64)
    longer[: len(column)] = column
    return longer


class Coded:
    """A label of nodes: each distinct value has a small number, ABSENT where the label is missing."""

    def __init__(self, rows: int) -> None:
        self.codes: Ints = np.full(rows, ABSENT, dtype=np.int64)
        self.values: dict[str, int] = {}

    def set(self, row: int, value: str | None) -> None:
        self.codes[row] = ABSENT if value is None else self.values.setdefault(value, len(self.values))

    def grow(self, rows: int) -> None:
        self.codes = grown(self.codes, rows, ABSENT)

    def having(self, holds: Callable[[str | None], bool]) -> Mask:
        """The rows whose value fulfils the condition, which is asked once for each distinct value."""
        verdicts = np.fromiter((*map(holds, self.values), holds(None)), dtype=np.bool_, count=len(self.values) + 1)
        return verdicts[self.codes]  # ABSENT is -1: the last verdict

    def sums(self, amounts: Ints, among: Mask | None = None) -> Ints:
        """For each row the sum of `amounts` over all rows (`among` them) with the same value; 0 where it is absent."""
        counted = self.codes >= 0
        if among is not None:
            counted = counted & among
        totals = np.bincount(self.codes[counted], weights=amounts[counted], minlength=len(self.values) + 1)
        totals[-1] = 0  # the place that ABSENT reads
        return totals.astype(np.int64)[self.codes]


class Labels:
    """Columns for the labels that someone asked about, kept current from then on."""

    def __init__(self) -> None:
        self._rows = 0
        self._columns: dict[str, Coded] = {}
        self._of: list[Mapping[str, str]] = []

    def __getitem__(self, label: str) -> Coded:
        column = self._columns.get(label)
        if column is None:
            column = self._columns[label] = Coded(self._rows)
            for row, labels in enumerate(self._of):
                column.set(row, labels.get(label))
        return column

    def set(self, row: int, labels: Mapping[str, str]) -> None:
        while row >= len(self._of):
            self._of.append({})
        self._of[row] = labels
        for label, column in self._columns.items():
            column.set(row, labels.get(label))

    def grow(self, rows: int) -> None:
        self._rows = rows
        for column in self._columns.values():
            column.grow(rows)


class Grouped:
    """Facts that many nodes share (taints): each distinct one has a number, and is judged once for all its nodes."""

    def __init__(self) -> None:
        self.codes: Ints = np.zeros(0, dtype=np.int64)
        self.distinct: list[object] = []
        self._numbers: dict[object, int] = {}

    def set(self, row: int, fact: object) -> None:
        number = self._numbers.get(fact)
        if number is None:
            number = self._numbers[fact] = len(self.distinct)
            self.distinct.append(fact)
        self.codes[row] = number

    def grow(self, rows: int) -> None:
        self.codes = grown(self.codes, rows)
