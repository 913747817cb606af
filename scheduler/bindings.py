"""From the decision to the binding, and back if it fails.

The invariant: a pod is counted on a node from the moment it is decided, not from when the API server says so. Until it
does, the pod is *assumed*; a binding that fails takes it back. So decisions never wait for bindings. If nobody knows
whether it was done, the same one is asked for again until that is known: taken back, the pod would leave room on the
node that it may fill yet.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from api import errors
from api.meta import Key
from api.types import Binding, ObjectMeta, ObjectReference, Pod
from machinery.client import Client
from machinery.clocks import Clock
from scheduler.decisions import Decision
from scheduler.device_conditions import awaited
from scheduler.granting import Granting
from scheduler.hints import Event
from scheduler.metrics import Metrics
from scheduler.prebinding import Prebinding
from scheduler.profiles import Profile
from scheduler.queues import SchedulingQueue, Waiting
from scheduler.snapshots import Snapshot
from scheduler.volumes import reachable
from scheduler.writes import Writes

if TYPE_CHECKING:  # it brings an HTTP client, which most do not need
    from scheduler.extenders import Extenders

# Bindings under way at once; the client joins them into messages of as many.
BINDINGS = 128
# So long a scheduler that ends waits for the bindings that it has sent: who takes over must not decide before them.
LAST_SECONDS = 2.0
RETRY_SECONDS = 0.2

log = logging.getLogger("bindings")


class Bindings:
    def __init__(
        self, client: Client, writes: Writes, metrics: Metrics, snapshot: Snapshot, queue: SchedulingQueue,
        profile_of: Callable[[Pod], Profile], clock: Clock,
    ) -> None:  # fmt: skip
        self._client = client
        self._writes = writes
        self._metrics = metrics
        self._snapshot = snapshot
        self._queue = queue
        self._profile_of = profile_of
        self._clock = clock
        self.prebinding = Prebinding(client, snapshot.storage)
        self.granting = Granting(client, snapshot, queue, clock)
        self.extenders: Extenders | None = None
        self.slots = asyncio.Semaphore(BINDINGS)
        """Whoever has a pod bound acquires one before; it is given back when that is done, or has failed."""
        self.assumed: dict[Key, Waiting] = {}
        """To be forgotten by whoever learns where the pod is."""
        self.under_way: set[asyncio.Task[None]] = set()
        """Those that only wait for the API server."""

    def begin(self, waiting: Waiting, decision: Decision) -> None:
        """Assume the pod, which the snapshot counts already, and bind it; gives a slot back when that is over."""
        self.assumed[waiting.key] = waiting
        binding = self._writes.begin(self._bind(waiting, decision))
        if not decision.choices and not _awaits(decision):  # volumes may take minutes
            self.under_way.add(binding)
            binding.add_done_callback(self.under_way.discard)

    async def last(self) -> None:
        """Returns when none is under way, or after LAST_SECONDS."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_SECONDS):
                while self.under_way:
                    await asyncio.wait(self.under_way)

    async def _bind(self, waiting: Waiting, decision: Decision) -> None:
        node = decision.node
        key = waiting.key
        try:
            if decision.choices:
                await self._prepare(decision, self._profile_of(waiting.pod).bind_seconds)
            if decision.grants:
                await self._grant(waiting.pod, decision)
            if self.extenders is None or not await self.extenders.bind(waiting.pod, node):
                await self._ask_for(waiting, node)
        except errors.ApiError as e:
            self._metrics.failed(self._profile_of(waiting.pod).name)
            self._snapshot.withdraw((), decision.grants)
            self._take_back(waiting, decision, e)
        else:
            self._snapshot.withdraw((), decision.grants)
            waited = self._clock.monotonic() - waiting.came
            self._metrics.bound(self._profile_of(waiting.pod).name, waiting.attempts, waited)
            self._writes.event(
                waiting.pod, "Normal", "Scheduled", f"Successfully assigned {key.namespace}/{key.name} to {node}"
            )
        finally:
            self.slots.release()

    async def _ask_for(self, waiting: Waiting, node: str) -> None:
        """Returns when the pod is bound to the node.  Raises ApiError if it is certain that it is not."""
        key, uid, doubtful = waiting.key, waiting.pod.metadata.uid, False
        target = ObjectReference(apiVersion="v1", kind="Node", name=node)
        binding = Binding(metadata=ObjectMeta(name=key.name, namespace=key.namespace, uid=uid), target=target)
        while True:
            try:
                await self._client.create_subresource(Pod, key.name, key.namespace, "binding", binding)
            except errors.UNANSWERED as e:
                log.info("it is not known whether %s was bound: %s", key, e)
                doubtful = True
                await self._clock.sleep(RETRY_SECONDS)
            except errors.Conflict:
                if not doubtful or await self._whereabouts(key) != (uid, node):
                    raise
                return
            else:
                return

    async def _whereabouts(self, key: Key) -> tuple[str, str]:
        """The pod's uid and node.  Raises ApiError if it is gone."""
        while True:
            try:
                pod = await self._client.get(Pod, key.name, key.namespace)
            except errors.UNANSWERED:
                await self._clock.sleep(RETRY_SECONDS)
            else:
                return pod.metadata.uid, pod.spec.nodeName

    async def _prepare(self, decision: Decision, seconds: float) -> None:
        """Have the pod's claims bound; others use the time.  Raises ApiError."""
        self.slots.release()
        try:
            await self.prebinding.bind(decision.choices, decision.node, seconds)
            self._check(decision)
        finally:
            self._snapshot.storage.release(decision.choices)
            await self.slots.acquire()

    async def _grant(self, pod: Pod, decision: Decision) -> None:
        """Have the pod's devices allocated, reserved and prepared.  Raises ApiError."""
        await self.granting.grant(pod, decision.grants)
        if not _awaits(decision):
            return
        message = f"waiting for binding conditions for device on node {decision.node}"
        self._writes.event(pod, "Normal", "BindingConditionsPending", message)
        self.slots.release()
        try:
            await self.granting.prepared(decision.grants, self._profile_of(pod).device_seconds)
        finally:
            await self.slots.acquire()

    def _check(self, decision: Decision) -> None:
        """Raises Conflict if a claim got another volume, which is not to be had on the node: an earlier choice, whose
        writing had failed, was written after all."""
        storage, row = self._snapshot.storage, self._snapshot.rows.get(decision.node)
        for choice in decision.choices:
            claim = storage.claims.get(choice.claim)
            volume = storage.volumes.get(claim.spec.volumeName) if claim is not None else None
            if volume is not None and row is not None and not reachable(volume, self._snapshot)[row]:
                which = f'pv "{volume.metadata.name}" node affinity doesn\'t match node "{decision.node}"'
                raise errors.Conflict(f"binding volumes: {which}: no matching NodeSelectorTerms")

    def _take_back(self, waiting: Waiting, decision: Decision, error: errors.ApiError) -> None:
        """A binding that failed: the informer has the last word on where the pod is."""
        log.info("%s could not be bound to %s: %s", waiting.key, decision.node, error)
        if self.assumed.get(waiting.key) is not waiting:
            return  # deleted, or placed after all
        del self.assumed[waiting.key]
        self._snapshot.remove_pod(waiting.key)
        self._queue.happened(Event.POD_REMOVED)
        if decision.grants:
            self._queue.happened(Event.CLAIM)
            self._writes.begin(self.granting.take_back(waiting.pod, decision.grants))
        if isinstance(error, errors.NotFound):
            self._queue.remove(waiting.key)
            return
        message = f"binding rejected: {error.message}"
        self._queue.failed(waiting, message)
        self._writes.event(waiting.pod, "Warning", "FailedScheduling", message)


def _awaits(decision: Decision) -> bool:
    """Whether devices have to be prepared before the binding."""
    return any(awaited(grant.allocation) for grant in decision.grants)
