"""The loop: what informers tell → the view → the table of policies."""

import asyncio
import logging
from typing import Any

from api import kinds, meta
from api.meta import PartialObject, key
from api.types import Namespace, NetworkPolicy, Node
from kube_proxy.nftables import NftablesError
from kube_proxy.policies.chains import policy
from kube_proxy.policies.members import PolicyPod, member
from kube_proxy.policies.table import PolicyTable
from kube_proxy.policies.views import View
from machinery.clocks import SYSTEM, Clock
from machinery.informers import Informer
from machinery.running import together

log = logging.getLogger(__name__)

COALESCE_SECONDS = 0.01
RETRY_SECONDS = 1.0
CHECK_SECONDS = 30.0
NAMESPACE = meta.partial(kinds.of(Namespace))


class Enforcer:
    """Owns the table. Stopping leaves the rules as they are: what was forbidden stays so.

    `pods` are those of the whole cluster. It and `namespaces` are followed by nobody else, and only from when there is
    a policy: a cluster without any pays nothing for them.
    """

    def __init__(
        self, policies: Informer[NetworkPolicy], namespaces: Informer[PartialObject], pods: Informer[PolicyPod],
        nodes: Informer[Node], table: PolicyTable, *, node: str, clock: Clock = SYSTEM,
    ) -> None:  # fmt: skip
        self._policies, self._namespaces, self._pods, self._nodes = policies, namespaces, pods, nodes
        self._table = table
        self._node = node
        self._clock = clock
        self._view = View(node)
        self._changed = asyncio.Event()
        self._check_due = False
        policies.on_change(self._on_policy)
        namespaces.on_change(self._on_namespace)
        pods.on_change(self._on_pod)
        nodes.on_change(self._on_node)

    async def run(self) -> None:
        """Enforce until cancelled.

        Nothing is programmed before everything is known: half of the pods would be kept from what they are allowed.
        """
        await self._policies.synced()
        await self._nodes.synced()
        while not self._policies.list():
            # What an earlier proxy has left may forbid what nobody forbids any more.
            await self._step()
        await together(self._namespaces.run(), self._pods.run(), self._follow(), self._check_now_and_then())

    async def _follow(self) -> None:
        await self._namespaces.synced()
        await self._pods.synced()
        while True:
            await self._step()

    async def _step(self) -> None:
        if await self.sync():
            await self._changed.wait()
            await self._clock.sleep(COALESCE_SECONDS)
        else:
            await self._clock.sleep(RETRY_SECONDS)

    async def sync(self) -> bool:
        """One iteration; whether the node is now as it should be."""
        self._changed.clear()
        content = self._view.take()
        try:
            await asyncio.to_thread(self._table.apply, content)
            if self._check_due:
                self._check_due = False
                if await asyncio.to_thread(self._table.repair):
                    log.warning("the policies were not as programmed and have been restored")
        except NftablesError as e:
            log.error("the policies cannot be programmed: %s", e)
            return False
        return True

    async def _check_now_and_then(self) -> None:
        while True:
            await self._clock.sleep(CHECK_SECONDS)
            self._check_due = True
            self._changed.set()

    def _on_policy(self, old: NetworkPolicy | None, new: NetworkPolicy | None) -> None:
        self._view.set_policy(key(new or old), policy(new) if new is not None else None)
        self._changed.set()

    def _on_namespace(self, old: Any, new: Any) -> None:
        self._view.set_namespace((new or old).metadata.name, new.metadata.labels if new is not None else None)
        self._changed.set()

    def _on_pod(self, old: PolicyPod | None, new: PolicyPod | None) -> None:
        before, after = member(old), member(new)
        if before != after:
            self._view.set_pod(key(new or old), after)
            self._changed.set()

    def _on_node(self, old: Node | None, new: Node | None) -> None:
        if new is not None and new.metadata.name == self._node and (old is None or old.spec != new.spec):
            self._view.set_range(new.spec.podCIDR)
            self._changed.set()
