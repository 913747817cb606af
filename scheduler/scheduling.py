"""The loop: pods are handed out by the queue, decided one after another, and what was decided is set going.

How the cluster becomes known is `following`, and what becomes of a decision `bindings` and `preempting`.
"""

import asyncio
import itertools
from collections.abc import Mapping
from contextlib import nullcontext
from random import Random
from typing import TYPE_CHECKING

from api.types import Pod
from machinery.client import Client
from machinery.clocks import SYSTEM, Clock
from machinery.events import Recorder
from scheduler.advice import Failed
from scheduler.bindings import Bindings
from scheduler.configurations import DEFAULT, Configuration
from scheduler.consulting import consult
from scheduler.decisions import Decision, schedule
from scheduler.gang_cycles import GangCycles
from scheduler.gangs import Supposed
from scheduler.groups import Groups
from scheduler.metrics import Metrics
from scheduler.preempting import Preempting
from scheduler.profiles import Profiles
from scheduler.queues import SchedulingQueue, State, Waiting, has_gates
from scheduler.snapshots import Snapshot
from scheduler.wishes import Wish, wish
from scheduler.writes import GATED, Writes

if TYPE_CHECKING:  # it brings an HTTP client, which most do not need
    from scheduler.extenders import Extenders

# Decisions in a row, after which bindings and events get their turn, however long the queue is: the bindings of one
# turn go out as one message, which costs little more than one alone. A preemption among thousands of nodes is a turn by
# itself.
TURN, TURN_SECONDS = 16, 0.01


