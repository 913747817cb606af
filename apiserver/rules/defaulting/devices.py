"""What a claim for devices asks for when it does not say how many, what it tolerates, and amounts that nobody gave."""

from collections.abc import Iterator

from api.resource_claims import requests, results
from api.types import (
    CounterSet,
    DeviceClaim,
    DeviceCounterConsumption,
    DeviceRequest,
    DeviceSubRequest,
    DeviceToleration,
    ExactDeviceRequest,
    ResourceClaimTemplate,
    ResourceSlice,
    ResourceV1ResourceClaim,
)

EXACT = "ExactCount"


def claim(obj: ResourceV1ResourceClaim) -> None:
    _devices(obj.spec.devices)
    for result in results(obj.status.allocation):
        _tolerations(result.tolerations)


def template(obj: ResourceClaimTemplate) -> None:
    _devices(obj.spec.spec.devices)


def slice_(obj: ResourceSlice) -> None:
    for device in obj.spec.devices:
        for capacity in device.capacity.values():
            capacity.value = capacity.value or "0"
        for consumption in device.consumesCounters:
            _counters(consumption)
    for counters in obj.spec.sharedCounters:
        _counters(counters)


def _counters(it: CounterSet | DeviceCounterConsumption) -> None:
    for counter in it.counters.values():
        counter.value = counter.value or "0"


def _devices(devices: DeviceClaim | None) -> None:
    for request in requests(devices):
        for one in _asked(request):
            one.allocationMode = one.allocationMode or EXACT
            if one.allocationMode == EXACT and not one.count:
                one.count = 1
            _tolerations(one.tolerations)


def _tolerations(tolerations: list[DeviceToleration]) -> None:
    for one in tolerations:
        one.operator = one.operator or "Equal"


def _asked(request: DeviceRequest) -> Iterator[ExactDeviceRequest | DeviceSubRequest]:
    if request.exactly is not None:
        yield request.exactly
    yield from request.firstAvailable
