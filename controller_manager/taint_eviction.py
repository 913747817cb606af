"""Pods on nodes with NoExecute taints go when they no longer tolerate them.

https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/#taint-based-evictions
"""

from contextlib import suppress

from api import errors, meta, times
from api.meta import Key
from api.types import Node, Pod, Taint
from controller_manager.contexts import Context
from controller_manager.disruptions import note_disruption
from controller_manager.node_health import toleration_time
from controller_manager.pods import is_terminating
from machinery.controllers import Controller


def new(context: Context) -> Controller:
    return TaintEvictionController(context).controller


class TaintEvictionController:
    """Its keys are pods."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._events = context.recorder("taint-eviction-controller")
        # uid of a pod → the time that its taints tell, and when that was by a clock that nobody sets
        self._begun: dict[str, tuple[str, float]] = {}
        self._nodes = context.informers(Node)
        self._pods = context.informers(Pod, indexes=("node",))
        self.controller = Controller(
            "taint-eviction-controller", self.reconcile, workers=context.config.concurrent_syncs,
            informers=(self._nodes, self._pods),
        )  # fmt: skip
        self._nodes.on_change(self._node_changed)
        self._pods.on_change(self._pod_changed)

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        if new is not None and _evicting(new) != (_evicting(old) if old is not None else []):
            for pod in self._pods.by_index("node", new.metadata.name):
                self.controller.queue.add(meta.key(pod))

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        if new is None:
            assert old is not None
            self._begun.pop(old.metadata.uid, None)
            return
        moved = old is None or old.spec.nodeName != new.spec.nodeName or old.spec.tolerations != new.spec.tolerations
        node = self._nodes.get("", new.spec.nodeName) if moved else None
        # Before the nodes are known any bound pod may stand on a tainted one.
        if moved and new.spec.nodeName and (not self._nodes.has_synced or (node is not None and _evicting(node))):
            self.controller.queue.add(meta.key(new))

    async def reconcile(self, key: Key) -> float | None:
        pod = self._pods.get(*key)
        if pod is None or is_terminating(pod):
            return None
        node = self._nodes.get("", pod.spec.nodeName)
        taints = _evicting(node) if node is not None else []
        stands = toleration_time(pod, taints) if taints else None
        if stands is None:
            if self._begun.pop(pod.metadata.uid, None) is not None:
                self._events.event(pod, "Normal", "TaintManagerEviction", f"Cancelling deletion of Pod {key}")
            return None
        left = self._begin(pod, taints) + stands - self._clock.monotonic()
        if stands > 0 and left > 0:
            return left
        self._events.event(pod, "Normal", "TaintManagerEviction", f"Marking for deletion Pod {key}")
        await note_disruption(
            self._client, pod, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint",
            self._clock.now(),
        )  # fmt: skip
        with suppress(errors.NotFound):
            await self._client.delete(Pod, key.name, key.namespace, uid=pod.metadata.uid)
        return None

    def _begin(self, pod: Pod, taints: list[Taint]) -> float:
        """From when on the pod stands the taints: their own time, so that a restart of ours gives no respite.

        Their time is compared with ours once, when they are seen first.  A clock that is set afterwards would evict
        pods before their time, or leave them there for as long as it was set back.
        """
        told = max(t.timeAdded for t in taints) if all(t.timeAdded for t in taints) else ""
        known = self._begun.get(pod.metadata.uid)
        if known is None or known[0] != told:
            since = max(times.parse(at) for at in (told, pod.metadata.creationTimestamp) if at) if told else None
            passed = max(0.0, self._clock.now() - since) if since is not None else 0.0
            known = self._begun[pod.metadata.uid] = told, self._clock.monotonic() - passed
        return known[1]


def _evicting(node: Node) -> list[Taint]:
    return [t for t in node.spec.taints if t.effect == "NoExecute"]
