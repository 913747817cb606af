"""What follows from a preemption that was decided: victims go, and who was nominated to their node before, waits again.

Each victim is told why (the condition DisruptionTarget) before it is deleted, and is asked to go once, however many
pods wait for it: those that are on their way are `leaving`, from the decision until the deletion is seen.
https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions
"""

import asyncio
import logging

from api import errors, meta, times
from api.meta import Key
from api.types import Pod, PodCondition
from machinery.client import Client
from machinery.clocks import Clock
from scheduler.hints import Event
from scheduler.preemption import CONDITION, REASON, Preemption
from scheduler.queues import SchedulingQueue
from scheduler.snapshots import Snapshot
from scheduler.wishes import Wish
from scheduler.writes import Writes

log = logging.getLogger("preempting")


class Preempting:
    def __init__(
        self, client: Client, writes: Writes, snapshot: Snapshot, queue: SchedulingQueue, clock: Clock
    ) -> None:  # fmt: skip
        self._client = client
        self._writes = writes
        self._snapshot = snapshot
        self._queue = queue
        self._clock = clock

    def begin(self, pod: Pod, wish: Wish, preemption: Preemption) -> None:
        """Nominate the pod; ask its victims to go, and let those that have lost the node to it be tried elsewhere."""
        victims, outranked = self._nominate(wish, preemption)
        if victims:
            self._writes.begin(self._evict_all(victims, pod, preemption.node))
        for other in outranked:
            self._writes.patch(other, {"nominatedNodeName": None})
            self._queue.again(meta.key(other))

    def renounce(self, key: Key, node: str = "") -> None:
        """The pod needs no node any more but the one that it has; others may have the one it was nominated to."""
        nominated = self._snapshot.renounce(key)
        if nominated and nominated != node:
            self._queue.happened(Event.POD_REMOVED)

    def seen(self, pod: Pod) -> None:
        """The pod is gone, or on its way."""
        self._snapshot.nominations.leaving.discard(pod.metadata.uid)

    def _nominate(self, wish: Wish, preemption: Preemption) -> tuple[list[Pod], list[Pod]]:
        """Who is to be deleted now, and who has lost the node."""
        nominations = self._snapshot.nominations
        outranked = [other.pod for other in nominations.behind(wish, preemption.node)]
        for pod in outranked:
            self._snapshot.renounce(meta.key(pod))
        self._snapshot.nominate(wish, preemption.node)
        victims = [
            v.pod for v in preemption.victims if not v.terminating and v.pod.metadata.uid not in nominations.leaving
        ]
        nominations.leaving.update(v.metadata.uid for v in victims)
        return victims, outranked

    async def _evict_all(self, victims: list[Pod], preemptor: Pod, node: str) -> None:
        if not all(await asyncio.gather(*(self._evict(v, preemptor, node) for v in victims))):
            self._queue.again(meta.key(preemptor), error=True)

    async def _evict(self, victim: Pod, preemptor: Pod, node: str) -> bool:
        key, uid = meta.key(victim), victim.metadata.uid
        try:
            change = {"metadata": {"uid": uid}, "status": {"conditions": [self._condition(victim, preemptor)]}}
            await self._client.patch(Pod, key.name, key.namespace, change, kind="strategic", subresource="status")
            await self._client.delete(Pod, key.name, key.namespace, uid=uid)
        except (errors.NotFound, errors.Conflict):
            self._snapshot.nominations.leaving.discard(uid)  # gone already
            return True
        except errors.ApiError as e:
            log.info("%s was not preempted: %s", key, e)
            self._snapshot.nominations.leaving.discard(uid)
            return False
        message = f"Preempted by pod {preemptor.metadata.uid} on node {node}"
        self._writes.event(victim, "Normal", "Preempted", message, preemptor)
        return True

    def _condition(self, victim: Pod, preemptor: Pod) -> PodCondition:
        scheduler = preemptor.spec.schedulerName
        return PodCondition(
            type=CONDITION, status="True", reason=REASON,
            message=f"{scheduler}: preempting to accommodate a higher priority pod",
            observedGeneration=victim.metadata.generation, lastTransitionTime=times.format(self._clock.now()),
        )  # fmt: skip
