"""A range of pod addresses for each node, never the same for two.

https://kubernetes.io/docs/concepts/architecture/nodes/#node-controller . What is given out stands in the nodes
themselves: nothing is assigned before all of them are known, and one worker assigns.
"""

from contextlib import suppress

from api import errors, meta
from api.meta import Key
from api.types import Node
from controller_manager.cidrs import Parts
from controller_manager.contexts import Context
from machinery.controllers import Controller


def new(context: Context) -> Controller:
    return NodeIpamController(context).controller


class NodeIpamController:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._events = context.recorder("cidrAllocator")
        self._parts = Parts(context.config.cluster_cidr, context.config.node_cidr_mask_size)
        self._chosen: dict[str, str] = {}  # uid → the part, until the informer shows it
        self._starved: set[Key] = set()
        self._nodes = context.informers(Node)
        # One worker: two would only race for the same parts.
        self.controller = Controller("node-ipam-controller", self.reconcile, workers=1, informers=(self._nodes,))
        self._nodes.on_change(self._node_changed)

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        if new is not None:
            for part in new.spec.podCIDRs:
                self._parts.hold(part, new.metadata.uid)
            if new.spec.podCIDR:
                self._settle(new)
            else:
                self.controller.queue.add(meta.key(new))
        elif old is not None:
            for part in old.spec.podCIDRs:
                self._parts.release(part, old.metadata.uid)
            self._settle(old)
            for key in self._starved:
                self.controller.queue.add(key)
            self._starved.clear()

    def _settle(self, node: Node) -> None:
        """The node has its part, or has gone without."""
        part = self._chosen.pop(node.metadata.uid, "")
        if part and part not in node.spec.podCIDRs:
            self._parts.release(part, node.metadata.uid)

    async def reconcile(self, key: Key) -> None:
        node = self._nodes.get(*key)
        if node is None or node.spec.podCIDR or node.metadata.deletionTimestamp:
            return
        uid = node.metadata.uid
        # Whether a write that failed was done may be unknown; the next try is for the same part, so nothing is lost.
        part = self._chosen.get(uid) or self._parts.take(uid)
        if part is None:
            self._starved.add(key)
            message = f"Node {key.name} status is now: CIDRNotAvailable"
            self._events.event(node, "Normal", "CIDRNotAvailable", message)
            return
        self._chosen[uid] = part
        with suppress(errors.NotFound):  # gone meanwhile; the informer will say so
            patch = {"metadata": {"uid": uid}, "spec": {"podCIDR": part, "podCIDRs": [part]}}
            await self._client.patch(Node, key.name, "", patch)
