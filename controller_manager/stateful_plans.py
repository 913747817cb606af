"""What a stateful set does next. Pure.

https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#deployment-and-scaling-guarantees . In order
(OrderedReady) one thing is done at a time: a pod is created when all before it are available, and deleted when all
after it are gone. In parallel everything is done at once. Either way:
- a name is free only when its old pod is gone from the API: one that terminates, or is unknown on a lost node, is
  waited for;
- creating and scaling come before updating;
- an update deletes from the highest ordinal down and keeps to maxUnavailable; in order, it waits for every pod, so one
  that never becomes ready stops it until somebody deletes that pod (upstream documents this as forced rollback).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from api.types import Pod, RollingUpdateStatefulSetStrategy, StatefulSet, StatefulSetStatus
from controller_manager import stateful_pods
from controller_manager.pods import is_finished, is_ready, is_terminating
from controller_manager.rollouts import scaled
from controller_manager.stateful_pods import is_healthy, ordinal_of, revision_of


@dataclass(slots=True)
class Plan:
    """The next step."""

    create: list[int] = field(default_factory=list)
    """Ordinals of new pods."""
    replace: list[Pod] = field(default_factory=list)
    """Finished pods in the way of new ones."""
    delete: list[Pod] = field(default_factory=list)
    keep: list[Pod] = field(default_factory=list)
    """Pods whose identity and claims are to be looked after."""


def is_ordered(of: StatefulSet) -> bool:
    return of.spec.podManagementPolicy != "Parallel"


def is_available(of: StatefulSet, pod: Pod, now: float) -> bool:
    return not is_terminating(pod) and stateful_pods.seconds_to_healthy(of, pod, now) == 0


def plan(of: StatefulSet, pods: Sequence[Pod], update_revision: str, now: float) -> Plan:
    """The next step of a set that has these pods, and whose present template is that of `update_revision`."""
    made = Plan()
    replicas = {ordinal_of(p): p for p in pods if ordinal_of(p) in stateful_pods.ordinals(of)}
    if _fill(of, replicas, made, now) and is_ordered(of):
        return made
    if _scale_down(of, pods, made, now) and is_ordered(of):
        return made
    if of.spec.updateStrategy.type != "OnDelete":
        _update(of, replicas, made, update_revision, now)
    return made


def _fill(of: StatefulSet, replicas: dict[int, Pod], made: Plan, now: float) -> bool:
    """Whether there is something to wait for before anything else happens in order."""
    blocked = False
    for ordinal in stateful_pods.ordinals(of):
        pod = replicas.get(ordinal)
        if pod is None:
            made.create.append(ordinal)
        elif is_finished(pod):
            if not is_terminating(pod):
                made.replace.append(pod)
        else:
            made.keep.append(pod)
        if pod is None or not is_available(of, pod, now):
            blocked = True
            if is_ordered(of):
                break
    return blocked


def _scale_down(of: StatefulSet, pods: Iterable[Pod], made: Plan, now: float) -> bool:
    """Whether pods that are too many remain."""
    condemned = sorted((p for p in pods if ordinal_of(p) not in stateful_pods.ordinals(of)), key=ordinal_of)
    # A broken pod does not keep itself, but those beyond it wait for it.
    first_broken = next((p for p in condemned if not is_healthy(p)), None)
    made.keep += (p for p in condemned if not is_terminating(p))
    for pod in reversed(condemned):
        ordered = is_ordered(of)
        if not is_terminating(pod):
            if ordered and not is_available(of, pod, now) and pod is not first_broken:
                break
            made.delete.append(pod)
        if ordered:
            break
    return bool(condemned)


def _update(of: StatefulSet, replicas: dict[int, Pod], made: Plan, update_revision: str, now: float) -> None:
    pods = [replicas.get(ordinal) for ordinal in stateful_pods.ordinals(of)]
    up = [p is not None and is_available(of, p, now) for p in pods]
    budget = max_unavailable(of) - up.count(False)
    for index in reversed(range(partition(of), len(pods))):
        pod = pods[index]
        if pod is None or is_terminating(pod) or is_finished(pod) or revision_of(pod) == update_revision:
            continue
        # What is down anyway costs nothing.
        if up[index]:
            if budget <= 0:
                break
            budget -= 1
        made.delete.append(pod)


def _rolling(of: StatefulSet) -> RollingUpdateStatefulSetStrategy:
    return of.spec.updateStrategy.rollingUpdate or RollingUpdateStatefulSetStrategy()


def partition(of: StatefulSet) -> int:
    """How many pods, counted from the first, an update leaves alone."""
    return _rolling(of).partition or 0


def max_unavailable(of: StatefulSet) -> int:
    value = _rolling(of).maxUnavailable
    return max(1, scaled(value, of.spec.replicas or 0, up=False)) if value is not None else 1


def is_made_from_current(of: StatefulSet, ordinal: int) -> bool:
    """Whether a new pod of that ordinal still comes from the revision that is being left."""
    return of.spec.updateStrategy.type == "RollingUpdate" and ordinal < stateful_pods.start(of) + partition(of)


def status(
    of: StatefulSet, pods: Iterable[Pod], current: str, update: str, collisions: int, now: float
) -> StatefulSetStatus:
    """The status of a set with these pods; an update that is through makes its revision the current one."""
    found = StatefulSetStatus(
        observedGeneration=of.metadata.generation or 0, currentRevision=current, updateRevision=update,
        collisionCount=collisions, conditions=of.status.conditions, replicas=0,
    )  # fmt: skip
    for pod in pods:
        found.replicas += 1
        if pod.status.phase == "Running" and is_ready(pod):  # also one that leaves: it serves until it ends
            found.readyReplicas += 1
            found.availableReplicas += stateful_pods.seconds_to_healthy(of, pod, now) == 0
        if not is_terminating(pod):
            found.currentReplicas += revision_of(pod) == current
            found.updatedReplicas += revision_of(pod) == update
    if of.spec.updateStrategy.type == "RollingUpdate" and (
        found.updatedReplicas == found.readyReplicas == found.replicas == of.spec.replicas
    ):
        found.currentReplicas, found.currentRevision = found.updatedReplicas, update
    return found


def next_look(of: StatefulSet, pods: Iterable[Pod], now: float) -> float | None:
    """Seconds until one more pod will have been ready for minReadySeconds."""
    waits = (stateful_pods.seconds_to_healthy(of, p, now) for p in pods)
    return min((w for w in waits if w), default=None)