class Scheduler:
    """Decides while `run` runs; `snapshot` and `queue` may be told of the cluster before, and are meanwhile."""

    def __init__(
        self, client: Client, recorders: Mapping[str, Recorder], groups: Groups, *, random: Random,
        configuration: Configuration = DEFAULT, clock: Clock = SYSTEM,
    ) -> None:  # fmt: skip
        """There is a recorder for each profile's name."""
        self.profiles = Profiles(configuration.profiles)
        self.profile_of = self.profiles.of
        self.snapshot = Snapshot()
        self.queue = SchedulingQueue(
            clock, first_backoff=configuration.first_backoff, longest_backoff=configuration.longest_backoff,
            is_gated=self.is_gated,
        )  # fmt: skip
        self.metrics = Metrics(
            self.queue, clock, self._cached, lambda: len(self.bindings.under_way), configuration.profiles
        )  # fmt: skip
        self.writes = Writes(client, recorders, self.profile_of, clock)
        self.bindings = Bindings(
            client, self.writes, self.metrics, self.snapshot, self.queue, self.profile_of, clock
        )  # fmt: skip
        self.preempting = Preempting(client, self.writes, self.snapshot, self.queue, clock)
        self._renounce = self.preempting.renounce
        self._client = client
        self._groups = groups
        self._random = random
        self._clock = clock
        self.extenders: Extenders | None = None
        self.gangs: GangCycles | None = None

    def ask(self, extenders: "Extenders") -> None:
        """From now on, about every pod that concerns them."""
        self.extenders = self.bindings.extenders = extenders

    def form_gangs(self) -> GangCycles:
        """From now on, of the pods of each pod group that is told to what is returned."""
        self.gangs = GangCycles(self, self._client, self._clock)
        self.metrics.exposition.add(*self.gangs.metrics)
        return self.gangs

    async def run(self) -> None:
        """Decide and bind until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self.writes.tasks = tasks
            tasks.create_task(self.queue.run())
            for gated in self.queue.waiting(State.GATED):  # those that came before this process led
                self.writes.tell_gated(gated.pod)
            try:
                await self._decide_all()
            finally:
                await self.bindings.last()

    async def _decide_all(self) -> None:
        slots, end = self.bindings.slots, 0.0
        for made in itertools.count():
            if made % TURN == 0 or self._clock.monotonic() > end:
                await asyncio.sleep(0)
                end = self._clock.monotonic() + TURN_SECONDS
            await slots.acquire()
            try:
                waiting = await self.queue.get()
            except BaseException:
                slots.release()
                raise
            if self.gangs is not None and (group := self.gangs.of(waiting.pod)) is not None:
                bound = await self.gangs.run(waiting, group)
                binds = bound > 0
                for _ in range(bound - 1):  # each will give one back
                    await slots.acquire()
            elif self._concern_extenders(waiting.pod):
                binds = await self._decide_with_extenders(waiting)
            else:
                binds = self.decide(waiting)
            if not binds:
                slots.release()

    async def _decide_with_extenders(self, waiting: Waiting) -> bool:
        """One iteration in which extenders have a say."""
        wanted = self.wish_of(waiting.pod)
        try:
            decision = await self.decision(wanted)
        except Failed as e:
            self.not_asked(waiting, e)
            return False
        # It may have been put back, or be gone, meanwhile.
        return self.queue.holds(waiting) and self.settle(waiting, wanted, decision)

    def decide(self, waiting: Waiting) -> bool:
        """One iteration; whether a binding is under way now."""
        wanted = self.wish_of(waiting.pod)
        return self.settle(waiting, wanted, self._decision(wanted))

    async def decision(self, wanted: Wish, supposed: Supposed | None = None) -> Decision:
        """What would be decided now, by extenders, too, in the world or in what is supposed.  Raises Failed if one of
        them cannot be asked."""
        if self.extenders is None or not self.extenders.concern(wanted.pod):
            if supposed is not None:
                supposed.apply()
            return self._decision(wanted)
        profile, lap = self.profile_of(wanted.pod), self.metrics.lap
        self.metrics.begin(profile.name)
        standing = supposed.standing if supposed is not None else nullcontext
        decision, _ = await consult(
            self.extenders, self.snapshot, wanted, profile, self._random, lap=lap, standing=standing
        )  # fmt: skip
        self.metrics.decided(decision)
        return decision

    def _decision(self, wanted: Wish) -> Decision:
        profile = self.metrics.sampling.of(self.profile_of(wanted.pod))
        self.metrics.begin(profile.name)
        decision = schedule(self.snapshot, wanted, self._random, profile, self.metrics.lap)
        self.metrics.decided(decision)
        return decision

    def _concern_extenders(self, pod: Pod) -> bool:
        return self.extenders is not None and self.extenders.concern(pod)

    def not_asked(self, waiting: Waiting, error: Failed) -> None:
        """An extender could not be asked about the pod."""
        self.metrics.failed(self.profile_of(waiting.pod).name)
        self.queue.failed(waiting, str(error))
        self.writes.event(waiting.pod, "Warning", "FailedScheduling", str(error))
        self.writes.tell(waiting.pod, "SchedulerError", str(error), self.snapshot.nominations.node_of(waiting.key))

    def settle(self, waiting: Waiting, wanted: Wish, decision: Decision) -> bool:
        """Do what was decided; whether a binding is under way now."""
        if not decision.node:
            self._reject(waiting, wanted, decision)
            return False
        self._renounce(waiting.key, decision.node)
        self.snapshot.set_pod(wanted, decision.node)
        self.snapshot.promise(decision.choices, decision.grants, decision.node)
        self.bindings.begin(waiting, decision)
        return True

    def _reject(self, waiting: Waiting, wanted: Wish, decision: Decision) -> None:
        self.queue.failed(waiting, decision.message, decision.rejectors, room=decision.room, wish=wanted)
        self.writes.event(waiting.pod, "Warning", "FailedScheduling", decision.message)
        if decision.gives_back is not None:
            self.writes.begin(self.bindings.granting.give_back(decision.gives_back, waiting.pod))
        preemption = decision.preemption
        if preemption.node:
            self.preempting.begin(waiting.pod, wanted, preemption)
        elif not preemption.keeps:
            self._renounce(waiting.key)
        nominated = self.snapshot.nominations.node_of(waiting.key)
        self.writes.tell(waiting.pod, "Unschedulable", decision.message, nominated)

    def _cached(self) -> dict[str, int]:
        return {
            "nodes": len(self.snapshot),
            "pods": self.snapshot.pod_count,
            "assumed_pods": len(self.bindings.assumed),
        }

    def is_gated(self, pod: Pod) -> bool:
        """Whether the pod is not to be tried yet (upstream: PreEnqueue)."""
        if has_gates(pod) and self.profile_of(pod).gates:
            return True
        return bool(self._awaited(pod)) or (self.gangs is not None and bool(self.gangs.why_not(pod)))

    def _awaited(self, pod: Pod) -> str:
        """What a pod waits for whose claims are not made yet, or ""."""
        why = self.bindings.granting.why_not(pod) if pod.spec.resourceClaims else ""
        return why if self.profile_of(pod).awaits_claims else ""

    def holds_up(self, pod: Pod) -> str:
        """Why a pod is not placed though there may be a node for it: its gates, its claims or its gang, or ""."""
        if has_gates(pod) and self.profile_of(pod).gates:
            return GATED[1]
        if why := self._awaited(pod):
            return why
        return self.gangs.holds_up(pod) if self.gangs is not None else ""

    def wish_of(self, pod: Pod) -> Wish:
        return wish(pod, self._groups.selector(pod), self.profile_of(pod).spreads)
