"""What is kept of claims for devices and of slices of them.

What belongs to features that are not there (derived attributes, attributes that are lists, devices in the place of a
node's own resources, drivers that need no node) is not kept, as upstream without their gates.
"""

from typing import Any

from api.resource_claims import requests, results
from api.types import DeviceClaim, ResourceClaimTemplate, ResourceSlice, ResourceV1ResourceClaim

LISTS = ("bools", "ints", "strings", "versions")


def claim(obj: ResourceV1ResourceClaim) -> None:
    _asked(obj.spec.devices)


def template(obj: ResourceClaimTemplate) -> None:
    _asked(obj.spec.spec.devices)


def slice_(obj: ResourceSlice) -> None:
    obj.spec.skipNodeOperations, obj.spec.partitionTypeAttribute = [], ""
    for device in obj.spec.devices:
        device.nodeAllocatableResources = {}
        for attribute in device.attributes.values():
            for name in LISTS:
                setattr(attribute, name, [])
        for consumption in device.consumesCounters:
            consumption.compatibilityGroups = []


def prepare_update(new: Any, old: Any, subresource: str) -> None:
    if isinstance(new, ResourceSlice):
        slice_(new)
    elif isinstance(new, ResourceClaimTemplate):
        template(new)
    elif isinstance(new, ResourceV1ResourceClaim):
        if subresource == "status":
            _status(new, old)
        else:
            claim(new)


def _asked(devices: DeviceClaim | None) -> None:
    for request in requests(devices):
        if request.exactly is not None:
            request.exactly.derivedAttributes = []
        for alternative in request.firstAvailable:
            alternative.derivedAttributes = []


def _status(new: ResourceV1ResourceClaim, old: ResourceV1ResourceClaim) -> None:
    """What drivers said of devices goes with these."""
    kept = _allocated(new)
    for result in results(new.status.allocation):
        result.skipNodeOperations = []
    gone = _allocated(old) - kept
    if gone:
        new.status.devices = [it for it in new.status.devices if (it.driver, it.pool, it.device) not in gone]


def _allocated(claim: ResourceV1ResourceClaim) -> set[tuple[str, str, str]]:
    return {(it.driver, it.pool, it.device) for it in results(claim.status.allocation)}
