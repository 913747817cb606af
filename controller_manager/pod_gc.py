"""Pods that nobody else will ever remove.

https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-garbage-collection : those bound to nodes that
are gone, those deleted before they were bound, those deleted on nodes that somebody has declared out of service, and
the oldest finished ones when there are too many.
"""

from contextlib import suppress

from api import errors, meta
from api.meta import Key
from api.types import Node, Pod
from controller_manager.contexts import Context
from controller_manager.disruptions import note_disruption
from controller_manager.gathering import all_of
from controller_manager.node_health import readiness
from controller_manager.pods import is_finished, is_terminating
from machinery.controllers import Controller

QUARANTINE = 40.0
"""Seconds that a node must be missing: it may only be registering again."""
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
"""The taint by which somebody vouches that the node is off, so that nothing of its pods runs or writes any more."""


def new(context: Context) -> Controller:
    return PodGcController(context).controller


class PodGcController:
    """Its keys are pods."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._threshold = context.config.terminated_pod_gc_threshold
        self._missing: dict[str, float] = {}  # name of a node → when it was first found missing
        self._finished: dict[Key, tuple[bool, str]] = {}  # → what `_rank` says; the order of insertion does not matter
        self._nodes = context.informers(Node)
        self._pods = context.informers(Pod, indexes=("node",))
        self.controller = Controller(
            "pod-garbage-collector-controller", self.reconcile, workers=context.config.concurrent_syncs,
            informers=(self._nodes, self._pods),
        )  # fmt: skip
        self._nodes.on_change(self._node_changed)
        self._pods.on_change(self._pod_changed)

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        node = new or old
        assert node is not None
        if new is not None:
            self._missing.pop(new.metadata.name, None)
        if new is None or is_out_of_service(new):
            for pod in self._pods.by_index("node", node.metadata.name):
                self.controller.queue.add(meta.key(pod))

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        if new is None:
            assert old is not None
            self._finished.pop(meta.key(old), None)
            return
        key = meta.key(new)
        if is_finished(new):
            self._finished[key] = _rank(new)
            if 0 < self._threshold < len(self._finished):
                self.controller.queue.add(min(self._finished, key=lambda k: (self._finished[k], k)))
        node = self._nodes.get("", new.spec.nodeName) if new.spec.nodeName else None
        lost = node is None if new.spec.nodeName else is_terminating(new)
        if lost or (node is not None and is_terminating(new) and is_out_of_service(node)):
            self.controller.queue.add(key)

    async def reconcile(self, key: Key) -> float | None:
        pod = self._pods.get(*key)
        if pod is None:
            return None
        if not pod.spec.nodeName:
            if is_terminating(pod):
                await self._remove(pod)
            return None
        node = self._nodes.get("", pod.spec.nodeName)
        if node is None:
            return await self._orphaned(pod)
        if is_terminating(pod) and is_out_of_service(node):
            await self._remove(pod)
            return None
        if 0 < self._threshold < len(self._finished) and key in self._finished:
            surplus = sorted(self._finished, key=lambda k: (self._finished[k], k))
            await all_of(self._remove_key(k) for k in surplus[: len(surplus) - self._threshold])
        return None

    async def _orphaned(self, pod: Pod) -> float | None:
        name, now = pod.spec.nodeName, self._clock.monotonic()
        left = self._missing.setdefault(name, now) + QUARANTINE - now
        if left > 0:
            return left
        try:
            await self._client.get(Node, name)
        except errors.NotFound:
            await self._remove(pod, "PodGC: node no longer exists")
            return None
        # It is there again and the informer will say so.
        self._missing.pop(name, None)
        return None

    async def _remove_key(self, key: Key) -> None:
        pod = self._pods.get(*key)
        if pod is not None:
            await self._remove(pod)

    async def _remove(self, pod: Pod, why: str = "") -> None:
        """Take the pod out of the API at once: there is no kubelet that would confirm its end.

        It is Failed then, if it had not ended: who holds it by a finalizer may wait for that.
        """
        if not is_finished(pod):
            reason = "DeletionByPodGC" if why else ""
            await note_disruption(self._client, pod, reason, why, self._clock.now(), phase="Failed")
        with suppress(errors.NotFound):
            await self._client.delete(
                Pod, pod.metadata.name, pod.metadata.namespace, uid=pod.metadata.uid, grace_seconds=0
            )


def is_out_of_service(node: Node) -> bool:
    return readiness(node) != "True" and any(t.key == OUT_OF_SERVICE for t in node.spec.taints)


def _rank(pod: Pod) -> tuple[bool, str]:
    """Which finished pods go first: evicted ones, then old ones."""
    evicted = pod.status.phase == "Failed" and pod.status.reason == "Evicted"
    return not evicted, pod.metadata.creationTimestamp
