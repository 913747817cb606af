"""The score plug-ins, under upstream's names and weights: 0-100 for each feasible node. Pure.

https://kubernetes.io/docs/reference/scheduling/config/#scheduling-plugins
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from scheduler import inter_pod_affinity, node_affinity, spreading
from scheduler.columns import Floats, Ints
from scheduler.remembering import Rows
from scheduler.resources import CPU, MEMORY
from scheduler.snapshots import HeldTaint, Snapshot
from scheduler.tolerations import tolerates
from scheduler.wishes import Wish

Score = Callable[[Wish, Snapshot, Ints], Ints | None]
"""The points of the rows, or None where the plug-in has nothing to compare."""
Strategy = Callable[[Ints, Ints], Ints]
"""From what would be used and what there is, never 0: 0-100."""

MIB = 2**20
SMALLEST_IMAGE, LARGEST_IMAGE = 23 * MIB, 1000 * MIB


def taint_toleration(wish: Wish, snapshot: Snapshot, rows: Ints) -> Ints | None:
    counts = [_avoided(wish, taints) for taints in snapshot.taints.distinct]
    if not any(counts):
        return None  # the same for all
    avoided = np.array(counts, dtype=np.int64)[snapshot.taints.codes[rows]]
    most = int(avoided.max())
    return 100 - 100 * avoided // most if most else np.full(len(rows), 100, dtype=np.int64)


def _avoided(wish: Wish, taints: object) -> int:
    assert isinstance(taints, tuple)
    held: tuple[HeldTaint, ...] = taints
    return sum(t.effect == "PreferNoSchedule" and not tolerates(wish.tolerations, t) for t in held)


def node_preferences(wish: Wish, snapshot: Snapshot, rows: Ints) -> Ints | None:
    weights = node_affinity.preferred(wish, snapshot)
    if weights is None:
        return None
    chosen = weights[rows]
    most = int(chosen.max())
    return 100 * chosen // most if most else chosen


def least_allocated(used: Ints, capacity: Ints) -> Ints:
    """The more stays free, the better."""
    free: Ints = np.maximum(capacity - used, 0)
    return free * 100 // capacity


def most_allocated(used: Ints, capacity: Ints) -> Ints:
    taken: Ints = np.minimum(used, capacity)
    return taken * 100 // capacity


def requested_to_capacity(shape: Sequence[tuple[int, int]]) -> Strategy:
    """The points of the shape (utilization in percent, 0-10) are joined by straight lines."""
    at, points = np.array([u for u, _ in shape]), np.array([10 * score for _, score in shape])

    def score(used: Ints, capacity: Ints) -> Ints:
        utilization = np.clip(most_allocated(used, capacity), at[0], at[-1])
        if len(at) == 1:
            return np.full(len(used), points[0], dtype=np.int64)
        after = np.clip(np.searchsorted(at, utilization), 1, len(at) - 1)
        x0, x1, y0, y1 = at[after - 1], at[after], points[after - 1], points[after]
        found: Ints = np.trunc(y0 + (y1 - y0) * (utilization - x0) / (x1 - x0)).astype(np.int64)
        return found

    return score


def allocation(strategy: Strategy, weights: Mapping[str, int], *, only_positive: bool = False) -> Score:
    """NodeResourcesFit's score: the weighted mean over resources; unstated requests count as upstream's stand-ins.

    `only_positive`: a resource without a point does not count.
    """

    def valued(wish: Wish, snapshot: Snapshot, rows: Rows) -> Ints:
        there = snapshot.exists[rows]
        points, total = np.zeros(len(there), dtype=np.int64), np.zeros(len(there), dtype=np.int64)
        for resource, weight in weights.items():
            asked = wish.compared.get(resource, 0)
            if resource not in snapshot.allocatable or (not asked and resource not in (CPU, MEMORY)):
                continue
            capacity = snapshot.allocatable[resource][rows]
            column = snapshot.compared.get(resource, snapshot.used.get(resource))
            used = column[rows] + asked if column is not None else np.full(len(there), asked)
            has = capacity > 0
            found = strategy(used, np.where(has, capacity, 1))
            counts = has & (found > 0) if only_positive else has
            points += weight * found * counts
            total += weight * counts
        total = np.maximum(total, 1)
        mean: Ints = np.rint(points / total).astype(np.int64) if only_positive else points // total
        return mean

    def score(wish: Wish, snapshot: Snapshot, rows: Ints) -> Ints:
        asked = tuple(wish.compared.get(resource, 0) for resource in weights)
        found: Ints = snapshot.remembered.get((score, asked), lambda some: valued(wish, snapshot, some))[rows]
        return found

    return score


def balanced_allocation(wish: Wish, snapshot: Snapshot, rows: Ints) -> Ints | None:
    """The more alike the used shares of cpu and memory would be, the better."""
    asked = wish.requests.get(CPU, 0), wish.requests.get(MEMORY, 0)
    if not any(asked):
        return None

    def balance(some: Rows) -> Ints:
        cpu, memory = (_share(amount, snapshot, some, r) for amount, r in zip(asked, (CPU, MEMORY), strict=True))
        return ((1 - np.abs(cpu - memory) / 2) * 100).astype(np.int64)

    found: Ints = snapshot.remembered.get((balanced_allocation, asked), balance)[rows]
    return found


def _share(asked: int, snapshot: Snapshot, rows: Rows, resource: str) -> Floats:
    allocatable = snapshot.allocatable[resource][rows]
    used = snapshot.used[resource][rows] + asked
    return np.minimum(used / np.maximum(allocatable, 1), 1.0)


def image_locality(wish: Wish, snapshot: Snapshot, rows: Ints) -> Ints | None:
    """The bytes of the pod's images that a node has, as far as others have them too: a lone copy draws no herd."""
    held = [snapshot.images[image] for image in wish.images if image in snapshot.images]
    if not held:
        return None
    present = np.zeros(len(snapshot.exists), dtype=np.float64)
    for sizes in held:
        spread = len(sizes) / len(snapshot)
        for row, size in sizes.items():
            present[row] += int(size * spread)
    largest = LARGEST_IMAGE * len(wish.images)
    share = (np.clip(present[rows], SMALLEST_IMAGE, largest) - SMALLEST_IMAGE) / (largest - SMALLEST_IMAGE)
    return (100 * share).astype(np.int64)


SCORES: tuple[tuple[str, int, Score], ...] = (
    ("TaintToleration", 3, taint_toleration),
    ("NodeAffinity", 2, node_preferences),
    ("NodeResourcesFit", 1, allocation(least_allocated, {CPU: 1, MEMORY: 1})),
    ("PodTopologySpread", 2, spreading.score),
    ("InterPodAffinity", 2, inter_pod_affinity.score),
    ("NodeResourcesBalancedAllocation", 1, balanced_allocation),
    ("ImageLocality", 1, image_locality),
)
