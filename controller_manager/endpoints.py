"""Endpoints: the addresses behind each service, in one object.

https://kubernetes.io/docs/concepts/services-networking/service/#endpoints . The older of the two forms; nothing of
the cluster itself reads it any more, but people and their tools do.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress

from api import errors, meta
from api.meta import Key
from api.types import (
    EndpointAddress,
    EndpointPort,
    Endpoints,
    EndpointSubset,
    ObjectMeta,
    ObjectReference,
    Pod,
    Service,
)
from controller_manager.contexts import Context
from controller_manager.informing import Written
from controller_manager.refusals import namespace_is_going
from controller_manager.service_backends import (
    HEADLESS,
    LAST_CHANGE,
    Backend,
    Port,
    backends,
    enqueue_services,
    is_headless,
    selected,
    wants_endpoints,
)
from machinery.controllers import Controller

MANAGED_BY = "endpoints.kubernetes.io/managed-by"
MANAGER = "endpoint-controller"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
CAPACITY = 1000


def new(context: Context) -> Controller:
    return EndpointsController(context).controller


class EndpointsController:
    """Keeps one Endpoints object for each service with a selector."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._events = context.recorder("endpoint-controller")
        self._services = context.informers(Service)
        self._pods = context.informers(Pod, indexes=("label",))
        self._endpoints = context.informers(Endpoints)
        self._written = Written(self._endpoints)
        self.controller = Controller(
            "endpoints-controller", self.reconcile, workers=context.config.concurrent_syncs,
            informers=(self._services, self._pods, self._endpoints),
        )  # fmt: skip
        add = self.controller.queue.add
        self._services.on_change(lambda old, new: add(meta.key(new or old)))
        self._pods.on_change(enqueue_services(self._services, add))
        self._endpoints.on_change(self._endpoints_changed)

    def _endpoints_changed(self, old: Endpoints | None, new: Endpoints | None) -> None:
        # Also those whose service went while nobody watched; others without a service belong to somebody else.
        if new is None or MANAGED_BY in new.metadata.labels or self._services.get(*meta.key(new)) is not None:
            self.controller.queue.add(meta.key(new or old))

    async def reconcile(self, key: Key) -> None:
        service, current = self._services.get(*key), self._endpoints.get(*key)
        if service is None:
            if current is not None:
                with suppress(errors.NotFound):
                    await self._client.delete(Endpoints, key.name, key.namespace, uid=current.metadata.uid)
            return
        if not wants_endpoints(service):
            return
        current = self._written.newest(current) if current is not None else None
        found = backends(service, selected(service, self._pods))
        wanted = desired(service, found, current)
        if current is not None and _same(current, wanted):
            return
        try:
            write = self._client.create(wanted) if current is None else self._client.update(wanted)
            self._written.note(await write)
        except errors.AlreadyExists:
            raise errors.Conflict(f"endpoints {key} exist but are not seen yet") from None
        except errors.NotFound:
            return  # deleted meanwhile; the informer will say so
        except errors.Forbidden as e:
            if not namespace_is_going(e):
                what = "update" if current is not None else "create"
                message = f"Failed to {what} endpoint {key.namespace}/{key.name}: {e.message}"
                self._events.event(service, "Warning", f"FailedTo{what.capitalize()}Endpoint", message)
                raise


def desired(service: Service, found: Iterable[Backend], current: Endpoints | None) -> Endpoints:
    """The Endpoints object that a service should have. Pure."""
    wanted = meta.clone(current) if current is not None else Endpoints(metadata=ObjectMeta())
    wanted.metadata.namespace, wanted.metadata.name = meta.key(service)
    wanted.metadata.labels = {k: v for k, v in service.metadata.labels.items() if k != HEADLESS} | {MANAGED_BY: MANAGER}
    if is_headless(service):
        wanted.metadata.labels[HEADLESS] = ""
    unready_too = bool(service.spec.publishNotReadyAddresses)
    # Terminating pods stay out: this form cannot say that they are.
    kept = [b for b in found if unready_too or not b.terminating]
    ready, unready = [b for b in kept if b.ready], [b for b in kept if not b.ready]
    shown = {id(b) for b in (ready + unready)[:CAPACITY]}
    if len(kept) > CAPACITY:
        wanted.metadata.annotations[OVER_CAPACITY] = "truncated"
    else:
        wanted.metadata.annotations.pop(OVER_CAPACITY, None)
    wanted.metadata.annotations.pop(LAST_CHANGE, None)
    wanted.subsets = subsets(service, [b for b in kept if id(b) in shown])
    return wanted


def subsets(service: Service, found: Sequence[Backend]) -> list[EndpointSubset]:
    """Backends grouped by their ports: a subset means that each of its addresses offers each of its ports."""
    groups: dict[tuple[Port, ...], EndpointSubset] = {}
    for b in found:
        if not b.ports and not (is_headless(service) and not service.spec.ports):
            continue
        ports = tuple(sorted(b.ports))
        subset = groups.get(ports)
        if subset is None:
            subset = groups[ports] = EndpointSubset(ports=[_port(p) for p in ports])
        (subset.addresses if b.ready else subset.notReadyAddresses).append(_address(b))
    return [groups[ports] for ports in sorted(groups)]


def _port(port: Port) -> EndpointPort:
    return EndpointPort(name=port.name, port=port.port, protocol=port.protocol, appProtocol=port.app_protocol)


def _address(b: Backend) -> EndpointAddress:
    m = b.pod.metadata
    return EndpointAddress(
        ip=b.address, nodeName=b.pod.spec.nodeName, hostname=b.hostname,
        targetRef=ObjectReference(kind="Pod", namespace=m.namespace, name=m.name, uid=m.uid),
    )  # fmt: skip


def _same(a: Endpoints, b: Endpoints) -> bool:
    return (
        a.subsets == b.subsets
        and a.metadata.labels == b.metadata.labels
        and a.metadata.annotations == b.metadata.annotations
    )
