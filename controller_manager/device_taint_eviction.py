"""Pods whose devices get NoExecute taints go when their claims no longer tolerate them.

https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/#device-taints-and-tolerations
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress

from api import errors, meta, times
from api.meta import Key
from api.resource_claims import is_reserved_for, results
from api.tolerations import tolerates_device
from api.types import (
    Device,
    DeviceRequestAllocationResult,
    DeviceTaint,
    DeviceToleration,
    Pod,
    ResourceSlice,
    ResourceV1ResourceClaim,
)
from controller_manager import pod_claims
from controller_manager.contexts import Context
from controller_manager.disruptions import note_disruption
from controller_manager.pods import is_finished, is_terminating
from machinery.controllers import Controller

NAME = "device-taint-eviction-controller"
NO_EXECUTE = "NoExecute"
REASON = "DeviceTaintManagerEviction"


def new(context: Context) -> Controller:
    return DeviceTaintEviction(context).controller


class DeviceTaintEviction:
    """Its keys are pods."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._events = context.recorder(NAME)
        # uid of a pod → when it has to go, and when that is by a clock that nobody sets
        self._due: dict[str, tuple[float, float]] = {}
        self._pods = context.informers(Pod)
        self._claims = context.informers(ResourceV1ResourceClaim)
        self._slices = context.informers(ResourceSlice)
        self._claims.add_index("device-pool", _pools_of)
        self._slices.add_index("pool", lambda s: [_pool_of(s)])
        self.controller = Controller(
            NAME, self.reconcile, workers=context.config.concurrent_syncs,
            informers=(self._pods, self._claims, self._slices),
        )  # fmt: skip
        self._pods.on_change(self._pod_changed)
        self._claims.on_change(self._claim_changed)
        self._slices.on_change(self._slice_changed)

    # --- what concerns whom

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        if new is None:
            assert old is not None
            self._due.pop(old.metadata.uid, None)
        elif pod_claims.has_any(new) and (old is None or _use(old) != _use(new)):
            self.controller.queue.add(meta.key(new))

    def _claim_changed(self, old: ResourceV1ResourceClaim | None, new: ResourceV1ResourceClaim | None) -> None:
        for claim in (old, new):
            if claim is not None:
                self._wake(claim)

    def _slice_changed(self, old: ResourceSlice | None, new: ResourceSlice | None) -> None:
        if old is not None and new is not None and _evicting(old) == _evicting(new):
            return
        for pool in {_pool_of(each) for each in (old, new) if each is not None}:
            for claim in self._claims.by_index("device-pool", pool):
                self._wake(claim)

    def _wake(self, claim: ResourceV1ResourceClaim) -> None:
        for consumer in claim.status.reservedFor:
            if pod_claims.is_pod(consumer):
                self.controller.queue.add(Key(claim.metadata.namespace, consumer.name))

    # --- one pod

    async def reconcile(self, key: Key) -> float | None:
        pod = self._pods.get(*key)
        if pod is None or is_terminating(pod) or is_finished(pod):
            return None
        end = min(self._ends(pod), default=None) if pod.spec.nodeName else None
        if end is None:
            if self._due.pop(pod.metadata.uid, None) is not None:
                self._events.event(pod, "Normal", REASON, "Cancelling deletion")
            return None
        left = self._deadline(pod, end) - self._clock.monotonic()
        if left > 0:
            return left
        self._events.event(pod, "Normal", REASON, "Marking for deletion")
        await note_disruption(
            self._client, pod, "DeletionByDeviceTaintManager", "Device Taint manager: deleting due to NoExecute taint",
            self._clock.now(),
        )  # fmt: skip
        with suppress(errors.NotFound):
            await self._client.delete(Pod, key.name, key.namespace, uid=pod.metadata.uid)
        return None

    def _deadline(self, pod: Pod, end: float) -> float:
        """`end` by the clock that nobody sets. The two are compared once: see taint_eviction."""
        known = self._due.get(pod.metadata.uid)
        if known is None or known[0] != end:
            known = self._due[pod.metadata.uid] = end, self._clock.monotonic() + end - self._clock.now()
        return known[1]

    def _ends(self, pod: Pod) -> Iterator[float]:
        """When it would have to go because of each taint of its devices, in seconds since the epoch."""
        for name in pod_claims.held(pod):
            claim = self._claims.get(pod.metadata.namespace, name)
            if claim is None or not is_reserved_for(claim, pod):
                continue
            for result in results(claim.status.allocation):
                for piece, device in self._published(result):
                    for taint in device.taints:
                        stands = toleration_time(result.tolerations, taint)
                        if taint.effect == NO_EXECUTE and stands is not None:
                            yield times.parse(taint.timeAdded or piece.metadata.creationTimestamp) + stands

    def _published(self, result: DeviceRequestAllocationResult) -> Iterator[tuple[ResourceSlice, Device]]:
        """The device as the newest generation of its pool has it; nothing if that does not have it."""
        slices = self._slices.by_index("pool", f"{result.driver}/{result.pool}")
        newest = max(map(_generation, slices), default=0)
        for piece in slices:
            if _generation(piece) == newest:
                yield from ((piece, device) for device in piece.spec.devices if device.name == result.device)


def toleration_time(tolerations: Iterable[DeviceToleration], taint: DeviceTaint) -> float | None:
    """Seconds for which a NoExecute taint is stood; 0 if it is not tolerated, None if it is for ever."""
    matching = [t for t in tolerations if tolerates_device(t, taint)]
    if any(t.tolerationSeconds is None or t.effect != NO_EXECUTE for t in matching):
        return None
    return max(0.0, float(min((t.tolerationSeconds or 0 for t in matching), default=0)))


def _use(pod: Pod) -> tuple[str, list[str]]:
    """Where which claims are used: nothing else of a pod matters."""
    return pod.spec.nodeName, [*pod_claims.held(pod)]


def _evicting(piece: ResourceSlice) -> tuple[int, list[tuple[str, list[DeviceTaint]]]]:
    """What of a slice may evict: its taints, if it is of the newest generation."""
    tainted = [(d.name, [t for t in d.taints if t.effect == NO_EXECUTE]) for d in piece.spec.devices if d.taints]
    return _generation(piece), tainted


def _generation(piece: ResourceSlice) -> int:
    return piece.spec.pool.generation if piece.spec.pool is not None else 0


def _pool_of(piece: ResourceSlice) -> str:
    return f"{piece.spec.driver}/{piece.spec.pool.name if piece.spec.pool is not None else ''}"


def _pools_of(claim: ResourceV1ResourceClaim) -> list[str]:
    return [f"{result.driver}/{result.pool}" for result in results(claim.status.allocation)]
