"""Devices that have to be prepared before a pod may be bound to them: what their drivers tell of that. Pure.

https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/#device-binding-conditions
"""

from collections.abc import Iterator

from api.resource_claims import results
from api.types import AllocationResult, Condition, DeviceRequestAllocationResult, ResourceV1ResourceClaim


def awaited(allocation: AllocationResult) -> bool:
    """Whether it has such devices."""
    return any(result.bindingConditions for result in results(allocation))


def failure(claim: ResourceV1ResourceClaim) -> str:
    """Which condition says that a device cannot be prepared, in upstream's words, or ""."""
    for result, told in _told(claim):
        for condition in told:
            if condition.type in result.bindingFailureConditions and condition.status == "True":
                why = f'reason={condition.reason}, message="{condition.message}"'
                return f"claim {claim.metadata.name} binding failed: {why}"
    return ""


def is_ready(claim: ResourceV1ResourceClaim) -> bool:
    return all(
        all(any(c.type == wanted and c.status == "True" for c in told) for wanted in result.bindingConditions)
        for result, told in _told(claim)
    )


def _told(claim: ResourceV1ResourceClaim) -> Iterator[tuple[DeviceRequestAllocationResult, list[Condition]]]:
    """The devices that have to be prepared, each with its conditions."""
    told = {(d.driver, d.pool, d.device, d.shareID): d.conditions for d in claim.status.devices}
    for result in results(claim.status.allocation):
        if result.bindingConditions:
            yield result, told.get((result.driver, result.pool, result.device, result.shareID), [])
