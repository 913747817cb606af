"""Looks every ten seconds, and ends one pod if the node runs short of something."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

from api.qos import qos_class
from api.tolerations import tolerates
from api.types import Pod, Taint
from kubelet.eviction import deciding, ranking
from kubelet.eviction.deciding import Decision, Observations, State
from kubelet.eviction.observing import Observer
from kubelet.eviction.thresholds import RESOURCES, Threshold
from kubelet.nodes.capacities import Resources
from kubelet.pods.workers import Ending
from kubelet.runtime.interfaces import EngineError
from kubelet.syncing.conditions import disruption
from kubelet.syncing.importance import is_critical
from machinery.clocks import Clock

PERIOD = 10.0
CLEAN_UP = 30.0  # seconds for which an evicted pod is waited for, before the next one may go
LEAST_GRACE = 1.0
MEMORY_PRESSURE = Taint(key="node.kubernetes.io/memory-pressure", effect="NoSchedule")

log = logging.getLogger("eviction")


class Node(Protocol):
    """What the rest of the kubelet does for this."""

    def pods(self) -> Iterable[Pod]:
        """Those that have not ended."""
        ...

    async def end(self, pod: Pod, ending: Ending) -> None:
        """Returns when nothing of the pod runs any more."""
        ...

    def tell(self, kind: str, reason: str, message: str) -> None:
        """An event of the node."""
        ...

    def count(self, signal: str) -> None:
        """A pod is evicted because of it."""
        ...

    def pressed(self) -> None:
        """The node's conditions are others now."""
        ...


class Evicting:
    """`pressures` are the node's conditions; `reclaim` frees disk before pods have to go."""

    def __init__(
        self, node: Node, observer: Observer, resources: Resources, clock: Clock,
        reclaim: Sequence[Callable[[], Awaitable[object]]] = (),
    ) -> None:  # fmt: skip
        self.pressures: frozenset[str] = frozenset()
        self._node = node
        self._observer = observer
        self._resources = resources
        self._clock = clock
        self._reclaim = reclaim
        self._state = State()

    async def run(self) -> None:
        while True:
            # After an eviction the next look is at once: what was freed shows what is still missing.
            try:
                again = await self.look()
            except EngineError as e:
                log.warning("looking for what to evict: %s", e)
                again = False
            if not again:
                await self._clock.sleep(PERIOD)

    async def look(self) -> bool:
        """One round; True if a pod was evicted."""
        observed = await asyncio.to_thread(self._observer.observe)
        decision = self._decide(observed)
        self._state = decision.state
        if decision.conditions != self.pressures:
            self.pressures = decision.conditions
            self._node.pressed()
        return bool(decision.reclaim) and await self._relieve(decision.reclaim, observed)

    def _decide(self, observed: Observations) -> Decision:
        resources = self._resources
        return deciding.decide(
            resources.thresholds, observed, self._state, self._clock.monotonic(), resources.transition
        )  # fmt: skip

    async def _relieve(self, due: Sequence[Threshold], observed: Observations) -> bool:
        first, resource = due[0], RESOURCES[due[0].signal]
        self._node.tell("Warning", "EvictionThresholdMet", f"Attempting to reclaim {resource}")
        if resource in ("ephemeral-storage", "inodes") and await self._reclaimed():
            return False
        pods = [p for p in self._node.pods() if not is_critical(p)]
        usages = await self._observer.usages(pods, resource)
        for pod in ranking.ranked(pods, resource, usages)[:1]:
            message = ranking.message(pod, resource, usages.get(pod.metadata.uid), due, observed)
            grace = LEAST_GRACE if first.is_hard else float(self._resources.soft_grace)
            self._node.count(first.signal)
            await self._end(pod, Ending("Evicted", message, grace, (disruption(message),)))
            return True
        log.warning("short of %s, and there is no pod to evict", resource)
        return False

    async def _reclaimed(self) -> bool:
        """Is enough free again without the end of a pod?"""
        for reclaim in self._reclaim:
            try:
                await reclaim()
            except EngineError as e:  # an image that something else needs, say: what the others free may be enough
                log.warning("freeing disk: %s", e)
        observed = await asyncio.to_thread(self._observer.observe)
        return not deciding.met(self._resources.thresholds, observed, reclaimed=True)

    async def _end(self, pod: Pod, ending: Ending) -> None:
        log.info("evicting %s/%s: %s", pod.metadata.namespace, pod.metadata.name, ending.message)
        try:
            async with asyncio.timeout(CLEAN_UP):
                await self._node.end(pod, ending)
        except TimeoutError:
            log.warning("pod %s/%s does not end", pod.metadata.namespace, pod.metadata.name)

    def refusal(self, pod: Pod) -> tuple[str, str] | None:
        """Why a new pod is not for a node under pressure: (reason, message)."""
        if not self.pressures or is_critical(pod):
            return None
        # A pod that says what memory it needs has had that set aside for it.
        endures = qos_class(pod.spec) != "BestEffort" or tolerates(pod.spec.tolerations, MEMORY_PRESSURE)
        if self.pressures == {"MemoryPressure"} and endures:
            return None
        return "Evicted", f"The node had condition: [{' '.join(sorted(self.pressures))}]. "
