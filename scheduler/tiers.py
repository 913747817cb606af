"""What the pods of each priority use of each node: how much room there would be without those of lower ones."""

from collections import Counter
from collections.abc import Callable

import numpy as np

from scheduler.columns import Ints, grown
from scheduler.resources import PODS
from scheduler.wishes import Wish


class Tiers:
    def __init__(self) -> None:
        self._rows = 0
        self._used: dict[int, dict[str, Ints]] = {}
        self._pods: Counter[int] = Counter()

    def change(self, wish: Wish, row: int, by: int) -> None:
        priority = wish.priority
        self._pods[priority] += by
        if not self._pods[priority]:
            del self._pods[priority]
            self._used.pop(priority, None)
            return
        columns = self._used.setdefault(priority, {})
        self._add(columns, PODS, row, by)
        for resource, amount in wish.requests.items():
            self._add(columns, resource, row, by * amount)

    def has_from(self, priority: int) -> bool:
        """Whether there are pods of at least that priority."""
        return any(tier >= priority for tier in self._pods)

    def below(self, priority: int) -> dict[str, Ints]:
        """By resource and row, what pods of lower priorities use; a resource that none of them uses is left out."""
        return self._sums(lambda tier: tier < priority)

    def from_(self, priority: int) -> dict[str, Ints]:
        """The same for those of at least that priority."""
        return self._sums(lambda tier: tier >= priority)

    def below_at(self, priority: int, row: int) -> Counter[str]:
        """What pods of lower priorities use in that row."""
        return self._sum_at(lambda tier: tier < priority, row)

    def from_at(self, priority: int, row: int) -> Counter[str]:
        return self._sum_at(lambda tier: tier >= priority, row)

    def _sum_at(self, chosen: Callable[[int], bool], row: int) -> Counter[str]:
        sums: Counter[str] = Counter()
        for tier, columns in self._used.items():
            if chosen(tier):
                for resource, column in columns.items():
                    sums[resource] += int(column[row])
        return sums

    def _sums(self, chosen: Callable[[int], bool]) -> dict[str, Ints]:
        sums: dict[str, Ints] = {}
        for tier, columns in self._used.items():
            if chosen(tier):
                for resource, column in columns.items():
                    sums[resource] = sums[resource] + column if resource in sums else column
        return sums

    def grow(self, rows: int) -> None:
        self._rows = rows
        for columns in self._used.values():
            for resource, column in columns.items():
                columns[resource] = grown(column, rows)

    def _add(self, columns: dict[str, Ints], resource: str, row: int, amount: int) -> None:
        column = columns.get(resource)
        if column is None:
            column = columns[resource] = np.zeros(self._rows, dtype=np.int64)
        column[row] += amount
