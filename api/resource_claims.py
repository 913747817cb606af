"""ResourceClaims, and what pods mean by theirs, for all who handle them.

https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/
"""

from api import meta
from api.types import (
    AllocationResult,
    DeviceClaim,
    DeviceRequest,
    DeviceRequestAllocationResult,
    Pod,
    PodResourceClaim,
    ResourceV1ResourceClaim,
)

FINALIZER = "resource.kubernetes.io/delete-protection"
"""Of claims that are, or are about to be, allocated."""


class Unusable(Exception):
    """A claim is not there for its pod, or not yet; in upstream's words."""


def name_of(pod: Pod, entry: PodResourceClaim) -> str:
    """The name of the claim that an entry of the pod's spec means; "" if it needs none.  Raises Unusable."""
    if entry.resourceClaimName:
        return entry.resourceClaimName
    where = f'pod "{meta.key(pod)}"'
    if not entry.resourceClaimTemplateName:  # in a static pod, which nobody has judged
        raise Unusable(f'{where}, spec.resourceClaim "{entry.name}": none of the supported fields are set')
    made = next((s for s in pod.status.resourceClaimStatuses if s.name == entry.name), None)
    if made is None:
        raise Unusable(f"{where}: ResourceClaim not created yet")
    return made.resourceClaimName or ""


def check_owner(pod: Pod, entry: PodResourceClaim, claim: ResourceV1ResourceClaim) -> None:
    """Raises Unusable if it should have been made for the pod, and was not."""
    if not entry.resourceClaimName and not meta.is_controlled_by(claim, pod):
        raise Unusable(f"ResourceClaim {meta.key(claim)} was not created for Pod {meta.key(pod)} (Pod is not owner)")


def is_reserved_for(claim: ResourceV1ResourceClaim, pod: Pod) -> bool:
    return any(consumer.uid == pod.metadata.uid for consumer in claim.status.reservedFor)


def requests(devices: DeviceClaim | None) -> list[DeviceRequest]:
    """Of a claim's spec."""
    return devices.requests if devices is not None else []


def results(allocation: AllocationResult | None) -> list[DeviceRequestAllocationResult]:
    """The devices that are allocated, if any are."""
    return allocation.devices.results if allocation is not None and allocation.devices is not None else []
