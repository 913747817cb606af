"""A go at a whole gang: its pods leave the queue together, and are bound, or put back, together."""

import logging
from typing import TYPE_CHECKING

from api import errors, meta, times
from api.meta import Key
from api.types import Condition, Pod, PodGroup
from machinery.client import Client
from machinery.clocks import Clock
from machinery.metrics import Counter, Histogram
from scheduler.advice import Failed
from scheduler.bindings import RETRY_SECONDS
from scheduler.decisions import Decision
from scheduler.gangs import PLUGIN, Gangs, Round, group_of, try_gang
from scheduler.metrics import ATTEMPT_SECONDS
from scheduler.preemption import NOTHING_HELPS
from scheduler.queues import State, Waiting
from scheduler.wishes import Wish

if TYPE_CHECKING:
    from scheduler.scheduling import Scheduler

SCHEDULED = "PodGroupInitiallyScheduled"
PREEMPTING = "pod group is waiting for preemption to complete"
WAITING = State.ACTIVE, State.BACKOFF, State.UNSCHEDULABLE
log = logging.getLogger("gangs")


class GangCycles:
    def __init__(self, scheduler: "Scheduler", client: Client, clock: Clock) -> None:
        self.gangs = Gangs()
        self._scheduler = scheduler
        self._client = client
        self._clock = clock
        self._attempts = Counter(
            "scheduler_podgroup_schedule_attempts",
            "Number of attempts to schedule pod group, by the result. 'unschedulable' means a pod group could not be "
            "scheduled, while 'error' means an internal scheduler problem.",
            ("result", "profile"),
        )
        self._durations = Histogram(
            "scheduler_podgroup_scheduling_attempt_duration_seconds",
            "Pod group scheduling attempt latency in seconds (scheduling algorithm + binding)",
            ("result", "profile"), ATTEMPT_SECONDS,
        )  # fmt: skip
        self.metrics = self._attempts, self._durations

    def on_group(self, old: PodGroup | None, new: PodGroup | None) -> None:
        key = meta.key(new or old)
        before = self.gangs.minimum(key)
        if new is None:
            self.gangs.groups.pop(key, None)
            self._hold_up(key)
            return
        self.gangs.groups[key] = new
        if old is None or self.gangs.minimum(key) < before:
            self._awaken(key)

    def on_pod(self, pod: Pod, gone: bool) -> None:
        """To be called when the queue has heard of it."""
        group = group_of(pod)
        if group is None:
            return
        if gone:
            self.gangs.remove(group, meta.key(pod))
        elif self.gangs.add(group, meta.key(pod)):
            self._awaken(group)

    def of(self, pod: Pod) -> Key | None:
        """The gang that the pod can only be placed with."""
        group = group_of(pod)
        if group is None or not self.gangs.minimum(group) or not self._scheduler.profile_of(pod).gangs:
            return None
        return group

    def why_not(self, pod: Pod) -> str:
        return self.gangs.why_not(pod) if self._scheduler.profile_of(pod).gangs else ""

    def holds_up(self, pod: Pod) -> str:
        """Why the pod is not tried, or what came of the last go at its gang."""
        waiting = self._scheduler.queue.find(meta.key(pod))
        return self.why_not(pod) or (waiting.message if waiting is not None and self.of(pod) is not None else "")

    async def run(self, first: Waiting, group: Key) -> int:
        """One iteration, for the gang of a pod that was handed out; so many bindings are under way now."""
        profile, began = self._scheduler.profile_of(first.pod).name, self._clock.monotonic()
        result, bound = await self._try(first, group)
        self._attempts.add((result, profile))
        self._durations.observe(self._clock.monotonic() - began, (result, profile))
        return bound

    async def _try(self, first: Waiting, group: Key) -> tuple[str, int]:
        """What has come of it, in the words of metrics, and how many bindings are under way."""
        scheduler, members = self._scheduler, self.gangs.members(group)
        pods = self._together(first, members)
        try:
            pods, wishes, found = await self._decided(pods, group, members)
        except Failed as e:
            for each in pods:
                scheduler.not_asked(each, e)
            self._tell(group, "False", "SchedulerError", str(e))
            return "error", 0
        if found.message or found.preempts:
            self._put_back(pods, wishes, found)
            self._tell(group, "False", "Unschedulable", found.message or PREEMPTING)
            return "unschedulable", 0
        both = zip(pods, wishes, found.decisions, strict=True)
        bound = sum(scheduler.settle(w, wish, decision) for w, wish, decision in both)
        self._tell(group, "True", "Scheduled", "")
        return "scheduled", bound

    async def _decided(
        self, pods: list[Waiting], group: Key, members: frozenset[Key]
    ) -> tuple[list[Waiting], list[Wish], Round]:  # fmt: skip
        """What is to become of those pods that are still there then.  Raises Failed."""
        scheduler = self._scheduler
        while True:
            wishes = [scheduler.wish_of(each.pod) for each in pods]
            placed = sum(bool(scheduler.snapshot.node_of(key)) for key in members)
            found = await try_gang(scheduler.snapshot, wishes, placed, self.gangs.minimum(group), scheduler.decision)
            left = [each for each in pods if scheduler.queue.holds(each)]
            if len(left) == len(pods):
                return pods, wishes, found
            pods = left  # some have gone while extenders were asked, and the others may be too few

    def _together(self, first: Waiting, members: frozenset[Key]) -> list[Waiting]:
        others = self._waiting(members)
        for each in others:
            self._scheduler.queue.take(each)
        return sorted((first, *others), key=lambda w: w.rank)

    def _waiting(self, members: frozenset[Key]) -> list[Waiting]:
        find = self._scheduler.queue.find
        return [w for key in members if (w := find(key)) is not None and w.state in WAITING]

    def _put_back(self, pods: list[Waiting], wishes: list[Wish], found: Round) -> None:
        """What helps one of them helps all; and while one waits for its victims, the others keep their nodes."""
        scheduler = self._scheduler
        rejectors = frozenset({PLUGIN}).union(*(d.rejectors for d in found.decisions))
        keeps = found.preempts or any(d.preemption.keeps for d in found.decisions)
        tried = [*found.decisions, *(Decision("") for _ in pods[len(found.decisions) :])]
        for wish, decision in zip(wishes, tried, strict=True):
            if found.preempts and (decision.node or decision.preemption.node):
                scheduler.snapshot.renounce(wish.key)  # it gets one anew, and none of them takes it from another
        for waiting, wish, decision in zip(pods, wishes, tried, strict=True):
            preemption = decision.preemption if found.preempts else NOTHING_HELPS
            has_place = decision.node or (decision.preemption.node and not found.preempts)
            if found.preempts and decision.node:
                scheduler.snapshot.nominate(wish, decision.node)
            if not preemption.node:
                preemption = preemption._replace(keeps=keeps)
            message = (decision.message if not has_place else "") or found.message or PREEMPTING
            scheduler.settle(waiting, wish, Decision("", message, rejectors, preemption=preemption, room=decision.room))

    def _hold_up(self, group: Key) -> None:
        """Without their group nobody knows with how many others its pods must come."""
        for waiting in self._waiting(self.gangs.members(group)):
            self._scheduler.queue.add(waiting.pod, waiting.key)

    def _awaken(self, group: Key) -> None:
        """Those that waited for the group, or for more of it, may be tried."""
        queue, members = self._scheduler.queue, self.gangs.members(group)
        if group not in self.gangs.groups or len(members) < self.gangs.minimum(group):
            return
        for key in members:
            waiting = queue.find(key)
            if waiting is None:
                continue
            if waiting.state is State.GATED:
                queue.add(waiting.pod, key)
            elif PLUGIN in waiting.rejectors:
                queue.again(key)

    def _tell(self, group: Key, status: str, reason: str, message: str) -> None:
        """What is said of the group; once it was scheduled, that stays."""
        known = self.gangs.groups.get(group)
        if known is None or any(c.type == SCHEDULED and c.status == "True" for c in known.status.conditions):
            return
        condition = Condition(
            type=SCHEDULED, status=status, reason=reason, message=message,
            observedGeneration=known.metadata.generation, lastTransitionTime=times.format(self._clock.now()),
        )  # fmt: skip
        if meta.set_condition([*known.status.conditions], condition):
            self._scheduler.writes.begin(self._patch(group, known.metadata.uid, condition))

    async def _patch(self, group: Key, uid: str, condition: Condition) -> None:
        change = {"metadata": {"uid": uid}, "status": {"conditions": [condition]}}
        while True:
            try:
                await self._client.patch(
                    PodGroup, group.name, group.namespace, change, kind="strategic", subresource="status"
                )
            except errors.ApiError as e:
                log.info("the status of the pod group %s was not written: %s", group, e)
                # The next attempt at the gang says it again, unless this was the last one.
                if condition.status == "True" and isinstance(e, errors.UNANSWERED):
                    await self._clock.sleep(RETRY_SECONDS)
                    continue
            return
