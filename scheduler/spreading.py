"""Pod topology spread. https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/"""

import math
from collections.abc import Iterator

import numpy as np

from api.tolerations import tolerates
from scheduler import node_affinity
from scheduler.columns import Coded, Floats, Ints, Mask
from scheduler.crowds import Crowd
from scheduler.rejections import Rejection
from scheduler.snapshots import HeldTaint, Snapshot
from scheduler.tolerations import REPELLING
from scheduler.wishes import HOSTNAME, Spread, Wish

REASON = "node(s) didn't match pod topology spread constraints"


def rejections(wish: Wish, snapshot: Snapshot) -> Iterator[Rejection]:
    """Hard constraints: no domain may get further ahead of the emptiest one than maxSkew."""
    hard = [s for s in wish.spreads if s.required]
    if not hard:
        return
    labelled = _labelled(hard, snapshot)
    yield Rejection(snapshot.exists & ~labelled, f"{REASON} (missing required label)", final=True)
    for spread in hard:
        column = snapshot.labels[spread.topology]
        eligible = labelled & _eligible(spread, wish, snapshot)
        counts = column.sums(_counts(spread, wish, snapshot), eligible)
        domains = np.unique(column.codes[eligible])
        least = 0
        if len(domains) >= spread.min_domains and len(domains):
            least = int(counts[eligible].min())
        itself = int(spread.selector.matches(wish.labels))
        yield Rejection(labelled & (counts + itself - least > spread.max_skew), REASON)


def score(wish: Wish, snapshot: Snapshot, rows: Ints) -> Ints | None:
    """Soft constraints: 0-100 for each of `rows`, more where fewer of the group are; None without any."""
    soft = [s for s in wish.spreads if not s.required]
    if not soft:
        return None
    # The system's defaults also compare nodes that lack one of the labels; a pod's own constraints leave those out.
    own = not any(spread.default for spread in soft)
    compared = _labelled(soft, snapshot)[rows] if own else np.ones(len(rows), dtype=np.bool_)
    among = _labelled(soft, snapshot) if own else snapshot.exists
    points: Floats = np.zeros(len(rows), dtype=np.float64)
    for spread in soft:
        column = snapshot.labels[spread.topology]
        counts, domains = _found(spread, wish, snapshot, column, among, rows[compared])
        present = column.codes[rows] >= 0
        points += present * (counts[rows] * math.log(domains + 2) + (spread.max_skew - 1))
    return _normalized(np.rint(points).astype(np.int64), compared)


def _found(
    spread: Spread, wish: Wish, snapshot: Snapshot, column: Coded, among: Mask, rows: Ints
) -> tuple[Ints, int]:  # fmt: skip
    """Matching pods in each row's domain, and the number of domains."""
    counts = _counts(spread, wish, snapshot)
    if spread.topology == HOSTNAME:  # a domain is a node: no sums
        return counts, len(rows)
    codes = column.codes[rows]
    eligible = among & _eligible(spread, wish, snapshot)
    return column.sums(counts, eligible), len(np.unique(codes[codes >= 0]))


def _normalized(points: Ints, compared: Mask) -> Ints:
    if not compared.any():
        return np.zeros_like(points)
    most, least = int(points[compared].max()), int(points[compared].min())
    if not most:
        return np.where(compared, 100, 0)
    return np.where(compared, 100 * (most + least - points) // most, 0)


def _counts(spread: Spread, wish: Wish, snapshot: Snapshot) -> Ints:
    return snapshot.crowds.count(Crowd(wish.namespace, spread.selector, living=True))


def _labelled(spreads: list[Spread], snapshot: Snapshot) -> Mask:
    """The nodes that have every label by which these spread."""
    found = snapshot.exists
    for spread in spreads:
        found = found & (snapshot.labels[spread.topology].codes >= 0)
    return found


def _eligible(spread: Spread, wish: Wish, snapshot: Snapshot) -> Mask:
    """The nodes whose pods count: those where the pod could go, as far as the constraint asks for that."""
    eligible = snapshot.exists
    if spread.honor_affinity and (allowed := node_affinity.required(wish, snapshot)) is not None:
        eligible = eligible & allowed
    if spread.honor_taints:
        verdicts = [_admits(wish, taints) for taints in snapshot.taints.distinct]
        eligible = eligible & np.array(verdicts, dtype=np.bool_)[snapshot.taints.codes]
    return eligible


def _admits(wish: Wish, taints: object) -> bool:
    assert isinstance(taints, tuple)
    held: tuple[HeldTaint, ...] = taints
    return all(t.effect not in REPELLING or tolerates(wish.tolerations, t) for t in held)
