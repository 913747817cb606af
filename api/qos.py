"""The quality-of-service class of a pod: https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/"""

from api import quantities
from api.types import PodSpec, ResourceRequirements

COMPUTE = "cpu", "memory"


def qos_class(spec: PodSpec) -> str:
    """Guaranteed, Burstable or BestEffort, from what the containers request and how they are limited."""
    if spec.resources is not None and (spec.resources.requests or spec.resources.limits):
        holders = [spec.resources]
    else:
        holders = [c.resources for c in (*spec.containers, *spec.initContainers)]
    if not any(_asks(h) for h in holders):
        return "BestEffort"
    return "Guaranteed" if all(_guaranteed(h) for h in holders) else "Burstable"


def _asks(it: ResourceRequirements) -> bool:
    return any(
        name in amounts and quantities.parse(amounts[name]) > 0
        for amounts in (it.requests, it.limits)
        for name in COMPUTE
    )


def _guaranteed(it: ResourceRequirements) -> bool:
    for name in COMPUTE:
        limit = it.limits.get(name)
        if limit is None or quantities.parse(limit) <= 0:
            return False
        if quantities.parse(it.requests.get(name, limit)) != quantities.parse(limit):
            return False
    return True
