"""Quality-of-service classes.
https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/
"""

from api import quantities
from api.types import Pod

COUNTED = ("cpu", "memory")


def qos_class(pod: Pod) -> str:
    """Guaranteed, Burstable or BestEffort."""
    containers = [*pod.spec.containers, *pod.spec.initContainers]
    asks = False
    guaranteed = True
    for container in containers:
        limits = {r: q for r, q in container.resources.limits.items() if r in COUNTED and quantities.parse(q)}
        requests = limits | {
            r: q for r, q in container.resources.requests.items() if r in COUNTED and quantities.parse(q)
        }
        asks = asks or bool(limits or requests)
        guaranteed = guaranteed and len(limits) == len(COUNTED)
        guaranteed = guaranteed and all(quantities.parse(limits[r]) == quantities.parse(requests[r]) for r in limits)
    if not asks:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"
