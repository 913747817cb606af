"""What a claim for devices asks for when it does not say how many."""

from collections.abc import Iterator

from api.types import (
    DeviceClaim,
    DeviceRequest,
    DeviceSubRequest,
    ExactDeviceRequest,
    ResourceClaimTemplate,
    ResourceV1ResourceClaim,
)

EXACT = "ExactCount"


def claim(obj: ResourceV1ResourceClaim) -> None:
    _devices(obj.spec.devices)


def template(obj: ResourceClaimTemplate) -> None:
    _devices(obj.spec.spec.devices)


def _devices(devices: DeviceClaim | None) -> None:
    for request in devices.requests if devices is not None else []:
        for one in _asked(request):
            one.allocationMode = one.allocationMode or EXACT
            if one.allocationMode == EXACT and not one.count:
                one.count = 1


def _asked(request: DeviceRequest) -> Iterator[ExactDeviceRequest | DeviceSubRequest]:
    if request.exactly is not None:
        yield request.exactly
    yield from request.firstAvailable
