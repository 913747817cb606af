"""The EndpointSlices that one controller manages: which are a service's, and what is not seen yet of one's writes."""

from collections.abc import Callable
from contextlib import suppress

from api import errors
from api.meta import Key
from api.types import EndpointSlice
from controller_manager.contexts import Context
from controller_manager.expectations import Expectations
from controller_manager.gathering import all_of
from controller_manager.informing import Written
from controller_manager.slices import MANAGED_BY, SERVICE_NAME, Changes


class OwnedSlices:
    """`manager` is the value of the label that marks them."""

    def __init__(self, context: Context, manager: str) -> None:
        self._client = context.client
        self._manager = manager
        # A slice that was created and is not seen yet would be created twice: its name is the server's choice.
        self._expectations = Expectations(context.clock)
        self.informer = context.informers(EndpointSlice, indexes=("label",))
        self._written = Written(self.informer)

    def feed(self, add: Callable[[Key], None]) -> None:
        """From now on `add` the keys of services whose slices change. Once, before the informers run."""

        def changed(old: EndpointSlice | None, new: EndpointSlice | None) -> None:
            for s in (old, new):
                if s is not None and s.metadata.labels.get(MANAGED_BY) == self._manager:
                    key = Key(s.metadata.namespace, s.metadata.labels.get(SERVICE_NAME, ""))
                    self._expectations.observed(key, s.metadata.uid)
                    add(key)

        self.informer.on_change(changed)

    def waiting(self, key: Key) -> float:
        """0 if the informer has shown all that was written for this key; else the longest time to wait for it."""
        return self._expectations.remaining(key)

    def forget(self, key: Key) -> None:
        """Its service is gone."""
        self._expectations.forget(key)

    def of(self, key: Key) -> list[EndpointSlice]:
        return [
            self._written.newest(s)
            for s in self.informer.by_index("label", f"{key.namespace}/{SERVICE_NAME}={key.name}")
            if s.metadata.labels.get(MANAGED_BY) == self._manager and not s.metadata.deletionTimestamp
        ]

    async def write(self, key: Key, changes: Changes) -> None:
        """Raises ApiError; Conflict if a slice is not as it was seen."""
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

    async def _create(self, key: Key, wanted: EndpointSlice) -> None:
        created = await self._client.create(wanted)
        if not self.informer.has_shown(created):
            self._expectations.expect(key, created.metadata.uid)

    async def _update(self, changed: EndpointSlice) -> None:
        self._written.note(await self._client.update(changed))

    async def _delete(self, s: EndpointSlice) -> None:
        with suppress(errors.NotFound):
            await self._client.delete(EndpointSlice, s.metadata.name, s.metadata.namespace, uid=s.metadata.uid)
