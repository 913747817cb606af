"""Which pods stand behind a service, and on which ports. Pure; shared by endpoints and endpoint slices.

https://kubernetes.io/docs/concepts/services-networking/service/#services-in-kubernetes
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from api import labels, meta
from api.meta import Key
from api.types import Pod, Service
from controller_manager.pods import is_finished, is_ready, is_terminating
from machinery.informers import Informer

HEADLESS = "service.kubernetes.io/headless"
LAST_CHANGE = "endpoints.kubernetes.io/last-change-trigger-time"


class Port(NamedTuple):
    """A port as the pods behind a service offer it."""

    name: str
    port: int
    protocol: str
    app_protocol: str


@dataclass(frozen=True, slots=True)
class Backend:
    """A pod with an address behind a service."""

    pod: Pod
    address: str
    ports: tuple[Port, ...]
    ready: bool
    """Whether traffic may be sent to it: ready and not terminating, or the service does not mind."""
    serving: bool
    terminating: bool
    hostname: str


def is_headless(service: Service) -> bool:
    return service.spec.clusterIP == "None"


def wants_endpoints(service: Service) -> bool:
    """Services without a selector are managed by somebody else, those of type ExternalName by nobody."""
    return bool(service.spec.selector) and service.spec.type != "ExternalName"


def backends(service: Service, pods: Iterable[Pod]) -> list[Backend]:
    """The backends among `pods` (those that the service selects) that have an address, ordered by it."""
    found = [_backend(service, p) for p in pods if p.status.podIP and not is_finished(p)]
    return sorted(found, key=lambda b: (b.address, b.pod.metadata.uid))


def _backend(service: Service, pod: Pod) -> Backend:
    serving, terminating = is_ready(pod), is_terminating(pod)
    named = pod.spec.hostname and pod.spec.subdomain == service.metadata.name
    return Backend(
        pod=pod, address=pod.status.podIP, ports=tuple(_ports(service, pod)), serving=serving, terminating=terminating,
        ready=bool(service.spec.publishNotReadyAddresses) or (serving and not terminating),
        hostname=pod.spec.hostname if named else "",
    )  # fmt: skip


def _ports(service: Service, pod: Pod) -> Iterable[Port]:
    for p in service.spec.ports:
        protocol = p.protocol or "TCP"
        number = _number(p.targetPort if p.targetPort is not None else p.port, protocol, pod)
        if number is not None:  # a pod that does not name the port offers the others only
            yield Port(p.name, number, protocol, p.appProtocol)


def _number(target: int | str, protocol: str, pod: Pod) -> int | None:
    if isinstance(target, int):
        return target or None
    # An init container that goes on running (restartPolicy: Always) is a sidecar and may serve too.
    sidecars = [c for c in pod.spec.initContainers if c.restartPolicy == "Always"]
    for container in (*pod.spec.containers, *sidecars):
        for port in container.ports:
            if port.name == target and (port.protocol or "TCP") == protocol:
                return port.containerPort
    with suppress(ValueError):
        return int(target)
    return None


def selected(service: Service, pods: Informer[Pod]) -> list[Pod]:
    """The pods that the service selects. `pods` needs the index `label`."""
    selector, namespace = service.spec.selector, service.metadata.namespace
    candidates = [pods.by_index("label", f"{namespace}/{k}={v}") for k, v in selector.items()]
    wanted = selector.items()
    return [p for p in min(candidates, key=len, default=[]) if wanted <= p.metadata.labels.items()]


def matters(old: Pod | None, new: Pod | None) -> bool:
    """Whether the change of a pod can change endpoints; most changes of a status cannot."""
    if old is None or new is None:
        return True
    return _essence(old) != _essence(new)


def _essence(pod: Pod) -> tuple[object, ...]:
    return (
        pod.metadata.labels, bool(pod.metadata.deletionTimestamp), pod.status.podIP, pod.spec.nodeName, is_ready(pod),
        is_finished(pod), pod.spec.hostname, pod.spec.subdomain, pod.metadata.uid,
    )  # fmt: skip


def selects_by(service: Service) -> Iterable[str]:
    """An index of services: one pair of the selector, under which every pod that it selects looks for it."""
    if service.spec.selector:
        k, v = min(service.spec.selector.items())
        return [f"{service.metadata.namespace}/{k}={v}"]
    return []


def enqueue_services(
    services: Informer[Service], add: Callable[[Key], None]
) -> Callable[[Pod | None, Pod | None], None]:
    """A handler that adds the keys of all services that a changed pod is, or was, behind."""
    services.add_index("selector", selects_by)

    def changed(old: Pod | None, new: Pod | None) -> None:
        if not matters(old, new):
            return
        for pod in (old, new):
            if pod is None:
                continue
            namespace, pod_labels = pod.metadata.namespace, pod.metadata.labels
            for k, v in pod_labels.items():
                for service in services.by_index("selector", f"{namespace}/{k}={v}"):
                    if labels.from_map(service.spec.selector).matches(pod_labels):
                        add(meta.key(service))

    return changed
