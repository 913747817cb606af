"""ServiceCIDRs: ready while they are wanted, and here as long as a service has one of their addresses.

https://kubernetes.io/docs/tasks/network/extend-service-ip-ranges/
"""

from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from api import errors, meta, times
from api.meta import Key
from api.types import Condition, IPAddress, ServiceCIDR
from controller_manager.contexts import Context
from machinery.controllers import Controller

FINALIZER = "networking.k8s.io/service-cidr-finalizer"
MANAGED_BY, ALLOCATOR = "ipaddress.kubernetes.io/managed-by", "ipallocator.k8s.io"
IN_USE = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR"
Network = IPv4Network | IPv6Network


def new(context: Context) -> Controller:
    return ServiceCidrController(context).controller


class ServiceCidrController:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._ranges = context.informers(ServiceCIDR)
        self._addresses = context.informers(IPAddress)
        self.controller = Controller(
            "service-cidr-controller", self.reconcile, informers=(self._ranges, self._addresses)
        )
        self._ranges.on_change(lambda old, new: self._look_at_all())
        self._addresses.on_change(self._address_changed)

    def _look_at_all(self) -> None:
        for it in self._ranges.list():
            self.controller.queue.add(meta.key(it))

    def _address_changed(self, old: IPAddress | None, new: IPAddress | None) -> None:
        if new is None:  # what it stood in the way of may go now
            self._look_at_all()

    async def reconcile(self, key: Key) -> None:
        it = self._ranges.get(*key)
        if it is None:
            return
        if not it.metadata.deletionTimestamp:
            await self._ready(it)
        elif FINALIZER in it.metadata.finalizers:
            if self._is_needed(it):
                await self._say(it, "False", "Terminating", IN_USE)
            else:
                left = [f for f in it.metadata.finalizers if f != FINALIZER]
                await self._finalizers(it, left)

    async def _ready(self, it: ServiceCIDR) -> None:
        if FINALIZER not in it.metadata.finalizers:
            it = await self._finalizers(it, [*it.metadata.finalizers, FINALIZER]) or it
        if meta.condition(it, "Ready") is None:
            await self._say(it, "True", "", "Kubernetes Service CIDR is ready")

    async def _finalizers(self, it: ServiceCIDR, wanted: list[str]) -> ServiceCIDR | None:
        changed = meta.clone(it)
        changed.metadata.finalizers = wanted
        with suppress(errors.NotFound):
            return await self._client.update(changed)
        return None

    async def _say(self, it: ServiceCIDR, status: str, reason: str, message: str) -> None:
        changed = meta.clone(it)
        now = times.format(self._clock.now())
        condition = Condition(type="Ready", status=status, reason=reason, message=message, lastTransitionTime=now)
        meta.set_condition(changed.status.conditions, condition)
        if changed.status != it.status:
            with suppress(errors.NotFound):
                await self._client.update_status(changed)

    def _is_needed(self, it: ServiceCIDR) -> bool:
        """Whether a service has an address of it that no other range covers."""
        own = _networks(it)
        others = [n for r in self._ranges.list() if not r.metadata.deletionTimestamp for n in _networks(r)]
        for address in self._addresses.list():
            if address.metadata.labels.get(MANAGED_BY) != ALLOCATOR:
                continue
            ip = ip_address(address.metadata.name)
            if any(ip in n for n in own) and not any(ip in n for n in others):
                return True
        return False


def _networks(it: ServiceCIDR) -> list[Network]:
    return [ip_network(text, strict=False) for text in it.spec.cidrs]
