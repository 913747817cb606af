"""The objects that every cluster has: its system namespaces, and the Service by which pods reach the API servers.

Each API server keeps its own address among the Service's endpoints; the others' stay as they are.
"""

import ipaddress
import logging
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
from machinery.clocks import Clock

USER = User(SELF, groups=("system:masters",))
NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
SERVICE, NAMESPACE, PORT_NAME, PORT = "kubernetes", "default", "https", 443
KEEP_SECONDS = 10.0
T = TypeVar("T")
log = logging.getLogger(__name__)


async def bootstrap(registry: Registry, service_address: str, advertised: str, port: int) -> None:
    """Make what is missing. `advertised` is this server's address and `port` its REST port.

    "" adds no endpoint, and neither does a loopback address: a pod that went there would meet itself.

    Safe to call from several API servers at once.
    """
    for name in NAMESPACES:
        await _create(registry, Namespace(metadata=ObjectMeta(name=name)))
    await _create(registry, _service(service_address))
    if advertised and not ipaddress.ip_address(advertised).is_loopback:
        await _ensure(registry, _endpoints, advertised, port, Endpoints)
        await _ensure(registry, _slice, advertised, port, EndpointSlice)


async def keep(registry: Registry, clock: Clock, service_address: str, advertised: str, port: int) -> None:
    """Make it again whenever it is missing: `kubectl delete service --all` must not cost pods their way to the API.

    A look at the cache at upstream's interval covers all these objects, and whatever somebody may do to them.
    """
    while True:
        await clock.sleep(KEEP_SECONDS)
        try:
            await bootstrap(registry, service_address, advertised, port)
        except ApiError as e:
            log.warning("cannot keep up what every cluster has: %s", e)


def _service(address: str) -> Service:
    labels = {"component": "apiserver", "provider": "kubernetes"}
    return Service(
        metadata=ObjectMeta(name=SERVICE, namespace=NAMESPACE, labels=labels),
        spec=ServiceSpec(
            type="ClusterIP", clusterIP=address, clusterIPs=[address], sessionAffinity="None",
            ports=[ServicePort(name=PORT_NAME, port=PORT, protocol="TCP", targetPort=6443)],
        ),
    )  # fmt: skip


def _endpoints(present: Endpoints | None, address: str, port: int) -> Endpoints:
    labels = {"endpointslice.kubernetes.io/skip-mirror": "true"}
    result = present or Endpoints(metadata=ObjectMeta(name=SERVICE, namespace=NAMESPACE, labels=labels))
    addresses = {a.ip or "" for subset in result.subsets for a in subset.addresses} | {address}
    result.subsets = [
        EndpointSubset(
            addresses=[EndpointAddress(ip=ip) for ip in sorted(addresses)],
            ports=[EndpointPort(name=PORT_NAME, port=port, protocol="TCP")],
        )
    ]
    return result


def _slice(present: EndpointSlice | None, address: str, port: int) -> EndpointSlice:
    labels = {"kubernetes.io/service-name": SERVICE}
    family = f"IPv{ipaddress.ip_address(address).version}"
    result = present or EndpointSlice(
        metadata=ObjectMeta(name=SERVICE, namespace=NAMESPACE, labels=labels), addressType=family
    )
    addresses = {ip for endpoint in result.endpoints for ip in endpoint.addresses} | {address}
    result.endpoints = [Endpoint(addresses=[ip], conditions=EndpointConditions(ready=True)) for ip in sorted(addresses)]
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


async def _ensure(registry: Registry, make: Any, address: str, port: int, type_: type[T]) -> None:
    request = Request(USER, "get", kinds.of(type_), NAMESPACE, SERVICE, field_manager="apiserver")
    while True:
        try:
            document = await registry.get(request)
        except NotFound:
            await _create(registry, make(None, address, port))
            continue
        present = msgspec.json.decode(document, type=type_)
        try:
            await registry.update(request.at(verb="update"), meta.encode(make(present, address, port)))
        except Conflict:
            continue
        return
