"""Dynamic resource allocation: what claims ask for and what drivers offer.

https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/
"""

from api import names
from api.paths import Path, duplicate, invalid, required
from api.types import (
    DeviceClaim,
    DeviceRequest,
    ResourceClaimTemplate,
    ResourceSlice,
    ResourceV1ResourceClaim,
)  # fmt: skip
from apiserver.rules.validation.drivers import driver_name
from apiserver.rules.validation.values import Faults, formed, immutable

SPEC = Path("spec")
PLACES = ("nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection")
ONE_PLACE = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
ONE_KIND = "exactly one of `exactly` or `firstAvailable` is required"


def claim(it: ResourceV1ResourceClaim) -> Faults:
    yield from _devices(SPEC.child("devices"), it.spec.devices)


def claim_updated(new: ResourceV1ResourceClaim, old: ResourceV1ResourceClaim) -> Faults:
    yield from immutable(SPEC, new.spec, old.spec)


def template(it: ResourceClaimTemplate) -> Faults:
    yield from _devices(SPEC.child("spec", "devices"), it.spec.spec.devices)


def template_updated(new: ResourceClaimTemplate, old: ResourceClaimTemplate) -> Faults:
    yield from immutable(SPEC, new.spec, old.spec)


def _devices(at: Path, devices: DeviceClaim | None) -> Faults:
    seen: set[str] = set()
    for i, request in enumerate(devices.requests if devices is not None else []):
        place = at.child("requests").index(i)
        name = request.name or ""
        if not name:
            yield required(place.child("name"))
        else:
            yield from formed(place.child("name"), name, names.dns_label_faults)
        if name in seen:
            yield duplicate(place, name)
        seen.add(name)
        yield from _request(place, request)


def _request(at: Path, request: DeviceRequest) -> Faults:
    if request.exactly is None and not request.firstAvailable:
        yield required(at, ONE_KIND)
    if request.exactly is not None and request.firstAvailable:
        yield invalid(at, None, f"{ONE_KIND}, but multiple fields are set")
    if request.exactly is not None:
        yield from _class(at.child("exactly"), request.exactly.deviceClassName)
    for i, alternative in enumerate(request.firstAvailable):
        yield from _class(at.child("firstAvailable").index(i), alternative.deviceClassName)


def _class(at: Path, name: str | None) -> Faults:
    if not name:
        yield required(at.child("deviceClassName"))
    else:
        yield from formed(at.child("deviceClassName"), name, names.dns_subdomain_faults)


def slice_(it: ResourceSlice) -> Faults:
    spec = it.spec
    yield from driver_name(SPEC.child("driver"), spec.driver or "")
    if spec.pool is None or not spec.pool.name:
        yield required(SPEC.child("pool").child("name"))
    elif not spec.pool.resourceSliceCount or spec.pool.resourceSliceCount < 0:
        why = "must be greater than zero"
        yield invalid(SPEC.child("pool").child("resourceSliceCount"), spec.pool.resourceSliceCount or 0, why)
    chosen = [name for name in PLACES if getattr(spec, name)]
    if not chosen:
        yield required(SPEC, ONE_PLACE)
    elif len(chosen) > 1:
        yield invalid(SPEC, "{" + ", ".join(f"`{name}`" for name in chosen) + "}", ONE_PLACE)


def slice_updated(new: ResourceSlice, old: ResourceSlice) -> Faults:
    yield from slice_(new)
    yield from immutable(SPEC.child("driver"), new.spec.driver, old.spec.driver)
    if new.spec.pool is not None and old.spec.pool is not None:
        yield from immutable(SPEC.child("pool").child("name"), new.spec.pool.name, old.spec.pool.name)
    yield from immutable(SPEC.child("nodeName"), new.spec.nodeName, old.spec.nodeName)
