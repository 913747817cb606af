"""What a deployment's status says: counts, and the conditions Available, Progressing and ReplicaFailure. Pure.

https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#deployment-status
"""

from collections.abc import Sequence
from typing import Any

from api import meta, times
from api.types import Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet
from controller_manager.rollouts import available, max_unavailable, running, total

NEW_AVAILABLE = "NewReplicaSetAvailable"
TIMED_OUT = "ProgressDeadlineExceeded"
PAUSED = "DeploymentPaused"


def has_deadline(deployment: Deployment) -> bool:
    """2³¹ − 1 seconds mean: none."""
    return deployment.spec.progressDeadlineSeconds not in (None, 2**31 - 1)


def condition(kind: str, status: str, reason: str, message: str, now: float) -> DeploymentCondition:
    at = times.format(now)
    return DeploymentCondition(
        type=kind, status=status, reason=reason, message=message, lastUpdateTime=at, lastTransitionTime=at
    )


def put(status: DeploymentStatus, new: DeploymentCondition) -> None:
    """Put the condition in the place of its type, unless it says what is said already.

    `lastUpdateTime` is when the deadline of progress began, so an unchanged reason must leave it alone.
    """
    old = find(status, new.type)
    if old is not None and (old.status, old.reason) == (new.status, new.reason):
        return
    if old is not None and old.status == new.status:
        new.lastTransitionTime = old.lastTransitionTime
    drop(status, new.type)
    status.conditions.append(new)


def drop(status: DeploymentStatus, kind: str) -> None:
    status.conditions = [c for c in status.conditions if c.type != kind]


def find(status: DeploymentStatus, kind: str) -> DeploymentCondition | None:
    return next((c for c in status.conditions if c.type == kind), None)


def calculate(
    deployment: Deployment, new: ReplicaSet | None, old: Sequence[ReplicaSet], now: float
) -> DeploymentStatus:
    """The counts and Available; the other conditions as they are."""
    everyone = [*old, *([new] if new is not None else [])]
    ready_now = available(everyone)
    status = meta.clone(deployment.status)
    status.observedGeneration = deployment.metadata.generation or 0
    status.replicas = running(everyone)
    status.updatedReplicas = running([new] if new is not None else [])
    status.readyReplicas = sum(rs.status.readyReplicas for rs in everyone)
    status.availableReplicas = ready_now
    status.unavailableReplicas = max(0, total(everyone) - ready_now)
    known = [rs.status.terminatingReplicas for rs in everyone if rs.status.terminatingReplicas is not None]
    status.terminatingReplicas = sum(known) if len(known) == len(everyone) else None
    if ready_now >= (deployment.spec.replicas or 0) - max_unavailable(deployment):
        said = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    else:
        said = ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    put(status, condition("Available", *said, now))
    return status


def is_complete(deployment: Deployment, status: DeploymentStatus) -> bool:
    wanted = deployment.spec.replicas
    return (
        status.updatedReplicas == wanted
        and status.replicas == wanted
        and status.availableReplicas == wanted
        and status.observedGeneration >= (deployment.metadata.generation or 0)
    )


def has_progressed(before: DeploymentStatus, after: DeploymentStatus) -> bool:
    """Whether new pods came, became ready or available, or old ones went."""
    return (
        after.updatedReplicas > before.updatedReplicas
        or after.replicas - after.updatedReplicas < before.replicas - before.updatedReplicas
        or after.readyReplicas > before.readyReplicas
        or after.availableReplicas > before.availableReplicas
    )


def time_left(deployment: Deployment, status: DeploymentStatus, now: float) -> float | None:
    """Seconds until progress is overdue, 0 if it is; None if nothing is expected to happen."""
    progressing = find(status, "Progressing")
    if progressing is None or not has_deadline(deployment) or progressing.reason == NEW_AVAILABLE:
        return None
    if progressing.reason == TIMED_OUT:
        return 0.0
    since = times.parse(progressing.lastUpdateTime)
    return max(0.0, since + (deployment.spec.progressDeadlineSeconds or 0) - now)


def note_rollout(
    deployment: Deployment, status: DeploymentStatus, new: ReplicaSet | None, old: Sequence[ReplicaSet], now: float
) -> None:
    """Bring Progressing and ReplicaFailure of a calculated `status` up to date."""
    if not has_deadline(deployment):
        drop(status, "Progressing")
    else:
        _note_progress(deployment, status, new, now)
    failure = _failure([*([new] if new is not None else []), *old])
    if failure is not None:
        put(status, failure)
    else:
        drop(status, "ReplicaFailure")


def _note_progress(deployment: Deployment, status: DeploymentStatus, new: ReplicaSet | None, now: float) -> None:
    current = find(deployment.status, "Progressing")
    if current is not None and current.reason == NEW_AVAILABLE and status.replicas == status.updatedReplicas:
        return  # a finished rollout: pods that come and go now are no rollout
    what = f'ReplicaSet "{new.metadata.name}"' if new is not None else f'Deployment "{deployment.metadata.name}"'
    if is_complete(deployment, status):
        message = f"{what} has successfully progressed."
        put(status, condition("Progressing", "True", NEW_AVAILABLE, message, now))
    elif has_progressed(deployment.status, status):
        progressing = condition("Progressing", "True", "ReplicaSetUpdated", f"{what} is progressing.", now)
        if current is not None and current.status == "True":
            progressing.lastTransitionTime = current.lastTransitionTime
        drop(status, "Progressing")  # even if it says the same: the deadline begins anew
        put(status, progressing)
    elif time_left(deployment, status, now) == 0:
        message = f"{what} has timed out progressing."
        put(status, condition("Progressing", "False", TIMED_OUT, message, now))


def _failure(replica_sets: Sequence[ReplicaSet]) -> DeploymentCondition | None:
    """The first ReplicaFailure of these, as the deployment's."""
    failures: list[Any] = [f for rs in replica_sets if (f := meta.condition(rs, "ReplicaFailure")) is not None]
    if not failures:
        return None
    f = failures[0]
    return DeploymentCondition(
        type=f.type, status=f.status, reason=f.reason, message=f.message, lastUpdateTime=f.lastTransitionTime,
        lastTransitionTime=f.lastTransitionTime,
    )  # fmt: skip


def note_pause(deployment: Deployment, status: DeploymentStatus, now: float) -> bool:
    """Bring Progressing in line with `spec.paused`; whether it changed."""
    current = find(status, "Progressing")
    if not has_deadline(deployment) or (current is not None and current.reason == TIMED_OUT):
        return False
    noted = current is not None and current.reason == PAUSED
    if bool(deployment.spec.paused) == noted:
        return False
    reason, message = (PAUSED, "Deployment is paused") if not noted else ("DeploymentResumed", "Deployment is resumed")
    put(status, condition("Progressing", "Unknown", reason, message, now))
    return True
