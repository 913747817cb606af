"""What the scheduler tells the API of pods: events, the condition PodScheduled, and the node that one is nominated to.

Each write is a task beside the decisions, which wait for none.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from api import errors, meta, times
from api.types import Pod, PodCondition
from machinery.client import Client
from machinery.clocks import Clock
from machinery.events import Recorder
from scheduler.profiles import Profile
from scheduler.queues import has_gates

GATED = ("SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates")

log = logging.getLogger("writes")


class Writes:
    """A status that cannot be written is logged and left: the next attempt writes it again."""

    def __init__(
        self, client: Client, recorders: Mapping[str, Recorder], profile_of: Callable[[Pod], Profile], clock: Clock
    ) -> None:  # fmt: skip
        """There is a recorder for each profile's name."""
        self._client = client
        self._recorders = recorders
        self._profile_of = profile_of
        self._clock = clock
        self.tasks: asyncio.TaskGroup | None = None
        """Of the scheduler that runs. Before, only events can be told, and what is gated is not."""

    def begin(self, write: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        assert self.tasks is not None
        return self.tasks.create_task(write)

    def event(self, pod: Pod, kind: str, reason: str, message: str, by: Pod | None = None) -> None:
        """Told by the scheduler of that pod, or of the one `by` which it happened."""
        self._recorders[self._profile_of(by or pod).name].event(pod, kind, reason, message)

    def tell_gated(self, pod: Pod) -> None:
        if self.tasks is not None and has_gates(pod):
            self.tell(pod, *GATED, pod.status.nominatedNodeName)

    def tell(self, pod: Pod, reason: str, message: str, nominated: str) -> None:
        """Why the pod is not scheduled, and to which node it is nominated now, or ""; nothing that it says already."""
        now = times.format(self._clock.now())
        condition = PodCondition(
            type="PodScheduled", status="False", reason=reason, message=message, lastTransitionTime=now,
            observedGeneration=pod.metadata.generation,
        )  # fmt: skip
        changes: dict[str, Any] = {}
        if meta.set_condition([*pod.status.conditions], condition):
            changes["conditions"] = [condition]
        if nominated != pod.status.nominatedNodeName:
            changes["nominatedNodeName"] = nominated or None
        if changes:
            self.patch(pod, changes)

    def patch(self, pod: Pod, status: dict[str, Any]) -> None:
        self.begin(self._patch(pod, status))

    async def _patch(self, pod: Pod, status: dict[str, Any]) -> None:
        key, change = meta.key(pod), {"metadata": {"uid": pod.metadata.uid}, "status": status}
        try:
            await self._client.patch(Pod, key.name, key.namespace, change, kind="strategic", subresource="status")
        except errors.ApiError as e:
            log.info("the status of %s was not written: %s", key, e)
