"""ResourceClaims and their templates: what they ask for, and what they were given.

https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/#resourceclaims-templates
"""

import ipaddress
from typing import Any

from api import names
from api.paths import Path, forbidden, invalid, not_supported, required, too_long
from api.resource_claims import requests, results
from api.types import (
    AllocatedDeviceStatus,
    AllocationResult,
    DeviceAllocationConfiguration,
    DeviceClaim,
    DeviceClaimConfiguration,
    DeviceConstraint,
    DeviceRequest,
    DeviceRequestAllocationResult,
    DeviceSubRequest,
    ExactDeviceRequest,
    NetworkDeviceData,
    ResourceClaimConsumerReference,
    ResourceClaimTemplate,
    ResourceV1ResourceClaim,
)
from apiserver.rules.validation import metadata
from apiserver.rules.validation.conditions import conditions
from apiserver.rules.validation.devices import (
    MOST_CONFIGS,
    binding_conditions,
    each,
    full_name,
    itself,
    json_object,
    label,
    opaque,
    pool_name,
    selectors,
    share_id,
    tolerations,
)
from apiserver.rules.validation.drivers import driver_name
from apiserver.rules.validation.placement import node_selector
from apiserver.rules.validation.values import Faults, formed, immutable

SPEC = Path("spec")
STATUS = Path("status")
MOST_REQUESTS = MOST_CONSTRAINTS = MOST_RESULTS = 32
MOST_ALTERNATIVES = 8
MOST_CONSUMERS = 256
MOST_CONDITIONS = 8
MOST_IPS = 16
LONGEST_SELECTORS = 128 * 1024
"""Of all requests together. Upstream has no such limit; here three megabytes take eleven seconds, in which nobody else
is answered."""
LONGEST_DATA = 10 * 1024
LONGEST_INTERFACE = 256
LONGEST_ADDRESS = 128
MODES = ("All", "ExactCount")
SOURCES = ("FromClaim", "FromClass")
ONE_KIND = "exactly one of `exactly` or `firstAvailable` is required"
ONE_ATTRIBUTE = 'exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set'
TOO_COMPLEX = f"too complex, selectors of more than {LONGEST_SELECTORS} characters"
NO_REQUEST = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
LATE = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set"

Requests = dict[str, set[str]]
"""The names of requests, and of the alternatives within each."""


def claim(it: ResourceV1ResourceClaim) -> Faults:
    yield from _devices(SPEC.child("devices"), it.spec.devices)


def claim_updated(new: ResourceV1ResourceClaim, old: ResourceV1ResourceClaim) -> Faults:
    yield from immutable(SPEC, new.spec, old.spec)


def template(it: ResourceClaimTemplate) -> Faults:
    at, meta = SPEC.child("metadata"), it.spec.metadata
    yield from metadata.labels(at.child("labels"), meta.labels)
    yield from metadata.annotations(at.child("annotations"), meta.annotations)
    yield from _devices(SPEC.child("spec", "devices"), it.spec.spec.devices)


def template_updated(new: ResourceClaimTemplate, old: ResourceClaimTemplate) -> Faults:
    yield from immutable(SPEC, new.spec, old.spec)


# --- what is asked for


def _devices(at: Path, devices: DeviceClaim | None) -> Faults:
    if devices is None:
        return
    known = _requests(devices)
    if sum(map(_length, devices.requests)) > LONGEST_SELECTORS:
        yield forbidden(at.child("requests"), TOO_COMPLEX)
        return
    yield from each(at.child("requests"), devices.requests, MOST_REQUESTS, _request, lambda it: it.name or "")

    def constraint(here: Path, it: DeviceConstraint) -> Faults:
        yield from _references(here.child("requests"), it.requests, known)
        for name in ("matchAttribute", "distinctAttribute"):
            if value := getattr(it, name):
                yield from full_name(here.child(name), value)
        if not it.matchAttribute and not it.distinctAttribute:
            yield required(here, ONE_ATTRIBUTE)

    def config(here: Path, it: DeviceClaimConfiguration) -> Faults:
        yield from _references(here.child("requests"), it.requests, known)
        yield from opaque(here.child("opaque"), it.opaque)

    yield from each(at.child("constraints"), devices.constraints, MOST_CONSTRAINTS, constraint)
    yield from each(at.child("config"), devices.config, MOST_CONFIGS, config)


def _length(request: DeviceRequest) -> int:
    """Of its selectors."""
    given = [s for it in request.firstAvailable for s in it.selectors]
    given += request.exactly.selectors if request.exactly is not None else []
    return sum(len(s.cel.expression or "") for s in given if s.cel is not None)


def _requests(devices: DeviceClaim | None) -> Requests:
    return {it.name or "": {sub.name or "" for sub in it.firstAvailable} for it in requests(devices)}


def _references(path: Path, given: list[str], known: Requests) -> Faults:
    yield from each(path, given, MOST_REQUESTS, lambda at, name: _reference(at, name, known), itself)


def _reference(path: Path, name: str, known: Requests) -> Faults:
    """`request` or `request/alternative`"""
    parts = name.split("/")
    if len(parts) > 2:
        yield invalid(path, name, NO_REQUEST)
        return
    for part in parts:
        yield from label(path, part)
    if parts[0] not in known or (len(parts) == 2 and parts[1] not in known[parts[0]]):
        yield invalid(path, name, NO_REQUEST)


