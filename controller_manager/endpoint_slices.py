"""EndpointSlices: the addresses behind each service, in pieces that change alone.

https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/ . What goes where is decided in `slices`.
"""

from contextlib import suppress

from api import errors, meta
from api.meta import Key
from api.types import EndpointSlice, Node, Pod, Service
from controller_manager.contexts import Context
from controller_manager.expectations import Expectations
from controller_manager.gathering import all_of
from controller_manager.informing import Written
from controller_manager.refusals import namespace_is_going
from controller_manager.service_backends import backends, enqueue_services, selected, wants_endpoints
from controller_manager.slices import MANAGED_BY, MANAGER, SERVICE_NAME, plan
from machinery.controllers import Controller

ZONE = "topology.kubernetes.io/zone"


def new(context: Context) -> Controller:
    return EndpointSliceController(context).controller


class EndpointSliceController:
    """Keeps the slices of each service with a selector. A service's end takes them along, since it owns them."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._events = context.recorder("endpoint-slice-controller")
        # A slice that was created and is not seen yet would be created twice: its name is the server's choice.
        self._expectations = Expectations(context.clock)
        self._services = context.informers(Service)
        self._pods = context.informers(Pod, indexes=("label",))
        self._nodes = context.informers(Node)
        self._slices = context.informers(EndpointSlice, indexes=("label",))
        self._written = Written(self._slices)
        self.controller = Controller(
            "endpointslice-controller", self.reconcile, workers=context.config.concurrent_syncs,
            informers=(self._services, self._pods, self._nodes, self._slices),
        )  # fmt: skip
        add = self.controller.queue.add
        self._services.on_change(lambda old, new: add(meta.key(new or old)))
        self._pods.on_change(enqueue_services(self._services, add))
        self._slices.on_change(self._slice_changed)

    def _slice_changed(self, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        for s in (old, new):
            if s is not None and s.metadata.labels.get(MANAGED_BY) == MANAGER:
                key = Key(s.metadata.namespace, s.metadata.labels.get(SERVICE_NAME, ""))
                self._expectations.observed(key, s.metadata.uid)
                self.controller.queue.add(key)

    async def reconcile(self, key: Key) -> float | None:
        service = self._services.get(*key)
        if service is None:
            self._expectations.forget(key)
            return None
        if service.metadata.deletionTimestamp or not wants_endpoints(service):
            return None
        if waiting := self._expectations.remaining(key):
            return waiting
        mine = [
            self._written.newest(s)
            for s in self._slices.by_index("label", f"{key.namespace}/{SERVICE_NAME}={key.name}")
            if s.metadata.labels.get(MANAGED_BY) == MANAGER and not s.metadata.deletionTimestamp
        ]
        changes = plan(service, backends(service, selected(service, self._pods)), mine, self._zone)
        try:
            await all_of(
                [
                    *(self._create(key, s) for s in changes.create),
                    *(self._update(s) for s in changes.update),
                    *(self._delete(s) for s in changes.delete),
                ]
            )
        except (errors.Conflict, errors.NotFound) as e:
            raise errors.Conflict(f"a slice of {key} has changed meanwhile: {e.message}") from e
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

    async def _create(self, key: Key, wanted: EndpointSlice) -> None:
        created = await self._client.create(wanted)
        if self._slices.get(created.metadata.namespace, created.metadata.name) is None:
            self._expectations.expect(key, created.metadata.uid)

    async def _update(self, changed: EndpointSlice) -> None:
        self._written.note(await self._client.update(changed))

    async def _delete(self, s: EndpointSlice) -> None:
        with suppress(errors.NotFound):
            await self._client.delete(EndpointSlice, s.metadata.name, s.metadata.namespace, uid=s.metadata.uid)
