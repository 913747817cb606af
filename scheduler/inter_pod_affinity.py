"""Affinity and anti-affinity between pods, over all nodes at once.

https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#inter-pod-affinity-and-anti-affinity
"""

from collections.abc import Callable, Iterator

import numpy as np

from api.labels import Selector
from scheduler.columns import Ints, Mask
from scheduler.crowds import Standing
from scheduler.rejections import Rejection
from scheduler.snapshots import Snapshot
from scheduler.wishes import Term, Wish

HARD_WEIGHT = 1
"""Upstream's hardPodAffinityWeight."""


def rejections(wish: Wish, snapshot: Snapshot) -> Iterator[Rejection]:
    if wish.affinity:
        yield Rejection(~_near(wish, snapshot), "node(s) didn't match pod affinity rules", final=True)
    if wish.anti_affinity:
        met = np.zeros_like(snapshot.exists)
        for term in wish.anti_affinity:
            met |= _around(term, _found(term, snapshot), snapshot) > 0
        yield Rejection(met, "node(s) didn't match pod anti-affinity rules")
    kept = np.zeros_like(snapshot.exists)
    for standing, counts in snapshot.standing.concerning(wish, snapshot.namespaces):
        if standing.excludes:
            kept |= _around(standing.term, counts, snapshot) > 0
    if kept.any():
        yield Rejection(kept, "node(s) didn't satisfy existing pods anti-affinity rules")


def scoring(hard: int, *, only_asked: bool = False) -> Callable[[Wish, Snapshot, Ints], Ints | None]:
    """0-100 for each row by the pod's preferences and those of the pods that run; None if nobody has any.

    `hard` is what the required affinity of a pod that runs is worth; `only_asked`: preferences of those that run are
    nothing to a pod that has none itself.
    """

    def score(wish: Wish, snapshot: Snapshot, rows: Ints) -> Ints | None:
        if only_asked and not wish.preferences:
            return None
        points = np.zeros(len(snapshot.exists), dtype=np.int64)
        for preference in wish.preferences:
            points += preference.weight * _around(preference.term, _found(preference.term, snapshot), snapshot)
        asked = bool(wish.preferences)
        for standing, counts in snapshot.standing.concerning(wish, snapshot.namespaces):
            if weight := hard if standing.draws else standing.weight:
                points += weight * _around(standing.term, counts, snapshot)
                asked = True
        if not asked:
            return None
        chosen = points[rows]
        least, most = int(chosen.min()), int(chosen.max())
        if least == most:
            return np.zeros_like(chosen)
        return (100 * ((chosen - least) / (most - least))).astype(np.int64)

    return score


def _near(wish: Wish, snapshot: Snapshot) -> Mask:
    """The nodes in whose domains are pods that match *all* the terms, as upstream counts them."""
    everything = _all_of(wish.affinity)
    namespaces = frozenset.intersection(*(_namespaces(t, snapshot) for t in wish.affinity))
    counts = snapshot.crowds.total(namespaces, everything)
    near, labelled, met = snapshot.exists.copy(), snapshot.exists.copy(), False
    for term in wish.affinity:
        has = snapshot.labels[term.topology].codes >= 0
        near &= _around(term, counts, snapshot) > 0
        labelled &= has
        met |= bool(counts[has].any())
    if met or not all(_concerns_itself(t, wish, snapshot) for t in wish.affinity):
        return near
    # The first of a group that wants to be together has nobody to join yet, and may go wherever the labels are.
    return labelled


def _concerns_itself(term: Term, wish: Wish, snapshot: Snapshot) -> bool:
    return Standing(term).concerns(wish, snapshot.namespaces)


def _all_of(terms: tuple[Term, ...]) -> Selector:
    return Selector(tuple(r for t in terms for r in t.selector.requirements), any(t.selector.nothing for t in terms))


def _around(term: Term, counts: Ints, snapshot: Snapshot) -> Ints:
    """What each node's domain holds of `counts`."""
    return snapshot.labels[term.topology].sums(counts)


def _found(term: Term, snapshot: Snapshot) -> Ints:
    return snapshot.crowds.total(_namespaces(term, snapshot), term.selector)


def _namespaces(term: Term, snapshot: Snapshot) -> frozenset[str]:
    if term.namespace_selector.nothing:
        return term.namespaces
    chosen = (name for name, labels in snapshot.namespaces.items() if term.namespace_selector.matches(labels))
    return term.namespaces.union(chosen)
