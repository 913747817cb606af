"""The condition DisruptionTarget: a pod is deleted by the cluster, not by its own fault.

https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions
"""

from contextlib import suppress

from api import errors, meta, times
from api.types import Pod, PodCondition
from machinery.client import Client

TARGET = "DisruptionTarget"


async def note_disruption(client: Client, pod: Pod, reason: str, message: str, now: float, *, phase: str = "") -> None:
    """Set the condition, unless there is no reason, and the phase if one is named. A pod that is gone needs neither.

    Raises Conflict if the pod has changed meanwhile.
    """
    changed = meta.clone(pod)
    if reason:
        meta.set_condition(changed.status.conditions, _condition(pod, "True", now, reason, message))
    changed.status.phase = phase or changed.status.phase
    await _save(client, pod, changed)


async def take_back(client: Client, pod: Pod, now: float) -> None:
    """The pod stays after all.  Raises Conflict if it has changed meanwhile."""
    changed = meta.clone(pod)
    meta.set_condition(changed.status.conditions, _condition(pod, "False", now))
    await _save(client, pod, changed)


def _condition(pod: Pod, status: str, now: float, reason: str = "", message: str = "") -> PodCondition:
    return PodCondition(
        type=TARGET, status=status, reason=reason, message=message, lastTransitionTime=times.format(now),
        observedGeneration=pod.metadata.generation or 0,
    )  # fmt: skip


async def _save(client: Client, pod: Pod, changed: Pod) -> None:
    if changed.status != pod.status:
        with suppress(errors.NotFound):
            await client.update_status(changed)
