"""The filter plug-ins, under upstream's names and with its reasons: each judges all nodes at once. Pure.

https://kubernetes.io/docs/reference/scheduling/config/#scheduling-plugins . A filter answers with no rejection at all
where it has nothing to say, so that a plain pod pays for no more than its resources and the taints.
"""

from collections.abc import Callable, Collection, Iterator

import numpy as np
import numpy.typing as npt

from api.tolerations import tolerates
from api.types import NodeAffinity
from scheduler import inter_pod_affinity, node_affinity, spreading, volume_limits, volumes
from scheduler.columns import Mask
from scheduler.rejections import Rejection
from scheduler.remembering import Rows
from scheduler.resources import PODS
from scheduler.snapshots import HeldTaint, Snapshot
from scheduler.tolerations import REPELLING, UNSCHEDULABLE
from scheduler.wishes import Wish

Filter = Callable[[Wish, Snapshot], Iterator[Rejection]]
Asked = tuple[tuple[str, int], ...]


def node_unschedulable(wish: Wish, snapshot: Snapshot) -> Iterator[Rejection]:
    if snapshot.unschedulable.any() and not tolerates(wish.tolerations, UNSCHEDULABLE):
        yield Rejection(snapshot.unschedulable, "node(s) were unschedulable", final=True)


def node_name(wish: Wish, snapshot: Snapshot) -> Iterator[Rejection]:
    if name := wish.pod.spec.nodeName:
        others = snapshot.exists.copy()
        if name in snapshot.rows:
            others[snapshot.rows[name]] = False
        yield Rejection(others, "node(s) didn't match the requested node name", final=True)


def taint_toleration(wish: Wish, snapshot: Snapshot) -> Iterator[Rejection]:
    repelled = untolerated(wish, snapshot)
    if repelled is not None:
        yield Rejection(repelled, "node(s) had untolerated taint(s)", final=True)


def untolerated(wish: Wish, snapshot: Snapshot) -> Mask | None:
    """The nodes with a taint that keeps the pod away; None if there is none."""
    verdicts = [_repels(wish, taints) for taints in snapshot.taints.distinct]
    return np.array(verdicts, dtype=np.bool_)[snapshot.taints.codes] if any(verdicts) else None


def _repels(wish: Wish, taints: object) -> bool:
    assert isinstance(taints, tuple)
    held: tuple[HeldTaint, ...] = taints
    return any(t.effect in REPELLING and not tolerates(wish.tolerations, t) for t in held)


def named_nodes(wish: Wish, snapshot: Snapshot) -> Iterator[Rejection]:
    """What NodeAffinity says before any filter: only the nodes that the pod names are looked at, and whatever else may
    be wrong with the others is not said."""
    names = node_affinity.named(wish)
    if names is None:
        return
    if not names:
        yield Rejection(snapshot.exists, "pod affinity terms conflict", final=True, whole=True)
        return
    others = snapshot.exists.copy()
    others[[snapshot.rows[name] for name in names if name in snapshot.rows]] = False
    if others.any():
        yield Rejection(others, "node(s) didn't satisfy plugin(s) [NodeAffinity]", final=True)


def node_selection(wish: Wish, snapshot: Snapshot) -> Iterator[Rejection]:
    allowed = node_affinity.required(wish, snapshot)
    if allowed is not None:
        yield Rejection(~allowed, "node(s) didn't match Pod's node affinity/selector", final=True)


def node_selection_with(added: NodeAffinity) -> Filter:
    """With what a profile's NodeAffinityArgs require of every node."""

    def judge(wish: Wish, snapshot: Snapshot) -> Iterator[Rejection]:
        if (required := added.requiredDuringSchedulingIgnoredDuringExecution) is not None:
            allowed = node_affinity.any_of(required, snapshot)
            yield Rejection(
                snapshot.exists & ~allowed, "node(s) didn't match scheduler-enforced node affinity", final=True
            )
        yield from node_selection(wish, snapshot)

    return judge


