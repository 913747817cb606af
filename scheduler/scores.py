"""The score plug-ins, under upstream's names and weights: 0-100 for each feasible node. Pure.

https://kubernetes.io/docs/reference/scheduling/config/#scheduling-plugins
"""

from collections.abc import Callable

import numpy as np

from scheduler import inter_pod_affinity, node_affinity, spreading
from scheduler.columns import Floats, Ints
from scheduler.resources import CPU, MEMORY
from scheduler.snapshots import HeldTaint, Snapshot
from scheduler.tolerations import tolerates
from scheduler.wishes import Wish

Score = Callable[[Wish, Snapshot, Ints], Ints | None]
"""The points of the rows, or None where the plug-in has nothing to compare."""

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


def least_allocated(wish: Wish, snapshot: Snapshot, rows: Ints) -> Ints:
    """The more of cpu and memory stays free, the better; unstated requests count as upstream's stand-ins."""
    points = np.zeros(len(rows), dtype=np.int64)
    weights = np.zeros(len(rows), dtype=np.int64)
    for resource in (CPU, MEMORY):
        allocatable = snapshot.allocatable[resource][rows]
        free = allocatable - snapshot.compared[resource][rows] - wish.compared.get(resource, 0)
        has = allocatable > 0
        points += np.maximum(free, 0) * 100 // np.where(has, allocatable, 1)
        weights += has
    return points // np.maximum(weights, 1)


def balanced_allocation(wish: Wish, snapshot: Snapshot, rows: Ints) -> Ints | None:
    """The more alike the used shares of cpu and memory would be, the better."""
    if not wish.requests.get(CPU) and not wish.requests.get(MEMORY):
        return None
    cpu, memory = (_share(wish, snapshot, rows, resource) for resource in (CPU, MEMORY))
    return ((1 - np.abs(cpu - memory) / 2) * 100).astype(np.int64)


def _share(wish: Wish, snapshot: Snapshot, rows: Ints, resource: str) -> Floats:
    allocatable = snapshot.allocatable[resource][rows]
    used = snapshot.used[resource][rows] + wish.requests.get(resource, 0)
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
    ("NodeResourcesFit", 1, least_allocated),
    ("PodTopologySpread", 2, spreading.score),
    ("InterPodAffinity", 2, inter_pod_affinity.score),
    ("NodeResourcesBalancedAllocation", 1, balanced_allocation),
    ("ImageLocality", 1, image_locality),
)
