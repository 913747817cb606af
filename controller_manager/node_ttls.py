"""How long a kubelet may keep what it has read of Secrets and ConfigMaps, in an annotation of its node.

https://kubernetes.io/docs/reference/labels-annotations-taints/#node-alpha-kubernetes-io-ttl . The more nodes there
are, the longer. The kubelets here watch instead, and look at it as little as upstream's do by default; it is written
for whoever else does.
"""

from contextlib import suppress
from typing import NamedTuple

from api import errors, meta
from api.meta import Key
from api.types import Node
from controller_manager.contexts import Context
from machinery.controllers import Controller

ANNOTATION = "node.alpha.kubernetes.io/ttl"


class Step(NamedTuple):
    """What holds for so many nodes. The steps overlap, so that one node that comes and goes changes nothing."""

    least: int
    most: int
    seconds: int


STEPS = (Step(0, 100, 0), Step(90, 500, 15), Step(450, 1000, 30), Step(900, 2000, 60), Step(1800, 2**31, 300))


def step(before: int, nodes: int) -> int:
    """The index of the step that holds now, where that of `before` held until now."""
    while nodes > STEPS[before].most:
        before += 1
    while nodes < STEPS[before].least:
        before -= 1
    return before


def new(context: Context) -> Controller:
    return NodeTtlController(context).controller


class NodeTtlController:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._step = 0
        self._nodes = context.informers(Node)
        self.controller = Controller("ttl-controller", self.reconcile, workers=1, informers=(self._nodes,))
        self._nodes.on_change(self._node_changed)

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        if new is not None:
            self.controller.queue.add(meta.key(new))
        if (old is None) == (new is None):
            return
        before, self._step = self._step, step(self._step, len(self._nodes))
        if self._step != before:
            for node in self._nodes.list():
                self.controller.queue.add(meta.key(node))

    async def reconcile(self, key: Key) -> None:
        node = self._nodes.get(*key)
        wanted = str(STEPS[self._step].seconds)
        if node is None or node.metadata.annotations.get(ANNOTATION) == wanted:
            return
        with suppress(errors.NotFound):  # gone meanwhile; the informer will say so
            patch = {"metadata": {"uid": node.metadata.uid, "annotations": {ANNOTATION: wanted}}}
            await self._client.patch(Node, key.name, "", patch)