def _request(at: Path, it: DeviceRequest) -> Faults:
    yield from label(at.child("name"), it.name)
    if it.exactly is not None and it.firstAvailable:
        yield invalid(at, None, f"{ONE_KIND}, but multiple fields are set")
    elif it.exactly is not None:
        yield from _asked(at.child("exactly"), it.exactly)
    elif it.firstAvailable:
        place = at.child("firstAvailable")
        yield from each(place, it.firstAvailable, MOST_ALTERNATIVES, _alternative, lambda sub: sub.name or "")
    else:
        yield required(at, ONE_KIND)


def _alternative(at: Path, it: DeviceSubRequest) -> Faults:
    yield from label(at.child("name"), it.name)
    yield from _asked(at, it)


def _asked(at: Path, it: ExactDeviceRequest | DeviceSubRequest) -> Faults:
    if not it.deviceClassName:
        yield required(at.child("deviceClassName"))
    else:
        yield from formed(at.child("deviceClassName"), it.deviceClassName, names.dns_subdomain_faults)
    yield from selectors(at.child("selectors"), it.selectors)
    count = it.count or 0
    match it.allocationMode:
        case "All":
            if count:
                yield invalid(at.child("count"), count, "must not be specified when allocationMode is 'All'")
        case "ExactCount":
            if count <= 0:
                yield invalid(at.child("count"), count, "must be greater than zero")
        case other:
            yield not_supported(at.child("allocationMode"), other, MODES)
    yield from tolerations(at.child("tolerations"), it.tolerations)


# --- what was given


def status_updated(new: ResourceV1ResourceClaim, old: ResourceV1ResourceClaim) -> Faults:
    status, before = new.status, old.status
    reserved = STATUS.child("reservedFor")
    yield from each(reserved, status.reservedFor, MOST_CONSUMERS, _consumer, lambda it: it.uid or "")
    allocated = {_device(r) for r in results(status.allocation)}

    def device(at: Path, it: AllocatedDeviceStatus) -> Faults:
        yield from _device_status(at, it)
        if _device(it) not in allocated:
            shown = dict(zip(("Driver", "Pool", "Device", "ShareID"), _device(it), strict=True))
            yield invalid(at, shown, "must be an allocated device in the claim")

    yield from each(STATUS.child("devices"), status.devices, None, device, _device)
    if status.reservedFor and status.allocation is None:
        yield forbidden(reserved, "may not be specified when `allocated` is not set")
    elif new.metadata.deletionTimestamp and any(it not in before.reservedFor for it in status.reservedFor):
        yield forbidden(reserved, LATE)
    if status.allocation is None:
        return
    at = STATUS.child("allocation")
    if before.allocation is not None:
        yield from immutable(at, status.allocation, before.allocation)
    else:
        yield from _allocation(at, status.allocation, _requests(new.spec.devices))


def _device(it: DeviceRequestAllocationResult | AllocatedDeviceStatus) -> tuple[str, str, str, str]:
    return it.driver or "", it.pool or "", it.device or "", it.shareID


def _consumer(at: Path, it: ResourceClaimConsumerReference) -> Faults:
    for name in ("resource", "name", "uid"):
        if not getattr(it, name):
            yield required(at.child(name))


def _allocation(at: Path, it: AllocationResult, known: Requests) -> Faults:
    def result(here: Path, given: DeviceRequestAllocationResult) -> Faults:
        yield from _reference(here.child("request"), given.request or "", known)
        yield from _named_device(here, given)
        yield from binding_conditions(here, given.bindingConditions, given.bindingFailureConditions)
        yield from tolerations(here.child("tolerations"), given.tolerations)

    def config(here: Path, given: DeviceAllocationConfiguration) -> Faults:
        if not given.source:
            yield required(here.child("source"))
        elif given.source not in SOURCES:
            yield not_supported(here.child("source"), given.source, SOURCES)
        yield from _references(here.child("requests"), given.requests, known)
        yield from opaque(here.child("opaque"), given.opaque)

    devices = at.child("devices")
    yield from each(devices.child("results"), results(it), MOST_RESULTS, result)
    if it.devices is not None:  # of the class and of the claim
        yield from each(devices.child("config"), it.devices.config, 2 * MOST_CONFIGS, config)
    if it.nodeSelector is not None:
        yield from node_selector(at.child("nodeSelector"), it.nodeSelector)


def _named_device(at: Path, it: Any) -> Faults:
    yield from driver_name(at.child("driver"), it.driver or "")
    yield from pool_name(at.child("pool"), it.pool)
    yield from label(at.child("device"), it.device)
    yield from share_id(at.child("shareID"), it.shareID)


def _device_status(at: Path, it: AllocatedDeviceStatus) -> Faults:
    yield from _named_device(at, it)
    yield from conditions(at.child("conditions"), it.conditions, MOST_CONDITIONS)
    if it.data is not None:
        yield from json_object(at.child("data"), it.data, LONGEST_DATA)
    if it.networkData is not None:
        yield from _network(at.child("networkData"), it.networkData)


def _network(at: Path, it: NetworkDeviceData) -> Faults:
    if len(it.interfaceName.encode()) > LONGEST_INTERFACE:
        yield too_long(at.child("interfaceName"), LONGEST_INTERFACE)
    if len(it.hardwareAddress.encode()) > LONGEST_ADDRESS:
        yield too_long(at.child("hardwareAddress"), LONGEST_ADDRESS)
    yield from each(at.child("ips"), it.ips, MOST_IPS, _interface_address, itself)


def _interface_address(at: Path, value: str) -> Faults:
    try:
        there = ipaddress.ip_interface(value)
    except ValueError:
        there = None
    if there is None or not value.rpartition("/")[2].isdecimal() or "/" not in value:
        yield invalid(at, value, "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)")
    elif value != there.with_prefixlen:
        yield invalid(at, value, f'must be in canonical form ("{there.with_prefixlen}")')
