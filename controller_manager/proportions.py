"""Scaling a deployment while it is paused or between two revisions: every replica set gets its share. Pure.

https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#proportional-scaling
"""

import math
from collections.abc import Sequence

from api.types import Deployment, ReplicaSet
from controller_manager.revisions import DESIRED, MAXIMUM, annotated, oldest_first
from controller_manager.rollouts import Scaling, is_rolling, max_surge, room, size, total, with_pods


def is_being_scaled(deployment: Deployment, replica_sets: Sequence[ReplicaSet]) -> bool:
    """Whether the deployment's size changed since its replica sets were last made to fit."""
    seen = (annotated(rs, DESIRED) for rs in with_pods(replica_sets))
    return any(desired is not None and desired != deployment.spec.replicas for desired in seen)


def proportional(deployment: Deployment, new: ReplicaSet | None, old: Sequence[ReplicaSet]) -> Scaling:
    """The sizes that fit the deployment's new size. Each named replica set also gets the size annotations anew.

    None grows by more than what the pods that are there, and are yet to go, leave room for.
    """
    wanted = deployment.spec.replicas or 0
    everyone = [*old, *([new] if new is not None else [])]
    alone = _alone(new, old)
    if alone is not None:
        target = min(wanted, max(size(alone), room(deployment, (rs for rs in everyone if rs is not alone))))
        return [(alone, target)]  # also if it fits: it may remember another size, which it had no room for
    if not everyone:
        return []
    if _is_saturated(deployment, new):
        return [(rs, 0) for rs in with_pods(old)]
    if not is_rolling(deployment):
        return [(rs, size(rs)) for rs in with_pods(everyone)]
    to_add = (wanted + max_surge(deployment) if wanted else 0) - total(everyone)
    if to_add > 0:
        to_add = room(deployment, everyone)
    return _shared_out(deployment, with_pods(everyone), to_add)


def _alone(new: ReplicaSet | None, old: Sequence[ReplicaSet]) -> ReplicaSet | None:
    """The only one with pods, or the latest if none has; None if several have."""
    with_some = with_pods([*old, *([new] if new is not None else [])])
    if len(with_some) == 1:
        return with_some[0]
    if with_some:
        return None
    return new if new is not None else old[-1] if old else None


def _is_saturated(deployment: Deployment, new: ReplicaSet | None) -> bool:
    """Whether the new replica set alone is all that the deployment wants."""
    wanted = deployment.spec.replicas
    return (
        new is not None
        and size(new) == wanted
        and annotated(new, DESIRED) == wanted
        and new.status.availableReplicas == wanted
    )


def _shared_out(deployment: Deployment, active: list[ReplicaSet], to_add: int) -> Scaling:
    # The largest first; of equal ones the newer grows first and the older shrinks first.
    ordered = oldest_first(active)
    if to_add > 0:
        ordered.reverse()
    ordered.sort(key=size, reverse=True)
    targets, added = [], 0
    for rs in ordered:
        share = _share(deployment, rs, to_add, added)
        added += share
        targets.append(size(rs) + share)
    if targets and to_add:
        targets[0] = max(0, targets[0] + to_add - added)  # what rounding left over
    return list(zip(ordered, targets, strict=True))


def _share(deployment: Deployment, rs: ReplicaSet, to_add: int, added: int) -> int:
    """What one replica set may gain or lose, of the part of `to_add` that is not given away yet."""
    if to_add == added:
        return 0
    fraction, allowed = _fraction(deployment, rs), to_add - added
    return min(fraction, allowed) if to_add > 0 else max(fraction, allowed)


def _fraction(deployment: Deployment, rs: ReplicaSet) -> int:
    wanted = deployment.spec.replicas or 0
    if not wanted:
        return -size(rs)
    before = annotated(rs, MAXIMUM) or deployment.status.replicas
    if not before:
        return 0
    target = size(rs) * (wanted + max_surge(deployment)) / before
    return math.floor(target + 0.5) - size(rs)
