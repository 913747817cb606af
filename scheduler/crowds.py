"""How many pods of some kind are on each node, counted once and kept current.

A pod of a Deployment is compared with the same set of pods as the one before it. So the sets that were asked for are
remembered, and adding a pod adds one to the columns of the sets that it belongs to.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from api.labels import Selector
from api.meta import Key
from scheduler.columns import Ints, grown
from scheduler.filing import Filing
from scheduler.wishes import Term, Wish

REMEMBERED = 512


class Crowd(NamedTuple):
    """Pods of a namespace that match; without those that terminate, if only the living count."""

    namespace: str
    selector: Selector
    living: bool

    def holds(self, wish: Wish) -> bool:
        return not (self.living and wish.terminating) and self.selector.matches(wish.labels)


class Crowds:
    def __init__(self) -> None:
        self._rows = 0
        self._pods: dict[str, dict[Key, tuple[Wish, int]]] = {}  # by namespace: those on a known node
        self._counts: OrderedDict[Crowd, Ints] = OrderedDict()
        self._of: dict[str, Filing[Crowd]] = {}

    def count(self, crowd: Crowd) -> Ints:
        """Pods of the crowd by row. Not to be changed, and valid until the next change of the snapshot."""
        counts = self._counts.get(crowd)
        if counts is not None:
            self._counts.move_to_end(crowd)
            return counts
        counts = np.zeros(self._rows, dtype=np.int64)
        for wish, row in self._pods.get(crowd.namespace, {}).values():
            if crowd.holds(wish):
                counts[row] += 1
        self._counts[crowd] = counts
        self._of.setdefault(crowd.namespace, Filing()).add(crowd, crowd.selector)
        if len(self._counts) > REMEMBERED:
            oldest, _ = self._counts.popitem(last=False)
            self._of[oldest.namespace].remove(oldest, oldest.selector)
        return counts

    def total(self, namespaces: Iterable[str], selector: Selector) -> Ints:
        """Pods that match in any of the namespaces, terminating ones too, by row."""
        counts = np.zeros(self._rows, dtype=np.int64)
        for namespace in namespaces:
            counts += self.count(Crowd(namespace, selector, living=False))
        return counts

    def add(self, wish: Wish, row: int) -> None:
        self._pods.setdefault(wish.namespace, {})[wish.key] = (wish, row)
        self._change(wish, row, 1)

    def remove(self, wish: Wish, row: int) -> None:
        pods = self._pods[wish.namespace]
        del pods[wish.key]
        if not pods:
            del self._pods[wish.namespace]
        self._change(wish, row, -1)

    def grow(self, rows: int) -> None:
        self._rows = rows
        for crowd, counts in self._counts.items():
            self._counts[crowd] = grown(counts, rows)

    def _change(self, wish: Wish, row: int, by: int) -> None:
        if (filed := self._of.get(wish.namespace)) is not None:
            for crowd in filed.find(wish.labels):
                if crowd.holds(wish):
                    self._counts[crowd][row] += by


class Standing(NamedTuple):
    """A term of pods that run already."""

    term: Term
    weight: int = 0
    """Of a preference: what it is worth to draw others, or less than nothing if it keeps them away."""
    draws: bool = False
    """It is required affinity; what that is worth to others is each profile's to say."""

    @property
    def excludes(self) -> bool:
        """It is required anti-affinity, which keeps others away."""
        return not self.weight and not self.draws

    def concerns(self, wish: Wish, namespaces: Mapping[str, Mapping[str, str]]) -> bool:
        """Whether the term speaks of this pod."""
        term = self.term
        if wish.namespace not in term.namespaces and not term.namespace_selector.matches(
            namespaces.get(wish.namespace, {})
        ):
            return False
        return term.selector.matches(wish.labels)


class StandingTerms:
    """The terms of the pods on nodes, and how many pods of each node have them."""

    def __init__(self) -> None:
        self._rows = 0
        self._counts: dict[Standing, Ints] = {}
        self._uses: dict[Standing, int] = {}
        self._filed: Filing[Standing] = Filing()

    def concerning(self, wish: Wish, namespaces: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[Standing, Ints]]:
        """Those that speak of this pod, with their pods by row."""
        for standing in self._filed.find(wish.labels):
            if standing.concerns(wish, namespaces):
                yield standing, self._counts[standing]

    def change(self, wish: Wish, row: int, by: int) -> None:
        for standing in _standing(wish):
            counts = self._counts.get(standing)
            if counts is None:
                counts = self._counts[standing] = np.zeros(self._rows, dtype=np.int64)
                self._filed.add(standing, standing.term.selector)
            counts[row] += by
            self._uses[standing] = self._uses.get(standing, 0) + by
            if not self._uses[standing]:
                del self._uses[standing], self._counts[standing]
                self._filed.remove(standing, standing.term.selector)

    def grow(self, rows: int) -> None:
        self._rows = rows
        for standing, counts in self._counts.items():
            self._counts[standing] = grown(counts, rows)


def _standing(wish: Wish) -> Iterable[Standing]:
    for term in wish.anti_affinity:
        yield Standing(term)
    for term in wish.affinity:
        yield Standing(term, draws=True)
    for preference in wish.preferences:
        yield Standing(preference.term, preference.weight)
