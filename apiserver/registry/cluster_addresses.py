"""The objects that tell which addresses services have: an IPAddress for each, a ServiceCIDR for the range.

https://kubernetes.io/docs/reference/networking/virtual-ips/#ip-address-objects.  A service's IPAddress is made in the
transaction that gives it the address, and it is the claim by which no other service can get it.  What is mended here is
what somebody deleted, and what was given before there were such objects.
"""

import logging
from collections.abc import Sequence

import msgspec

from api import kinds, meta, times
from api.errors import AlreadyExists, ApiError, Conflict
from api.types import Condition, IPAddress, ObjectMeta, Service, ServiceCIDR, ServiceCIDRSpec
from apiserver.admission.claims import addresses
from apiserver.authorization import SELF
from apiserver.registry.registries import Registry
from apiserver.registry.service_addresses import address_of
from apiserver.requests import ListOptions, Request, User
from machinery.clocks import Clock

USER = User(SELF, groups=("system:masters",))
DEFAULT = "kubernetes"
READY = "Kubernetes default Service CIDR is ready"
KEEP_SECONDS = 10.0
log = logging.getLogger(__name__)


async def ensure(registry: Registry, clock: Clock, cidrs: Sequence[str]) -> None:
    """Make what is missing.  Safe to call from several API servers at once."""
    now = times.format(clock.now())
    ranges = await registry.list(_request("list", ServiceCIDR), ListOptions())
    found = next((item for item in ranges.items if item.name == DEFAULT), None)
    if found is None:
        await _create(registry, ServiceCIDR(metadata=ObjectMeta(name=DEFAULT), spec=ServiceCIDRSpec(cidrs=list(cidrs))))
    if found is None or _nobody_has_judged(msgspec.json.decode(found.document, type=ServiceCIDR), cidrs):
        await _say_ready(registry, now)
    told = {item.name for item in (await registry.list(_request("list", IPAddress), ListOptions())).items}
    for item in (await registry.list(_request("list", Service), ListOptions())).items:
        service = msgspec.json.decode(item.document, type=Service)
        for ip in addresses(service):
            if ip not in told:
                await _create(registry, address_of(service, ip, now))


async def keep(registry: Registry, clock: Clock, cidrs: Sequence[str]) -> None:
    """Looks again and again, until cancelled."""
    while True:
        try:
            await ensure(registry, clock, cidrs)
        except ApiError as e:
            log.warning("cannot keep up the objects of service addresses: %s", e)
        await clock.sleep(KEEP_SECONDS)


def _nobody_has_judged(it: ServiceCIDR, cidrs: Sequence[str]) -> bool:
    """Whether it is for the server to call the range ready. What the controller says of one that leaves stands."""
    condition = meta.condition(it, "Ready")
    unknown = condition is None or condition.status == "Unknown"
    return unknown and not it.metadata.deletionTimestamp and it.spec.cidrs == list(cidrs)


async def _say_ready(registry: Registry, now: str) -> None:
    request = _request("get", ServiceCIDR).at(name=DEFAULT, subresource="status")
    present = msgspec.json.decode(await registry.get(request), type=ServiceCIDR)
    ready = Condition(type="Ready", status="True", reason="", message=READY, lastTransitionTime=now)
    meta.set_condition(present.status.conditions, ready)
    try:
        await registry.update(request.at(verb="update"), meta.encode(present))
    except Conflict:
        return  # somebody else wrote it meanwhile; the next look will tell


async def _create(registry: Registry, obj: IPAddress | ServiceCIDR) -> None:
    try:
        await registry.create(_request("create", type(obj)), meta.encode(obj))
    except AlreadyExists:
        return


def _request(verb: str, what: type) -> Request:
    return Request(USER, verb, kinds.of(what), field_manager="apiserver")
