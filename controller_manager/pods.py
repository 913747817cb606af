"""What controllers ask of a pod. Pure.

https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from api import meta, times
from api.types import Pod

FINISHED = ("Succeeded", "Failed")


def is_finished(pod: Pod) -> bool:
    return pod.status.phase in FINISHED


def is_terminating(pod: Pod) -> bool:
    return bool(pod.metadata.deletionTimestamp)


def is_active(pod: Pod) -> bool:
    """Whether it counts towards a controller's replicas."""
    return not is_finished(pod) and not is_terminating(pod)


def is_ready(pod: Pod) -> bool:
    return meta.is_true(pod, "Ready")


def ready_since(pod: Pod) -> float | None:
    """When it became ready, in seconds since the epoch; None if it is not, or nobody said when it did."""
    found = meta.condition(pod, "Ready")
    if found is None or found.status != "True" or not found.lastTransitionTime:
        return None
    return times.parse(found.lastTransitionTime)


def seconds_to_available(pod: Pod, min_ready_seconds: int, now: float) -> float | None:
    """0 if it has been ready for long enough, else how long that takes yet; None while it is not ready."""
    if not is_ready(pod):
        return None
    if not min_ready_seconds:
        return 0.0
    since = ready_since(pod)
    return None if since is None else max(0.0, since + min_ready_seconds - now)


def restarts(pod: Pod) -> int:
    """The most restarts of any of its containers."""
    return max((c.restartCount for c in pod.status.containerStatuses), default=0)
