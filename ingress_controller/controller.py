"""The loop: what informers tell → the site → HAProxy, then the addresses in the Ingresses' status."""

import asyncio
import logging
from typing import Any, Protocol

from api import errors, meta
from api.meta import Key, key
from api.types import (
    EndpointSlice,
    Ingress,
    IngressClass,
    IngressLoadBalancerIngress,
    Secret,
    Service,
)  # fmt: skip
from ingress_controller.processes import Refused
from ingress_controller.sites import Complaint, Site, World, is_ours, site
from machinery.client import Client
from machinery.clocks import SYSTEM, Clock
from machinery.events import Recorder
from machinery.informers import Informer

SERVICE = "service"
SERVICE_NAME = "kubernetes.io/service-name"
# Changes of one moment become one: a reload starts processes.
COALESCE_SECONDS = 0.05
RETRY_SECONDS = 1.0

log = logging.getLogger(__name__)


class Proxy(Protocol):
    async def serve(self, site: Site) -> None:
        """Raises Refused."""
        ...


class Controller:
    """`published` is the Service whose addresses are those of all Ingresses; None leaves them without."""

    def __init__(
        self, client: Client, proxy: Proxy, recorder: Recorder, published: Key | None, clock: Clock = SYSTEM
    ) -> None:  # fmt: skip
        self._client = client
        self._proxy = proxy
        self._recorder = recorder
        self._published = published
        self._clock = clock
        self._ingresses = Informer(client, Ingress, clock=clock)
        self._classes = Informer(client, IngressClass, clock=clock)
        self._services = Informer(client, Service, clock=clock)
        self._slices = Informer(client, EndpointSlice, clock=clock)
        self._secrets = Informer(client, Secret, clock=clock)
        self.informers: tuple[Informer[Any], ...] = (
            self._ingresses, self._classes, self._services, self._slices, self._secrets,
        )  # fmt: skip
        self._changed = asyncio.Event()
        self._told: frozenset[Complaint] = frozenset()
        self._slices.add_index(SERVICE, _service_of)
        for informer in self.informers:
            informer.on_change(lambda old, new: self._changed.set())

    async def run(self) -> None:
        """Until cancelled. Nothing is served before all is known: half of the hosts would be denied."""
        for informer in self.informers:
            await informer.synced()
        while True:
            self._changed.clear()
            if not await self.sync():
                await self._clock.sleep(RETRY_SECONDS)
                continue
            await self._changed.wait()
            await self._clock.sleep(COALESCE_SECONDS)

    async def sync(self) -> bool:
        """One iteration; whether all is as it should be now."""
        classes = self._classes.list()
        ours = [i for i in self._ingresses.list() if is_ours(i, classes)]
        wanted = site(ours, World(lambda k: self._services.get(*k), self._slices_of, lambda k: self._secrets.get(*k)))
        try:
            await self._proxy.serve(wanted)
        except Refused as e:
            log.error("the proxy cannot serve this: %s", e)
            return False
        self._complain(wanted)
        return all([await self._publish(ingress) for ingress in ours])

    def _slices_of(self, service: Key) -> list[EndpointSlice]:
        return self._slices.by_index(SERVICE, str(service))

    def _complain(self, wanted: Site) -> None:
        """Once, until it is mended."""
        for complaint in wanted.complaints:
            about = self._ingresses.get(*complaint.about)
            if complaint not in self._told and about is not None:
                self._recorder.event(about, "Warning", complaint.reason, complaint.message)
        self._told = frozenset(wanted.complaints)

    async def _publish(self, ingress: Ingress) -> bool:
        addresses = self._addresses()
        present = [(a.ip, a.hostname) for a in ingress.status.loadBalancer.ingress]
        if present == addresses:
            return True
        changed = meta.clone(ingress)
        changed.status.loadBalancer.ingress = [IngressLoadBalancerIngress(ip=i, hostname=h) for i, h in addresses]
        try:
            await self._client.update_status(changed)
        except (errors.Conflict, errors.NotFound):
            return True  # it has changed: we are told of it, and look again
        except errors.ApiError as e:
            log.warning("the status of %s: %s", key(ingress), e)
            return False
        self._recorder.event(ingress, "Normal", "Sync", "Scheduled for sync")
        return True

    def _addresses(self) -> list[tuple[str, str]]:
        service = self._services.get(*self._published) if self._published is not None else None
        if service is None:
            return []
        return [(a.ip, a.hostname) for a in service.status.loadBalancer.ingress]


def _service_of(each: EndpointSlice) -> list[str]:
    name = each.metadata.labels.get(SERVICE_NAME)
    return [str(Key(each.metadata.namespace, name))] if name else []
