"""The loop around the decisions: events change the snapshot and the queue, decisions become bindings.

The invariant: a pod is counted on a node from the moment it is decided, not from when the API server says so. Until it
does, the pod is *assumed*; a binding that fails takes it back. So decisions never wait for bindings.
"""

import asyncio
import itertools
import logging
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any

from api import errors, meta, times
from api.meta import Key
from api.types import (
    Binding,
    CSINode,
    Namespace,
    Node,
    ObjectMeta,
    ObjectReference,
    PersistentVolume,
    PersistentVolumeClaim,
    Pod,
    PodCondition,
    PodDisruptionBudget,
    StorageClass,
)
from machinery.client import Client
from machinery.clocks import SYSTEM, Clock
from machinery.events import Recorder
from machinery.informers import Informer
from scheduler.advice import Advice, Failed
from scheduler.budgets import budget
from scheduler.concerns import PodChange
from scheduler.configurations import DEFAULT, Configuration
from scheduler.decisions import Decision, feasible_nodes, schedule
from scheduler.groups import Groups
from scheduler.hints import Event, changes_wish, node_events
from scheduler.metrics import Metrics
from scheduler.prebinding import Prebinding
from scheduler.preempting import Preempting
from scheduler.preemption import Preemption
from scheduler.profiles import Profile
from scheduler.queues import SchedulingQueue, State, Waiting, has_gates
from scheduler.snapshots import Snapshot
from scheduler.wishes import Wish, wish

if TYPE_CHECKING:  # it brings an HTTP client, which most do not need
    from scheduler.extenders import Extenders

NAME = "default-scheduler"
# Bindings under way at once; the client joins them into messages of as many.
BINDINGS = 128
# So long a scheduler that ends waits for the bindings that it has sent: who takes over must not decide before them.
LAST_SECONDS = 2.0
# Decisions in a row, after which bindings and events get their turn, however long the queue is: the bindings of one
# turn go out as one message, which costs little more than one alone. A preemption among thousands of nodes is a turn by
# itself.
TURN, TURN_SECONDS = 16, 0.01
GATED = ("SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates")

log = logging.getLogger("scheduling")


