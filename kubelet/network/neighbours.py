"""The other nodes: where their pods are."""

import asyncio
import logging

from api.types import Node
from kubelet.network.plumbing import Plumbing
from machinery.clocks import SYSTEM, Clock
from machinery.informers import Informer

RETRY = 2.0

log = logging.getLogger("network")


def pod_ranges(nodes: list[Node], own: str) -> dict[str, str]:
    """The pod range of every other node → the address to reach it by."""
    ways = (way(node) for node in nodes if node.metadata.name != own)
    return {pods: address for pods, address in ways if pods and address}


def way(node: Node | None) -> tuple[str, str]:
    """The node's pod range, and its address; "" for what it has not."""
    if node is None:
        return "", ""
    return node.spec.podCIDR, next((a.address for a in node.status.addresses if a.type == "InternalIP"), "")


class Neighbours:
    """Keeps a way to each other node's pods."""

    def __init__(self, nodes: Informer[Node], plumbing: Plumbing, own: str, clock: Clock = SYSTEM) -> None:
        self._nodes = nodes
        self._plumbing = plumbing
        self._own = own
        self._clock = clock
        self._changed = asyncio.Event()
        nodes.on_change(self._node_changed)

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        if way(old) != way(new):  # of a thousand nodes each says now and then that it is well
            self._changed.set()

    async def run(self) -> None:
        await self._nodes.synced()
        known: tuple[str, dict[str, str]] | None = None
        while True:
            self._changed.clear()
            own = self._nodes.get("", self._own)
            wanted = own.spec.podCIDR if own is not None else "", pod_ranges(self._nodes.list(), self._own)
            if wanted != known:
                try:
                    await self._plumbing.reach(*wanted)
                    known = wanted
                except OSError as e:
                    log.warning("the way to other nodes: %s", e)
                    await self._clock.sleep(RETRY)
                    continue
            await self._changed.wait()
