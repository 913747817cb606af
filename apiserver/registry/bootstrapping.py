"""The objects that every cluster has: its system namespaces, and the Service by which pods reach the API servers.

The Service's endpoints are the API servers that there are at the moment, and each of them sees to that.
"""

import asyncio
import ipaddress
import logging
from collections.abc import Collection, Sequence
from typing import Any, TypeVar

import msgspec

from api import kinds, meta
from api.errors import AlreadyExists, ApiError, Conflict, NotFound
from api.types import (
    DiscoveryV1EndpointPort,
    Endpoint,
    EndpointAddress,
    EndpointConditions,
    EndpointPort,
    Endpoints,
    EndpointSlice,
    EndpointSubset,
    Namespace,
    ObjectMeta,
    Service,
    ServicePort,
    ServiceSpec,
)  # fmt: skip
from apiserver.authorization import SELF
from apiserver.registry.registries import Registry
from apiserver.requests import Request, User
from apiserver.storage.etcd import Compacted
from apiserver.storage.members import Members
from machinery.clocks import Clock

USER = User(SELF, groups=("system:masters",))
NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
SERVICE, NAMESPACE, PORT_NAME, PORT = "kubernetes", "default", "https", 443
KEEP_SECONDS, RETRY_SECONDS, FAREWELL_SECONDS = 10.0, 1.0, 1.0
T = TypeVar("T")
log = logging.getLogger(__name__)


async def bootstrap(registry: Registry, service_address: str, addresses: Collection[str], port: int) -> None:
    """Make what is missing. `addresses` are the API servers', and `port` is their REST port.

    Without addresses the endpoints stay as they are: the last server that goes does not say that there never was one.
    Safe to call from several API servers at once.
    """
    for name in NAMESPACES:
        await _create(registry, Namespace(metadata=ObjectMeta(name=name)))
    await _create(registry, _service(service_address))
    if addresses:
        await _ensure(registry, _endpoints, sorted(addresses), port, Endpoints)
        await _ensure(registry, _slice, sorted(addresses), port, EndpointSlice)


def reachable(address: str) -> str:
    """The address if others can come there, else "": a pod that went to a loopback address would meet itself."""
    return "" if not address or ipaddress.ip_address(address).is_loopback else address


async def keep(registry: Registry, clock: Clock, members: Members, service_address: str, port: int) -> None:
    """Make it again whenever it is missing: `kubectl delete service --all` must not cost pods their way to the API.

    A look at the cache at upstream's interval covers all these objects, and whatever somebody may do to them.  A server
    that goes is taken from the endpoints at once by those that stay; when this one is cancelled, it says that it goes.
    """

    async def look() -> None:
        try:
            await bootstrap(registry, service_address, await members.present(), port)
        except ApiError as e:
            log.warning("cannot keep up what every cluster has: %s", e)

    async def stay() -> None:
        while True:
            await clock.sleep(KEEP_SECONDS)
            try:
                await members.announce()
            except ApiError as e:
                log.warning("cannot tell the other API servers of this one: %s", e)
            await look()

    async def follow() -> None:
        while True:
            try:
                async for _ in members.departures():
                    await look()
            except (ApiError, Compacted) as e:
                log.warning("cannot follow the other API servers: %s", e)
            await clock.sleep(RETRY_SECONDS)

    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(stay())
            tasks.create_task(follow())
    finally:
        await _farewell(members)


async def _farewell(members: Members) -> None:
    try:
        async with asyncio.timeout(FAREWELL_SECONDS):
            await members.withdraw()
    except (ApiError, TimeoutError) as e:
        log.info("the other API servers will miss this one only later: %s", e)


def _service(address: str) -> Service:
    labels = {"component": "apiserver", "provider": "kubernetes"}
    return Service(
        metadata=ObjectMeta(name=SERVICE, namespace=NAMESPACE, labels=labels),
        spec=ServiceSpec(
            type="ClusterIP", clusterIP=address, clusterIPs=[address], sessionAffinity="None",
            ports=[ServicePort(name=PORT_NAME, port=PORT, protocol="TCP", targetPort=6443)],
        ),
    )  # fmt: skip


def _endpoints(present: Endpoints | None, addresses: Sequence[str], port: int) -> Endpoints:
    labels = {"endpointslice.kubernetes.io/skip-mirror": "true"}
    result = present or Endpoints(metadata=ObjectMeta(name=SERVICE, namespace=NAMESPACE, labels=labels))
    result.subsets = [
        EndpointSubset(
            addresses=[EndpointAddress(ip=ip) for ip in addresses],
            ports=[EndpointPort(name=PORT_NAME, port=port, protocol="TCP")],
        )
    ]
    return result


def _slice(present: EndpointSlice | None, addresses: Sequence[str], port: int) -> EndpointSlice:
    labels = {"kubernetes.io/service-name": SERVICE}
    family = f"IPv{ipaddress.ip_address(addresses[0]).version}"
    result = present or EndpointSlice(
        metadata=ObjectMeta(name=SERVICE, namespace=NAMESPACE, labels=labels), addressType=family
    )
    result.endpoints = [Endpoint(addresses=[ip], conditions=EndpointConditions(ready=True)) for ip in addresses]
    result.ports = [DiscoveryV1EndpointPort(name=PORT_NAME, port=port, protocol="TCP")]
    return result


async def _create(registry: Registry, obj: Any) -> None:
    request = Request(USER, "create", meta.kind_of(obj), obj.metadata.namespace, field_manager="apiserver")
    try:
        await registry.get(request.at(verb="get", name=obj.metadata.name))
    except NotFound:
        try:
            await registry.create(request, meta.encode(obj))
        except AlreadyExists:
            return  # another API server starts beside this one


async def _ensure(registry: Registry, make: Any, addresses: Sequence[str], port: int, type_: type[T]) -> None:
    request = Request(USER, "get", kinds.of(type_), NAMESPACE, SERVICE, field_manager="apiserver")
    while True:
        try:
            document = await registry.get(request)
        except NotFound:
            await _create(registry, make(None, addresses, port))
            continue
        present = msgspec.json.decode(document, type=type_)
        try:
            await registry.update(request.at(verb="update"), meta.encode(make(present, addresses, port)))
        except Conflict:
            continue
        return
