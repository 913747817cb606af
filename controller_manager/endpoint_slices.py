"""EndpointSlices: the addresses behind each service, in pieces that change alone.

https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/ . What goes where is decided in `slices`.
"""

from api import errors, meta
from api.meta import Key
from api.types import Node, Pod, Service
from controller_manager.contexts import Context
from controller_manager.owned_slices import OwnedSlices
from controller_manager.refusals import namespace_is_going
from controller_manager.service_backends import backends, enqueue_services, selected, wants_endpoints
from controller_manager.slices import MANAGER, plan
from machinery.controllers import Controller

ZONE = "topology.kubernetes.io/zone"


def new(context: Context) -> Controller:
    return EndpointSliceController(context).controller


class EndpointSliceController:
    """Keeps the slices of each service with a selector. A service's end takes them along, since it owns them."""

    def __init__(self, context: Context) -> None:
        self._events = context.recorder("endpoint-slice-controller")
        self._services = context.informers(Service)
        self._pods = context.informers(Pod, indexes=("label",))
        self._nodes = context.informers(Node)
        self._slices = OwnedSlices(context, MANAGER)
        self.controller = Controller(
            "endpointslice-controller", self.reconcile, workers=context.config.concurrent_syncs,
            informers=(self._services, self._pods, self._nodes, self._slices.informer),
        )  # fmt: skip
        add = self.controller.queue.add
        self._services.on_change(lambda old, new: add(meta.key(new or old)))
        self._pods.on_change(enqueue_services(self._services, add))
        self._slices.feed(add)

    async def reconcile(self, key: Key) -> float | None:
        service = self._services.get(*key)
        if service is None:
            self._slices.forget(key)
            return None
        if service.metadata.deletionTimestamp or not wants_endpoints(service):
            return None
        if waiting := self._slices.waiting(key):
            return waiting
        mine = self._slices.of(key)
        changes = plan(service, backends(service, selected(service, self._pods)), mine, self._zone)
        try:
            await self._slices.write(key, changes)
        except errors.Conflict:
            raise
        except errors.ApiError as e:
            if namespace_is_going(e):
                return None
            message = f"Error updating Endpoint Slices for Service {key}: {e.message}"
            self._events.event(service, "Warning", "FailedToUpdateEndpointSlices", message)
            raise
        return None

    def _zone(self, node_name: str) -> str:
        node = self._nodes.get("", node_name)
        return node.metadata.labels.get(ZONE, "") if node is not None else ""