def node_ports(wish: Wish, snapshot: Snapshot) -> Iterator[Rejection]:
    if not wish.host_ports:
        return
    taken = np.zeros_like(snapshot.exists)
    every = "0.0.0.0"  # noqa: S104
    for port in wish.host_ports:
        for row, addresses in snapshot.ports.get((port.protocol, port.port), {}).items():
            if port.address == every or port.address in addresses or every in addresses:
                taken[row] = True
    yield Rejection(taken, "node(s) didn't have free ports for the requested pod ports")


ENOUGH, SHORT, NEVER = 0, 1, 2  # of a resource on a node


def node_resources_fit(wish: Wish, snapshot: Snapshot) -> Iterator[Rejection]:
    return _fit(needed(wish), snapshot)


def resources_fit(ignored: Collection[str], groups: Collection[str]) -> Filter:
    """Without a look at these extended resources, and at those of these groups."""

    def judge(wish: Wish, snapshot: Snapshot) -> Iterator[Rejection]:
        def counts(resource: str) -> bool:
            group, slash, _ = resource.partition("/")
            return not (slash and (resource in ignored or group in groups))

        return _fit(tuple((resource, amount) for resource, amount in needed(wish) if counts(resource)), snapshot)

    return judge


def needed(wish: Wish) -> Asked:
    return tuple((resource, amount) for resource, amount in wish.requests.items() if amount)


def _fit(asked: Asked, snapshot: Snapshot) -> Iterator[Rejection]:
    lacking = snapshot.remembered.get(asked, lambda rows: _lacking(asked, snapshot, rows))
    if not lacking.any():
        return
    yield Rejection(lacking[:, 0] == SHORT, "Too many pods")
    for at, (resource, _) in enumerate(asked, 1):
        yield Rejection(lacking[:, at] == SHORT, f"Insufficient {resource}")
        yield Rejection(lacking[:, at] == NEVER, f"Insufficient {resource}", final=True)


def _lacking(asked: Asked, snapshot: Snapshot, rows: Rows) -> npt.NDArray[np.int8]:
    """For each row, what there is not enough of: pods, and then what was asked for."""
    exists = snapshot.exists[rows]
    found = np.zeros((len(exists), 1 + len(asked)), dtype=np.int8)
    found[:, 0] = snapshot.used[PODS][rows] >= snapshot.allocatable[PODS][rows]
    for at, (resource, amount) in enumerate(asked, 1):
        there, used = snapshot.allocatable.get(resource), snapshot.used.get(resource)
        if there is None:
            found[:, at] = NEVER
            continue
        never = there[rows] < amount
        found[:, at] = never if used is None else there[rows] - used[rows] < amount
        found[:, at] += never
    found *= exists[:, None]
    return found


def dynamic_resources(wish: Wish, snapshot: Snapshot) -> Iterator[Rejection]:
    if wish.pod.spec.resourceClaims:
        # Imported only here: what allocates devices costs memory that clusters without them do not want to spend.
        from scheduler import resource_claims

        yield from resource_claims.rejections(wish, snapshot)


# In upstream's order: a node counts under the first filter that rejects it.
FILTERS: tuple[tuple[str, Filter], ...] = (
    ("NodeUnschedulable", node_unschedulable),
    ("NodeName", node_name),
    ("TaintToleration", taint_toleration),
    ("NodeAffinity", node_selection),
    ("NodePorts", node_ports),
    ("NodeResourcesFit", node_resources_fit),
    ("VolumeRestrictions", volumes.restrictions),
    ("NodeVolumeLimits", volume_limits.rejections),
    ("VolumeBinding", volumes.binding),
    ("VolumeZone", volumes.zones),
    ("PodTopologySpread", spreading.rejections),
    ("InterPodAffinity", inter_pod_affinity.rejections),
    ("DynamicResources", dynamic_resources),
)
