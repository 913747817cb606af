"""The score plug-ins, under upstream's names and weights: 0-100 for each feasible node. Pure.

https://kubernetes.io/docs/reference/scheduling/config/#scheduling-plugins
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from api.tolerations import tolerates
from api.types import NodeAffinity
from scheduler import inter_pod_affinity, node_affinity, spreading
from scheduler.columns import Ints
from scheduler.remembering import Rows
from scheduler.resources import CPU, MEMORY
from scheduler.snapshots import HeldTaint, Snapshot
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


def node_preferences_with(added: NodeAffinity | None) -> Score:
    """With what a profile's NodeAffinityArgs prefer for every pod."""

    def score(wish: Wish, snapshot: Snapshot, rows: Ints) -> Ints | None:
        weights = node_affinity.preferred(wish, snapshot, added)
        if weights is None:
            return None
        chosen = weights[rows]
        most = int(chosen.max())
        return 100 * chosen // most if most else chosen

    return score


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


def balance(resources: Sequence[str]) -> Score:
    """The more alike the used shares of the resources would be, the better."""

    def balanced(asked: Sequence[int], snapshot: Snapshot, rows: Rows) -> Ints:
        exists = snapshot.exists[rows]
        shares = np.zeros((len(resources), len(exists)))
        counts = np.zeros((len(resources), len(exists)), dtype=np.bool_)
        for at, (resource, amount) in enumerate(zip(resources, asked, strict=True)):
            if (there := snapshot.allocatable.get(resource)) is not None:
                used = snapshot.used.get(resource)
                capacity, wanted = there[rows], amount if used is None else used[rows] + amount
                counts[at] = capacity > 0
                shares[at] = np.minimum(wanted / np.maximum(capacity, 1), 1.0) * counts[at]
        if len(resources) == 2:
            deviation = np.abs(shares[0] - shares[1]) / 2 * counts.all(axis=0)
        else:
            number = np.maximum(counts.sum(axis=0), 1)
            apart = (shares - shares.sum(axis=0) / number) * counts
            deviation = np.sqrt((apart * apart).sum(axis=0) / number)
        points: Ints = ((1 - deviation) * 100).astype(np.int64)
        return points

    def score(wish: Wish, snapshot: Snapshot, rows: Ints) -> Ints | None:
        asked = tuple(wish.requests.get(resource, 0) for resource in resources)
        if not any(asked):
            return None  # pods without requests would all go to one node
        found: Ints = snapshot.remembered.get((score, asked), lambda some: balanced(asked, snapshot, some))[rows]
        return found

    return score


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


def device_alternatives(wish: Wish, snapshot: Snapshot, rows: Ints) -> Ints | None:
    if not wish.pod.spec.resourceClaims:
        return None
    from scheduler import resource_claims

    return resource_claims.score(wish, snapshot, rows)


SCORES: tuple[tuple[str, int, Score], ...] = (
    ("TaintToleration", 3, taint_toleration),
    ("NodeAffinity", 2, node_preferences_with(None)),
    ("NodeResourcesFit", 1, allocation(least_allocated, {CPU: 1, MEMORY: 1})),
    ("PodTopologySpread", 2, spreading.score),
    ("InterPodAffinity", 2, inter_pod_affinity.scoring(inter_pod_affinity.HARD_WEIGHT)),
    ("DynamicResources", 2, device_alternatives),
    ("NodeResourcesBalancedAllocation", 1, balance((CPU, MEMORY))),
    ("ImageLocality", 1, image_locality),
)
