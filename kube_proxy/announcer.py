"""The loop that puts load balancers' addresses on this node while they are its to answer for."""

import asyncio
import logging
from collections.abc import Callable, Iterable

from api.types import EndpointSlice, Node, Service
from kube_proxy import balancers, links
from kube_proxy.proxy import SERVICE, node_address
from machinery.clocks import SYSTEM, Clock
from machinery.informers import Informer
from machinery.running import together

log = logging.getLogger(__name__)

COALESCE_SECONDS = 0.01
# Puts back what was taken away by hand, and reminds neighbours that missed the first word.
CHECK_SECONDS = 30.0
AGAIN_SECONDS = 1.0
BALANCER = "balancer"


class Announcer:
    """Owns the addresses with its label. Stopping leaves them: packets outlive the proxy.

    `holds` is told of all of them before they are put on the node.
    """

    def __init__(
        self, services: Informer[Service], slices: Informer[EndpointSlice], nodes: Informer[Node], *,
        node: str, holds: Callable[[Iterable[str]], None], clock: Clock = SYSTEM,
    ) -> None:  # fmt: skip
        self._services, self._slices, self._nodes = services, slices, nodes
        self._node = node
        self._holds = holds
        self._clock = clock
        self._changed = asyncio.Event()
        self._check_due = False
        services.add_index(BALANCER, lambda s: ["yes"] if balancers.addresses(s) else [])
        services.on_change(self._on_service)
        slices.on_change(lambda old, new: self._on_slice())
        nodes.on_change(self._on_node)

    async def run(self) -> None:
        """Half of the nodes would make this one the owner of everything: nothing is done before all are known."""
        for informer in (self._services, self._slices, self._nodes):
            await informer.synced()
        await together(self._follow(), self._check_now_and_then())

    async def _follow(self) -> None:
        self._check_due = True
        held: set[str] | None = None
        while True:
            self._changed.clear()
            address = node_address(self._nodes.get("", self._node))
            wanted = self.wanted() if address else set()  # whose node is gone answers for nothing
            if self._check_due or wanted != held:
                held = await self._hold(address, wanted)
                self._check_due = False
            await self._changed.wait()
            await self._clock.sleep(COALESCE_SECONDS)

    def wanted(self) -> set[str]:
        return balancers.owned(
            self._services.by_index(BALANCER, "yes"), self._slices_of, self._nodes.list(), self._node
        )

    async def _hold(self, address: str, wanted: set[str]) -> set[str] | None:
        """Returns what this node has now; None if that failed, and the next check tries again."""
        self._holds(wanted)
        try:
            new = await asyncio.to_thread(links.hold, address, wanted)
            if new:
                log.info("answering for %s", ", ".join(sorted(new)))
            if wanted:
                await asyncio.to_thread(links.tell, address, new or wanted)
        except OSError as e:
            log.warning("the addresses of load balancers cannot be held: %s", e)
            return None
        if new:
            # The owner before may have answered meanwhile; what is told once more, a moment later, holds.
            await self._clock.sleep(AGAIN_SECONDS)
            self._check_due = True
            self._changed.set()
        return wanted

    async def _check_now_and_then(self) -> None:
        while True:
            await self._clock.sleep(CHECK_SECONDS)
            self._check_due = True
            self._changed.set()

    def _slices_of(self, service: Service) -> Iterable[EndpointSlice]:
        return self._slices.by_index(SERVICE, f"{service.metadata.namespace}/{service.metadata.name}")

    def _on_service(self, old: Service | None, new: Service | None) -> None:
        if any(s is not None and balancers.addresses(s) for s in (old, new)):
            self._changed.set()

    def _on_slice(self) -> None:
        if self._services.by_index(BALANCER, "yes"):
            self._changed.set()

    def _on_node(self, old: Node | None, new: Node | None) -> None:
        mine = (new or old).metadata.name == self._node  # type: ignore[union-attr]
        if mine or [n is not None and balancers.is_fit(n) for n in (old, new)] != [True, True]:
            self._changed.set()
