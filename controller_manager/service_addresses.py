"""Services of type LoadBalancer get an address of the pool that `--service-lb-addresses` names.

Their status is the record: no address is kept anywhere else, and a service that is gone, or of another type, or of
another load balancer's class, holds none. That the address answers is the proxies' work.
https://kubernetes.io/docs/concepts/services-networking/service/#loadbalancer
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from ipaddress import IPv4Address

from api import errors, meta
from api.meta import Key
from api.types import LoadBalancerIngress, Service
from controller_manager.contexts import Context
from controller_manager.informing import Written
from machinery.controllers import Controller

FINALIZER = "service.kubernetes.io/load-balancer-cleanup"
RETRY = 60.0
"""Seconds until a service that could not be served is told so again; an address that becomes free comes sooner."""

Span = tuple[IPv4Address, IPv4Address]


class NoAddress(Exception):
    """None can be given; the text says why."""


def new(context: Context) -> Controller:
    return ServiceAddresses(context).controller


class ServiceAddresses:
    """Its keys are services. Without a pool it is idle, and services are somebody else's."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._pool = context.config.service_lb_addresses
        self._services = context.informers(Service)
        self._written = Written(self._services)
        self._recorder = context.recorder("service-controller")
        # One at a time: what one takes, the next must see as taken.
        self._choosing = asyncio.Lock()
        self.controller = Controller("service-lb-controller", self.reconcile, informers=(self._services,))
        self._services.on_change(self._changed)

    def _changed(self, old: Service | None, new: Service | None) -> None:
        if not self._pool:
            return
        if new is not None:
            self.controller.queue.add(meta.key(new))
        if old is not None and set(_held(old)) - set(_held(new) if new is not None else ()):
            for waiting in self._services.list():
                if is_ours(waiting) and not _held(waiting):
                    self.controller.queue.add(meta.key(waiting))

    async def reconcile(self, key: Key) -> float | None:
        seen = self._services.get(*key)
        if seen is None or not self._pool:
            return None
        service = self._written.newest(seen)
        if service.spec.type == "LoadBalancer" and not is_ours(service):
            return None
        with suppress(errors.NotFound):
            if service.metadata.deletionTimestamp or service.spec.type != "LoadBalancer":
                await self._release(service)
            else:
                async with self._choosing:
                    return await self._ensure(service)
        return None

    async def _release(self, service: Service) -> None:
        if service.status.loadBalancer.ingress and not service.metadata.deletionTimestamp:
            changed = meta.clone(service)
            changed.status.loadBalancer.ingress = []
            service = self._written.note(await self._client.update_status(changed))
            self._recorder.event(service, "Normal", "DeletedLoadBalancer", "Deleted load balancer")
        if FINALIZER in service.metadata.finalizers:  # somebody else's balancer, of whom nothing is left here
            changed = meta.clone(service)
            changed.metadata.finalizers.remove(FINALIZER)
            self._written.note(await self._client.update(changed))

    async def _ensure(self, service: Service) -> float | None:
        held = _held(service)
        try:
            address = choose(self._pool, service, [self._written.newest(s) for s in self._services.list()])
        except NoAddress as e:
            message = f"Error syncing load balancer: failed to ensure load balancer: {e}"
            self._recorder.event(service, "Warning", "SyncLoadBalancerFailed", message)
            if held:
                await self._write(service, [])
            return RETRY
        if held == [address]:
            return None
        self._recorder.event(service, "Normal", "EnsuringLoadBalancer", "Ensuring load balancer")
        service = await self._write(service, [LoadBalancerIngress(ip=address, ipMode="VIP")])
        self._recorder.event(service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer")
        return None

    async def _write(self, service: Service, ingress: list[LoadBalancerIngress]) -> Service:
        changed = meta.clone(service)
        changed.status.loadBalancer.ingress = ingress
        return self._written.note(await self._client.update_status(changed))


def is_ours(service: Service) -> bool:
    """Whether it is for this controller to give the service an address."""
    return service.spec.type == "LoadBalancer" and not service.spec.loadBalancerClass


def choose(pool: Sequence[Span], service: Service, services: Iterable[Service]) -> str:
    """The address for `service`: what it has, if it may have it; what it asks for; or the first free one.

    Of two that hold one address the older may keep it.  Raises NoAddress.
    """
    older, younger = set[str](), set[str]()
    for other in services:
        if other.metadata.uid != service.metadata.uid and is_ours(other):
            (older if _age(other) < _age(service) else younger).update(_held(other))
    wanted = service.spec.loadBalancerIP
    if wanted:
        if not _within(pool, wanted):
            raise NoAddress(f"the requested address {wanted} is not one of the addresses for load balancers")
        if wanted in older or (wanted in younger and wanted not in _held(service)):
            raise NoAddress(f"the requested address {wanted} is in use by another service")
        return wanted
    for held in _held(service):
        if _within(pool, held) and held not in older:
            return held
    taken = older | younger
    for address in _all(pool):
        if address not in taken:
            return address
    raise NoAddress("no address is left for load balancers")


def _held(service: Service) -> list[str]:
    return [i.ip for i in service.status.loadBalancer.ingress if i.ip] if is_ours(service) else []


def _age(service: Service) -> tuple[str, str]:
    return service.metadata.creationTimestamp or "", service.metadata.uid


def _within(pool: Iterable[Span], text: str) -> bool:
    try:
        address = IPv4Address(text)
    except ValueError:
        return False
    return any(first <= address <= last for first, last in pool)


def _all(pool: Iterable[Span]) -> Iterator[str]:
    for first, last in pool:
        for number in range(int(first), int(last) + 1):
            yield str(IPv4Address(number))
