"""The Service `kube-system/kube-dns`, and this server's own place among its endpoints.

Each server keeps a slice of its own, so that several need not agree on anything. A Service of that name with a
selector is somebody else's (CoreDNS as a Deployment, say) and is left alone.
"""

import logging
from dataclasses import dataclass

from api import meta
from api.errors import Conflict, NotFound
from api.meta import Key
from api.types import (
    DiscoveryV1EndpointPort,
    Endpoint,
    EndpointConditions,
    EndpointSlice,
    ObjectMeta,
    OwnerReference,
    Service,
    ServicePort,
    ServiceSpec,
)  # fmt: skip
from machinery.client import Client
from machinery.controllers import Controller
from machinery.informers import Informer

log = logging.getLogger(__name__)

NAME = Key("kube-system", "kube-dns")
# `kubectl cluster-info` lists Services with the second label under the name that the third gives.
LABELS = {"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "KubeDNS"}
MANAGER = "cluster-dns.wherry.io"
PORT = 53
PORTS = (("dns", "UDP"), ("dns-tcp", "TCP"))


@dataclass(frozen=True, slots=True)
class Place:
    """Where this server listens, and the Service's address."""

    address: str
    port: int
    service_address: str

    @property
    def slice(self) -> Key:
        return Key(NAME.namespace, f"{NAME.name}-{self.address.replace('.', '-').replace(':', '-')}")


class Publisher:
    """Makes both objects, and makes them again when they are changed or gone."""

    def __init__(
        self, client: Client, services: Informer[Service], slices: Informer[EndpointSlice], place: Place
    ) -> None:  # fmt: skip
        self._client = client
        self._services, self._slices = services, slices
        self._place = place
        self._controller = Controller("publishing", self.reconcile, workers=1, informers=(services, slices))
        services.on_change(lambda old, new: self._look(new or old, NAME))
        slices.on_change(lambda old, new: self._look(new or old, place.slice))

    async def run(self) -> None:
        """Works until cancelled."""
        self._controller.queue.add(NAME)
        await self._controller.run()

    async def leave(self) -> None:
        """Says that this server is going."""
        await say_going(self._client, self._place.slice, self._place.address)

    async def reconcile(self, _: Key) -> None:
        service = self._services.get(*NAME)
        if service is None:
            log.info("creating the Service %s at %s", NAME, self._place.service_address)
            await self._client.create(service_at(self._place.service_address))
            return  # the informer tells of it, and then comes the slice
        if not is_ours(service):
            await self._withdraw()
            return
        wanted = slice_of(service, self._place)
        present = self._slices.get(*self._place.slice)
        if present is None:
            await self._client.create(wanted)
        elif not _same(present, wanted):
            wanted.metadata.resourceVersion = present.metadata.resourceVersion
            await self._client.update(wanted)

    async def _withdraw(self) -> None:
        if self._slices.get(*self._place.slice) is not None:
            try:
                await self._client.delete(EndpointSlice, self._place.slice.name, NAME.namespace)
            except NotFound:
                return  # it went with the Service that it belonged to

    def _look(self, changed: Service | EndpointSlice | None, at: Key) -> None:
        if meta.key(changed) == at:
            self._controller.queue.add(NAME)


async def say_going(client: Client, at: Key, address: str) -> None:
    """Others than the server of this slice are preferred from now on; without others it is still tried."""
    while True:
        # Not the informer's: it may not have heard of the last write.
        try:
            present = await client.get(EndpointSlice, at.name, at.namespace)
            present.endpoints = [_endpoint(address, going=True)]
            await client.update(present)
        except Conflict:
            continue
        except NotFound:
            return
        return


def is_ready(each: EndpointSlice) -> bool:
    return any(e.conditions is not None and e.conditions.ready for e in each.endpoints)


def is_ours(service: Service) -> bool:
    return not service.spec.selector


def service_at(address: str) -> Service:
    ports = [ServicePort(name=name, port=PORT, protocol=protocol, targetPort=PORT) for name, protocol in PORTS]
    return Service(
        metadata=ObjectMeta(name=NAME.name, namespace=NAME.namespace, labels=dict(LABELS)),
        spec=ServiceSpec(type="ClusterIP", clusterIP=address, ports=ports),
    )


def slice_of(service: Service, place: Place) -> EndpointSlice:
    """This server's slice; it goes when the Service does."""
    labels = {"kubernetes.io/service-name": NAME.name, "endpointslice.kubernetes.io/managed-by": MANAGER}
    owner = OwnerReference(apiVersion="v1", kind="Service", name=NAME.name, uid=service.metadata.uid)
    return EndpointSlice(
        metadata=ObjectMeta(
            name=place.slice.name, namespace=NAME.namespace, labels=labels | LABELS, ownerReferences=[owner]
        ),
        addressType="IPv6" if ":" in place.address else "IPv4",
        endpoints=[_endpoint(place.address)],
        ports=[DiscoveryV1EndpointPort(name=name, port=place.port, protocol=protocol) for name, protocol in PORTS],
    )


def _endpoint(address: str, *, going: bool = False) -> Endpoint:
    conditions = EndpointConditions(ready=not going, serving=True, terminating=going)
    return Endpoint(addresses=[address], conditions=conditions)


def _same(present: EndpointSlice, wanted: EndpointSlice) -> bool:
    """In all that this server says; others may add what they like to the metadata."""
    owners = [owner.uid for owner in present.metadata.ownerReferences]
    return (
        present.endpoints == wanted.endpoints
        and present.ports == wanted.ports
        and wanted.metadata.labels.items() <= present.metadata.labels.items()
        and owners == [owner.uid for owner in wanted.metadata.ownerReferences]
    )
