"""EndpointSlices: the addresses behind each service, in pieces that change alone.

https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/ . What goes where is decided in `slices`.
"""

from api import errors, meta
from api.meta import Key
from api.types import EndpointSlice, Node, Pod, Service
from controller_manager.contexts import Context
from controller_manager.owned_slices import OwnedSlices
from controller_manager.refusals import namespace_is_going
from controller_manager.service_backends import backends, enqueue_services, selected, wants_endpoints
from controller_manager.slices import MANAGER, Changes, plan
from controller_manager.topology_hints import ZONE, Zones, near, removed, rewrite, wants_zones
from controller_manager.trigger_times import TriggerTimes, stamp
from machinery.controllers import Controller


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
        self._zones = Zones()
        self._times = TriggerTimes()
        self.controller = Controller(
            "endpointslice-controller", self.reconcile, workers=context.config.concurrent_syncs,
            informers=(self._services, self._pods, self._nodes, self._slices.informer),
        )  # fmt: skip
        add = self.controller.queue.add
        self._services.on_change(lambda old, new: add(meta.key(new or old)))
        self._pods.on_change(enqueue_services(self._services, add))
        self._nodes.on_change(self._on_node)
        self._slices.feed(add)

    async def reconcile(self, key: Key) -> float | None:
        service = self._services.get(*key)
        if service is None:
            self._slices.forget(key)
            self._zones.forget(key)
            self._times.forget(key)
            return None
        if service.metadata.deletionTimestamp or not wants_endpoints(service):
            return None
        if waiting := self._slices.waiting(key):
            return waiting
        mine = self._slices.of(key)
        pods = selected(service, self._pods)
        changes = plan(service, backends(service, pods), mine, self._zone)
        self._hint(service, changes, mine)
        stamp(changes, self._times.newest(service, pods))
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

    def _hint(self, service: Service, changes: Changes, mine: list[EndpointSlice]) -> None:
        key, families = meta.key(service), service.spec.ipFamilies or ["IPv4"]
        if wants_zones(service):
            told = [t for family in families for t in self._zones.share(key, family, changes, mine)]
        else:
            told = [removed(family) for family in families] if self._zones.forget(key) else []
            rewrite(changes, mine, near(service.spec.trafficDistribution))
        for each in told:
            self._events.event(service, *each)

    def _on_node(self, old: Node | None, new: Node | None) -> None:
        if old is None or new is None or _standing(old) != _standing(new):
            self._zones.set_nodes(self._nodes.list())
            for key in self._zones.overloaded():
                self.controller.queue.add(key)

    def _zone(self, node_name: str) -> str:
        node = self._nodes.get("", node_name)
        return node.metadata.labels.get(ZONE, "") if node is not None else ""


def _standing(node: Node) -> tuple[bool, str]:
    return meta.is_true(node, "Ready"), node.metadata.labels.get(ZONE, "")
