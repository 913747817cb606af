"""EndpointSlices for Endpoints that no controller made: of services without a selector.

https://kubernetes.io/docs/concepts/services-networking/service/#endpointslice-mirroring . What goes where is decided
in `mirrored_slices`.
"""

from api import errors, meta
from api.meta import Key
from api.types import Endpoints, Service
from controller_manager.contexts import Context
from controller_manager.mirrored_slices import MANAGER, PER_SUBSET, plan, untold
from controller_manager.owned_slices import OwnedSlices
from controller_manager.refusals import namespace_is_going
from controller_manager.slices import Changes
from machinery.controllers import Controller

SKIP = "endpointslice.kubernetes.io/skip-mirror"
LEADER = "control-plane.alpha.kubernetes.io/leader"


def new(context: Context) -> Controller:
    return EndpointSliceMirroringController(context).controller


class EndpointSliceMirroringController:
    """Keeps the slices of each such Endpoints object; the objects' end takes them along."""

    def __init__(self, context: Context) -> None:
        self._services = context.informers(Service)
        self._endpoints = context.informers(Endpoints)
        self._slices = OwnedSlices(context, MANAGER)
        self._events = context.recorder("endpoint-slice-mirroring-controller")
        self.controller = Controller(
            "endpointslice-mirroring-controller", self.reconcile, workers=context.config.concurrent_syncs,
            informers=(self._services, self._endpoints, self._slices.informer),
        )  # fmt: skip
        add = self.controller.queue.add
        self._services.on_change(lambda old, new: add(meta.key(new or old)))
        self._endpoints.on_change(lambda old, new: add(meta.key(new or old)))
        self._slices.feed(add)

    async def reconcile(self, key: Key) -> float | None:
        if waiting := self._slices.waiting(key):
            return waiting
        mine = self._slices.of(key)
        endpoints = self._mirrored(key)
        if endpoints is None:
            await self._slices.write(key, Changes(delete=mine))
            self._slices.forget(key)
            return None
        changes = plan(endpoints, mine)
        if changes != Changes() and (left_out := untold(endpoints)):
            said = f"A max of {PER_SUBSET} addresses can be mirrored to EndpointSlices per Endpoints subset. "
            said += f"{left_out} addresses were skipped"
            self._events.event(endpoints, "Warning", "TooManyAddressesToMirror", said)
        try:
            await self._slices.write(key, changes)
        except errors.Forbidden as e:
            if not namespace_is_going(e):
                raise
        return None

    def _mirrored(self, key: Key) -> Endpoints | None:
        """The Endpoints that are to be told, or None: somebody else does, or nobody shall."""
        endpoints, service = self._endpoints.get(*key), self._services.get(*key)
        if endpoints is None or service is None or service.spec.selector or endpoints.metadata.deletionTimestamp:
            return None
        if endpoints.metadata.labels.get(SKIP) == "true" or LEADER in endpoints.metadata.annotations:
            return None
        return endpoints