class Scheduler:
    """Knows the cluster from the first event on, and decides while `run` runs."""

    def __init__(
        self, client: Client, recorders: Mapping[str, Recorder], groups: Groups, *, random: Random,
        configuration: Configuration = DEFAULT, clock: Clock = SYSTEM,
    ) -> None:  # fmt: skip
        """There is a recorder for each profile's name."""
        self.snapshot = Snapshot()
        self.queue = SchedulingQueue(
            clock, first_backoff=configuration.first_backoff, longest_backoff=configuration.longest_backoff,
            is_gated=self._is_gated,
        )  # fmt: skip
        self.metrics = Metrics(self.queue, clock, self._cached)
        self._client = client
        self._recorders = recorders
        self._profiles = {profile.name: profile for profile in configuration.profiles}
        self._groups = groups
        self._random = random
        self._clock = clock
        self._assumed: dict[Key, Waiting] = {}
        self._writes: asyncio.TaskGroup | None = None
        self._extenders: Extenders | None = None
        self._binding = asyncio.Semaphore(BINDINGS)
        self._bindings: set[asyncio.Task[None]] = set()
        self._prebinding = Prebinding(client, self.snapshot.storage)
        self._preempting = Preempting(client, self._event, self.snapshot, clock)

    def follow(self, nodes: Informer[Node], pods: Informer[Pod], namespaces: Informer[Namespace]) -> None:
        nodes.on_change(self.on_node)
        pods.on_change(self.on_pod)
        namespaces.on_change(self.on_namespace)

    def follow_storage(
        self, claims: Informer[PersistentVolumeClaim], volumes: Informer[PersistentVolume],
        classes: Informer[StorageClass], csi_nodes: Informer[CSINode],
    ) -> None:  # fmt: skip
        told = lambda old, new: self.queue.happened(Event.STORAGE)  # noqa: E731
        claims.on_change(self._prebinding.on_claim)
        volumes.on_change(self._prebinding.on_volume)
        classes.on_change(self._prebinding.on_class)
        csi_nodes.on_change(self._prebinding.on_csi_node)
        for informer in (claims, volumes, classes, csi_nodes):
            informer.on_change(told)

    def ask(self, extenders: "Extenders") -> None:
        """From now on, about every pod that concerns them."""
        self._extenders = extenders

    def follow_budgets(self, budgets: Informer[PodDisruptionBudget]) -> None:
        budgets.on_change(self.on_budget)

    async def run(self) -> None:
        """Decide and bind until cancelled."""
        async with asyncio.TaskGroup() as self._writes:
            self._writes.create_task(self.queue.run())
            for gated in self.queue.waiting(State.GATED):  # those that came before this process led
                self._tell_gated(gated.pod)
            try:
                await self._decide_all()
            finally:
                await self._last_bindings()

    async def _decide_all(self) -> None:
        end = 0.0
        for made in itertools.count():
            if made % TURN == 0 or self._clock.monotonic() > end:
                await asyncio.sleep(0)
                end = self._clock.monotonic() + TURN_SECONDS
            await self._binding.acquire()
            try:
                waiting = await self.queue.get()
            except BaseException:
                self._binding.release()
                raise
            if self._extenders is not None and self._extenders.concern(waiting.pod):
                advice = await self._advice(waiting)
                binds = advice is not None and self.decide(waiting, advice)
            else:
                binds = self.decide(waiting)
            if not binds:
                self._binding.release()

    async def _last_bindings(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_SECONDS):
                while self._bindings:
                    await asyncio.wait(self._bindings)

    async def _advice(self, waiting: Waiting) -> Advice | None:
        """What extenders say; None if the pod was put back, or is gone, meanwhile."""
        assert self._extenders is not None
        nodes = feasible_nodes(self.snapshot, self.wish_of(waiting.pod), self.profile_of(waiting.pod))
        try:
            advice = await self._extenders.advise(waiting.pod, nodes)
        except Failed as e:
            self.metrics.failed(self.profile_of(waiting.pod).name)
            self.queue.failed(waiting, str(e))
            self._event(waiting.pod, "Warning", "FailedScheduling", str(e))
            self._tell(waiting.pod, "SchedulerError", str(e), self.snapshot.nominations.node_of(waiting.key))
            return None
        return advice if self.queue.holds(waiting) else None

    def decide(self, waiting: Waiting, advice: Advice | None = None) -> bool:
        """One iteration; whether a binding is under way now."""
        wanted = self.wish_of(waiting.pod)
        profile = self.profile_of(waiting.pod)
        self.metrics.begin(profile.name)
        decision = schedule(self.snapshot, wanted, self._random, profile, self.metrics.lap, advice)
        self.metrics.decided(decision)
        if not decision.node:
            self._reject(waiting, wanted, decision)
            return False
        self._assumed[waiting.key] = waiting
        self._renounce(waiting.key, decision.node)
        self.snapshot.set_pod(wanted, decision.node)
        self.snapshot.storage.reserve(decision.choices, decision.node)
        binding = self._write(self._bind(waiting, decision))
        if not decision.choices:  # volumes may take minutes
            self._bindings.add(binding)
            binding.add_done_callback(self._bindings.discard)
        return True

    def profile_of(self, pod: Pod) -> Profile:
        """Pods of other schedulers are judged by the first one."""
        return self._profiles.get(pod.spec.schedulerName or NAME) or next(iter(self._profiles.values()))

    def _cached(self) -> dict[str, int]:
        return {"nodes": len(self.snapshot), "pods": self.snapshot.pod_count, "assumed_pods": len(self._assumed)}

    def _is_gated(self, pod: Pod) -> bool:
        return has_gates(pod) and self.profile_of(pod).gates

    def wish_of(self, pod: Pod) -> Wish:
        return wish(pod, self._groups.selector(pod), self.profile_of(pod).spreads)

    # Events

    def on_node(self, old: Node | None, new: Node | None) -> None:
        events = node_events(old, new)
        if new is not None:
            # A status that only tells of the node's health changes no column but its images'.
            if events or (old is not None and old.status.images != new.status.images):
                self.snapshot.set_node(new)
        elif old is not None:
            self.snapshot.remove_node(old.metadata.name)
        for event in events:
            self.queue.happened(event)

    def on_namespace(self, old: Namespace | None, new: Namespace | None) -> None:
        if new is None:
            if old is not None:
                self.snapshot.namespaces.pop(old.metadata.name, None)
            return
        self.snapshot.namespaces[new.metadata.name] = new.metadata.labels
        if old is None or old.metadata.labels != new.metadata.labels:
            self.queue.happened(Event.NAMESPACE)

    def on_budget(self, old: PodDisruptionBudget | None, new: PodDisruptionBudget | None) -> None:
        if new is not None:
            self.snapshot.budgets[meta.key(new)] = budget(new)
        elif old is not None:
            self.snapshot.budgets.pop(meta.key(old), None)

    def on_pod(self, old: Pod | None, new: Pod | None) -> None:
        pod = new or old
        assert pod is not None
        if new is None or _dying(new):
            self._preempting.seen(pod)
        if new is None or new.status.phase in ("Succeeded", "Failed"):
            self._gone(meta.key(pod))
        elif new.spec.nodeName:
            self._placed(old, new)
        elif (new.spec.schedulerName or NAME) in self._profiles:
            self._pending(old, new)

    def _gone(self, key: Key) -> None:
        self._assumed.pop(key, None)
        self.queue.remove(key)
        self._renounce(key)
        node = self.snapshot.node_of(key)
        if (gone := self.snapshot.remove_pod(key)) is not None:
            self.queue.happened(Event.POD_REMOVED, PodChange(self.snapshot, node, gone).helps)

    def _placed(self, old: Pod | None, new: Pod) -> None:
        key = meta.key(new)
        assumed = self._assumed.pop(key, None)
        self.queue.remove(key)
        self._renounce(key, new.spec.nodeName)
        known = self.snapshot.node_of(key)
        if known and old is not None and not changes_wish(old, new) and _dying(old) == _dying(new):
            if old.status.startTime != new.status.startTime:  # preemption spares those that have run for long
                self.snapshot.refresh(key, new)
            return
        # Its group matters only while it looks for a place.
        now = wish(new)
        self.snapshot.set_pod(now, new.spec.nodeName)
        if not known or assumed is not None:
            self.queue.happened(Event.POD_PLACED, PodChange(self.snapshot, new.spec.nodeName, now).helps)
        elif old is not None:
            self._changed(old, new)

    def _changed(self, old: Pod, new: Pod) -> None:
        """A pod on a node was changed in place."""
        if old.metadata.labels != new.metadata.labels or _dying(old) != _dying(new):
            change = PodChange(self.snapshot, new.spec.nodeName, wish(old), wish(new))
            self.queue.happened(Event.POD_LABELS, change.helps)
        if old.spec != new.spec:
            self.queue.happened(Event.POD_REMOVED)  # a pod that was made smaller leaves room as well

    def _pending(self, old: Pod | None, new: Pod) -> None:
        key = meta.key(new)
        if key in self._assumed:
            self.queue.refresh(new, key)
            return
        if _dying(new):  # it will never run, so it needs no place
            self.queue.remove(key)
            self._renounce(key)
            return
        # Otherwise what is known here stands: it is newer, and being written.
        if old is None or old.status.nominatedNodeName != new.status.nominatedNodeName:
            if nominated := new.status.nominatedNodeName:
                self.snapshot.nominate(self.wish_of(new), nominated)
            else:
                self._renounce(key)
        if old is None or changes_wish(old, new):
            self.queue.add(new, key)
            if self._is_gated(new):
                self._tell_gated(new)
        else:
            self.queue.refresh(new, key)

    # Writes

    def _reject(self, waiting: Waiting, wanted: Wish, decision: Decision) -> None:
        self.queue.failed(waiting, decision.message, decision.rejectors, room=decision.room, wish=wanted)
        self._event(waiting.pod, "Warning", "FailedScheduling", decision.message)
        preemption = decision.preemption
        if preemption.node:
            self._preempt(waiting.pod, wanted, preemption)
        elif not preemption.keeps:
            self._renounce(waiting.key)
        nominated = self.snapshot.nominations.node_of(waiting.key)
        self._tell(waiting.pod, "Unschedulable", decision.message, nominated)

    def _preempt(self, pod: Pod, wanted: Wish, preemption: Preemption) -> None:
        victims, outranked = self._preempting.begin(wanted, preemption)
        if victims:
            self._write(self._evict(victims, pod, preemption.node))
        for other in outranked:
            self._write(self._patch(other, {"nominatedNodeName": None}))
            self.queue.again(meta.key(other))  # there may be another place for it

    async def _evict(self, victims: list[Pod], pod: Pod, node: str) -> None:
        if not await self._preempting.evict(victims, pod, node):
            self.queue.again(meta.key(pod), error=True)

    def _renounce(self, key: Key, node: str = "") -> None:
        """The pod needs no node any more but the one that it has; others may have the one it was nominated to."""
        nominated = self.snapshot.renounce(key)
        if nominated and nominated != node:
            self.queue.happened(Event.POD_REMOVED)

    def _tell_gated(self, pod: Pod) -> None:
        if self._writes is not None:
            self._tell(pod, *GATED, pod.status.nominatedNodeName)

    def _tell(self, pod: Pod, reason: str, message: str, nominated: str) -> None:
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
            self._write(self._patch(pod, changes))

    async def _patch(self, pod: Pod, status: dict[str, Any]) -> None:
        key, change = meta.key(pod), {"metadata": {"uid": pod.metadata.uid}, "status": status}
        try:
            await self._client.patch(Pod, key.name, key.namespace, change, kind="strategic", subresource="status")
        except errors.ApiError as e:
            log.info("the status of %s was not written: %s", key, e)

    async def _bind(self, waiting: Waiting, decision: Decision) -> None:
        node = decision.node
        key, metadata = waiting.key, waiting.pod.metadata
        target = Binding(
            metadata=ObjectMeta(name=key.name, namespace=key.namespace, uid=metadata.uid),
            target=ObjectReference(apiVersion="v1", kind="Node", name=node),
        )
        try:
            if decision.choices:
                await self._prepare(decision, self.profile_of(waiting.pod).bind_seconds)
            binder = self._extenders.binder(waiting.pod) if self._extenders is not None else None
            if binder is not None:
                await binder.bind(waiting.pod, node)
            else:
                await self._client.create_subresource(Pod, key.name, key.namespace, "binding", target)
        except errors.ApiError as e:
            self.metrics.failed(self.profile_of(waiting.pod).name)
            self._take_back(waiting, node, e)
        else:
            waited = self._clock.monotonic() - waiting.came
            self.metrics.bound(self.profile_of(waiting.pod).name, waiting.attempts, waited)
            self._event(
                waiting.pod, "Normal", "Scheduled", f"Successfully assigned {key.namespace}/{key.name} to {node}"
            )
        finally:
            self._binding.release()

    async def _prepare(self, decision: Decision, seconds: float) -> None:
        """Have the pod's claims bound; others use the time.  Raises ApiError."""
        self._binding.release()
        try:
            await self._prebinding.bind(decision.choices, decision.node, seconds)
        finally:
            self.snapshot.storage.release(decision.choices)
            await self._binding.acquire()

    def _take_back(self, waiting: Waiting, node: str, error: errors.ApiError) -> None:
        """A binding that failed, or of which it is not known: the informer has the last word on where the pod is."""
        log.info("%s could not be bound to %s: %s", waiting.key, node, error)
        if self._assumed.get(waiting.key) is not waiting:
            return  # deleted, or placed after all
        del self._assumed[waiting.key]
        self.snapshot.remove_pod(waiting.key)
        self.queue.happened(Event.POD_REMOVED)
        if isinstance(error, errors.NotFound):
            self.queue.remove(waiting.key)
            return
        message = f"binding rejected: {error.message}"
        self.queue.failed(waiting, message)
        self._event(waiting.pod, "Warning", "FailedScheduling", message)

    def _event(self, pod: Pod, kind: str, reason: str, message: str, by: Pod | None = None) -> None:
        """Told by the scheduler of that pod, or of the one `by` which it happened."""
        self._recorders[self.profile_of(by or pod).name].event(pod, kind, reason, message)

    def _write(self, write: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        assert self._writes is not None
        return self._writes.create_task(write)


def _dying(pod: Pod) -> bool:
    return bool(pod.metadata.deletionTimestamp)
