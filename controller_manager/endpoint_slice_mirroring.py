"""EndpointSlices for Endpoints that no controller made: of services without a selector.

https://kubernetes.io/docs/concepts/services-networking/service/#endpointslice-mirroring . What goes where is decided
in `mirrored_slices`.
"""

from contextlib import suppress

from api import errors, meta
from api.meta import Key
from api.types import Endpoints, EndpointSlice, Service
from controller_manager.contexts import Context
from controller_manager.expectations import Expectations
from controller_manager.gathering import all_of
from controller_manager.informing import Written
from controller_manager.mirrored_slices import MANAGER, plan
from controller_manager.refusals import namespace_is_going
from controller_manager.slices import MANAGED_BY, SERVICE_NAME
from machinery.controllers import Controller

SKIP = "endpointslice.kubernetes.io/skip-mirror"
LEADER = "control-plane.alpha.kubernetes.io/leader"


def new(context: Context) -> Controller:
    return EndpointSliceMirroringController(context).controller


class EndpointSliceMirroringController:
    """Keeps the slices of each such Endpoints object; the objects' end takes them along."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        # A slice that was created and is not seen yet would be created twice: its name is the server's choice.
        self._expectations = Expectations(context.clock)
        self._services = context.informers(Service)
        self._endpoints = context.informers(Endpoints)
        self._slices = context.informers(EndpointSlice, indexes=("label",))
        self._written = Written(self._slices)
        self.controller = Controller(
            "endpointslice-mirroring-controller", self.reconcile, workers=context.config.concurrent_syncs,
            informers=(self._services, self._endpoints, self._slices),
        )  # fmt: skip
        add = self.controller.queue.add
        self._services.on_change(lambda old, new: add(meta.key(new or old)))
        self._endpoints.on_change(lambda old, new: add(meta.key(new or old)))
        self._slices.on_change(self._slice_changed)

    def _slice_changed(self, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        for s in (old, new):
            if s is not None and s.metadata.labels.get(MANAGED_BY) == MANAGER:
                key = Key(s.metadata.namespace, s.metadata.labels.get(SERVICE_NAME, ""))
                self._expectations.observed(key, s.metadata.uid)
                self.controller.queue.add(key)

    async def reconcile(self, key: Key) -> float | None:
        if waiting := self._expectations.remaining(key):
            return waiting
        mine = [
            self._written.newest(s)
            for s in self._slices.by_index("label", f"{key.namespace}/{SERVICE_NAME}={key.name}")
            if s.metadata.labels.get(MANAGED_BY) == MANAGER and not s.metadata.deletionTimestamp
        ]
        endpoints = self._mirrored(key)
        if endpoints is None:
            await all_of([self._delete(s) for s in mine])
            self._expectations.forget(key)
            return None
        changes = plan(endpoints, mine)
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

    async def _create(self, key: Key, wanted: EndpointSlice) -> None:
        created = await self._client.create(wanted)
        if self._slices.get(created.metadata.namespace, created.metadata.name) is None:
            self._expectations.expect(key, created.metadata.uid)

    async def _update(self, changed: EndpointSlice) -> None:
        self._written.note(await self._client.update(changed))

    async def _delete(self, s: EndpointSlice) -> None:
        with suppress(errors.NotFound):
            await self._client.delete(EndpointSlice, s.metadata.name, s.metadata.namespace, uid=s.metadata.uid)
