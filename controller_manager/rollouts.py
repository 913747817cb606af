"""How large each replica set of a deployment should be next. Pure.

https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#strategy . A decision is a list of (replica set,
new size); what is not named keeps its size. `new` is the replica set of the present template, `old` are the others,
oldest first.
"""

import math
from collections.abc import Callable, Iterable, Sequence

from api.types import Deployment, ReplicaSet

Scaling = list[tuple[ReplicaSet, int]]


def size(rs: ReplicaSet) -> int:
    return rs.spec.replicas or 0


def total(replica_sets: Iterable[ReplicaSet]) -> int:
    return sum(map(size, replica_sets))


def running(replica_sets: Iterable[ReplicaSet]) -> int:
    """Pods that exist, whatever the specs say."""
    return sum(rs.status.replicas or 0 for rs in replica_sets)


def available(replica_sets: Iterable[ReplicaSet]) -> int:
    return sum(rs.status.availableReplicas for rs in replica_sets)


def occupied(replica_sets: Iterable[ReplicaSet]) -> int:
    """Pods that are wanted or still there: those of a replica set that was made smaller take room until they go."""
    return sum(max(size(rs), rs.status.replicas or 0) for rs in replica_sets)


def is_settled(rs: ReplicaSet) -> bool:
    """Whether its pods were counted since its size changed last: before that, a former size may still be filled."""
    return rs.status.observedGeneration >= (rs.metadata.generation or 0)


def room(deployment: Deployment, others: Iterable[ReplicaSet]) -> int:
    """How many pods there may be beside those that these have, or may yet have."""
    others = list(others)
    if not all(map(is_settled, others)):
        return 0
    return max(0, _wanted(deployment) + max_surge(deployment) - occupied(others))


def lasting(replica_sets: Iterable[ReplicaSet]) -> int:
    """Available pods that will stay: what a replica set has beyond its size may go any moment."""
    return sum(min(size(rs), rs.status.availableReplicas) for rs in replica_sets)


def with_pods(replica_sets: Iterable[ReplicaSet]) -> list[ReplicaSet]:
    """Those that want pods (upstream: active)."""
    return [rs for rs in replica_sets if size(rs) > 0]


def _wanted(deployment: Deployment) -> int:
    return deployment.spec.replicas or 0


def scaled(value: int | str | None, of: int, *, up: bool) -> int:
    """An IntOrString: itself, or that percentage of `of`, rounded up or down."""
    if value is None:
        return 0
    if isinstance(value, int):
        return value
    part = int(value.removesuffix("%")) * of / 100
    return math.ceil(part) if up else math.floor(part)


def is_rolling(deployment: Deployment) -> bool:
    return deployment.spec.strategy.type == "RollingUpdate"


def _fences(deployment: Deployment) -> tuple[int, int]:
    """(maxSurge, maxUnavailable): the first rounded up, the second down, never both 0, or nothing could move."""
    rolling, wanted = deployment.spec.strategy.rollingUpdate, _wanted(deployment)
    if rolling is None:
        return 0, 1
    surge = scaled(rolling.maxSurge, wanted, up=True)
    unavailable = scaled(rolling.maxUnavailable, wanted, up=False)
    return (surge, unavailable) if surge or unavailable else (0, 1)


def max_surge(deployment: Deployment) -> int:
    return _fences(deployment)[0] if is_rolling(deployment) else 0


def max_unavailable(deployment: Deployment) -> int:
    if not is_rolling(deployment) or not _wanted(deployment):
        return 0
    return min(_fences(deployment)[1], _wanted(deployment))


def size_of_new(deployment: Deployment, others: Sequence[ReplicaSet], current: int) -> int:
    """How large the new replica set may be now, being `current`, beside all others."""
    wanted = _wanted(deployment)
    if not is_rolling(deployment):
        return wanted
    return max(current, min(wanted, room(deployment, others)))


def roll_new(deployment: Deployment, new: ReplicaSet, old: Sequence[ReplicaSet]) -> Scaling:
    """The step of the new replica set in a rolling update."""
    wanted = _wanted(deployment)
    if size(new) == wanted:
        return []
    target = wanted if size(new) > wanted else size_of_new(deployment, old, size(new))
    return [(new, target)] if target != size(new) else []


def roll_old(deployment: Deployment, new: ReplicaSet, old: Sequence[ReplicaSet]) -> Scaling:
    """The step of the old replica sets in a rolling update: first what is broken anyway, then what can be spared."""
    minimum = _wanted(deployment) - max_unavailable(deployment)
    unavailable_new = size(new) - new.status.availableReplicas
    spare = total(old) + size(new) - minimum - unavailable_new
    if total(old) == 0 or spare <= 0:
        return []
    sizes = {rs.metadata.name: size(rs) for rs in old}
    _take(sizes, old, spare, lambda rs: sizes[rs.metadata.name] - rs.status.availableReplicas)
    surplus = lasting([*old, new]) - minimum
    _take(sizes, old, surplus, lambda rs: sizes[rs.metadata.name])
    return [(rs, sizes[rs.metadata.name]) for rs in old if sizes[rs.metadata.name] != size(rs)]


def _take(sizes: dict[str, int], old: Sequence[ReplicaSet], budget: int, limit: Callable[[ReplicaSet], int]) -> None:
    for rs in old:
        count = min(budget, limit(rs), sizes[rs.metadata.name])
        if count > 0:
            sizes[rs.metadata.name] -= count
            budget -= count
