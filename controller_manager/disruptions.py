"""The condition DisruptionTarget: a pod is deleted by the cluster, not by its own fault.

https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions
"""

from contextlib import suppress

from api import errors, meta, times
from api.types import Pod, PodCondition
from machinery.client import Client


async def note_disruption(client: Client, pod: Pod, reason: str, message: str, now: float, *, phase: str = "") -> None:
    """Set the condition, unless there is no reason, and the phase if one is named. A pod that is gone needs neither.

    Raises Conflict if the pod has changed meanwhile.
    """
    changed = meta.clone(pod)
    if reason:
        new = PodCondition(
            type="DisruptionTarget", status="True", reason=reason, message=message, lastTransitionTime=times.format(now)
        )
        meta.set_condition(changed.status.conditions, new)
    changed.status.phase = phase or changed.status.phase
    if changed.status != pod.status:
        with suppress(errors.NotFound):
            await client.update_status(changed)
