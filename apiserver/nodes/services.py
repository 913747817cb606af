"""Which endpoints stand behind a port of a Service (pure), and the same from the watch cache."""

import random
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from api import errors, kinds
from api.errors import ApiError, InternalError, Unavailable
from api.types import Endpoint, EndpointSlice, Node, Pod, Service, ServicePort
from apiserver.admission.reading import Reader

SERVICE_LABEL = "kubernetes.io/service-name"
SERVICES = kinds.of(Service)
SLICES = kinds.of(EndpointSlice)
PODS = kinds.of(Pod)
NODES = kinds.of(Node)


class Spot(NamedTuple):
    """One endpoint, as its slice tells it."""

    address: str
    port: int
    pod: str
    """The name of the pod that it is; "" if it is none, but something that listens at the address."""


class Backend(NamedTuple):
    """Where to connect to. A pod is reached through its node; without one, the address itself is."""

    address: str
    port: int
    pod: Pod | None = None
    node: Node | None = None


class Backends(Protocol):
    """What stands behind `port` of a service, chosen anew at each call.  Raises ApiError where nothing does."""

    def find(self, namespace: str, name: str, port: int) -> Backend: ...


def port_of(service: Service, port: str) -> ServicePort:
    """The service's port of that name or number; of a service with one port, "" is it.  Raises Unavailable."""
    ports = service.spec.ports
    for candidate in ports:
        if port in (candidate.name, str(candidate.port)) or (not port and len(ports) == 1):
            return candidate
    shown = port if port.isdigit() else f'"{port}"'
    raise Unavailable(f'no service port {shown} found for service "{service.metadata.name}"')


def spots(slices: Iterable[EndpointSlice], port: ServicePort) -> list[Spot]:
    """The ready endpoints behind a service's port."""
    found: list[Spot] = []
    for its in slices:
        if its.addressType == "FQDN":
            continue  # whoever writes it would choose what name this server asks for, and so whom it calls
        number = next((p.port for p in its.ports if (p.name or "") == (port.name or "")), None)
        if number:
            found += [_spot(e, number) for e in its.endpoints if _ready(e) and e.addresses]
    return found


def _spot(endpoint: Endpoint, port: int) -> Spot:
    target = endpoint.targetRef
    pod = (target.name or "") if target is not None and target.kind in ("", "Pod") else ""
    return Spot(endpoint.addresses[0], port, pod)


def _ready(endpoint: Endpoint) -> bool:
    return endpoint.conditions is None or endpoint.conditions.ready is not False


def slices_of(reader: Reader, namespace: str, service: str) -> list[EndpointSlice]:
    """As the watch cache has them: those of other namespaces, of which there may be thousands, are not looked at."""
    found: Iterable[EndpointSlice] = reader.list_within(SLICES, namespace)
    return [its for its in found if its.metadata.labels.get(SERVICE_LABEL) == service]


def none_available(service: str) -> ApiError:
    return Unavailable(f'no endpoints available for service "{service}"')


class Services:
    """Backends from the watch cache."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def find(self, namespace: str, name: str, port: int) -> Backend:
        """Raises NotFound, Unavailable, in upstream's words."""
        service: Service | None = self._reader.get_cached(SERVICES, namespace, name)
        if service is None:
            raise errors.not_found("service", name)
        if service.spec.type == "ExternalName":
            return Backend(service.spec.externalName or "", port)
        found = spots(slices_of(self._reader, namespace, name), port_of(service, str(port)))
        random.shuffle(found)
        for spot in found:
            if not spot.pod:
                return Backend(spot.address, spot.port)
            pod = self._reader.get_cached(PODS, namespace, spot.pod)
            if pod is not None and pod.spec.nodeName:
                return Backend(spot.address, spot.port, pod, self._node(pod))
        raise none_available(name)

    def _node(self, pod: Pod) -> Node:
        node: Node | None = self._reader.get_cached(NODES, "", pod.spec.nodeName)
        if node is None:
            raise InternalError(f'node "{pod.spec.nodeName}" of pod "{pod.metadata.name}" not found')
        return node
