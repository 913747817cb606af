"""Pods that wait for a node.

The rules:
- active: to be tried now, by priority and then by arrival;
- back-off: to be tried when its time has come: 1 s after the first failure, doubling, at most 10 s; or earlier, when
  there is nothing else to do, unless it was an error that sent it back (upstream's SchedulerPopFromBackoffQ);
- unschedulable: to be tried when an event may help, and after five minutes anyway;
- gated: not to be tried while the pod has scheduling gates, or its gang is not complete.
A pod is in one of these, or in flight: handed out by `get`, until it is bound (`done`) or put back.
https://github.com/kubernetes/community/blob/master/contributors/devel/sig-scheduling/scheduler_queues.md
"""

import asyncio
import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from api.meta import Key
from api.types import Pod
from machinery.clocks import Clock
from scheduler.columns import EVERYWHERE, Bits
from scheduler.hints import Event, may_help
from scheduler.wishes import Wish

FIRST_BACKOFF, LONGEST_BACKOFF = 1.0, 10.0
LEFTOVER_SECONDS = 300.0


class State(Enum):
    ACTIVE = "active"
    BACKOFF = "backoff"
    UNSCHEDULABLE = "unschedulable"
    GATED = "gated"
    IN_FLIGHT = "in flight"


FAILURE = "ScheduleAttemptFailure"
IDLE = "PopFromBackoffQ"
# What brings pods back when their time has come.
TIMED = {State.BACKOFF: "BackoffComplete", State.UNSCHEDULABLE: "UnschedulableTimeout"}


@dataclass(slots=True, eq=False)
class Waiting:
    """A pod and what has become of it so far."""

    pod: Pod
    key: Key
    arrival: int
    state: State = State.ACTIVE
    attempts: int = 0
    message: str = ""
    rejectors: frozenset[str] = frozenset()
    room: Bits = EVERYWHERE
    wish: Wish | None = None  # of the last attempt
    came: float = 0.0  # monotonic time of its first arrival without gates
    since: float = 0.0  # monotonic time of the last failure
    ticket: int = 0  # of its newest entry in a heap: older entries are void
    heard: int = 0  # what had happened when it was handed out
    changed: bool = False  # since it was handed out

    @property
    def rank(self) -> tuple[int, int]:
        return -(self.pod.spec.priority or 0), self.arrival


def has_gates(pod: Pod) -> bool:
    return bool(pod.spec.schedulingGates)


class SchedulingQueue:
    """For one event loop."""

    def __init__(
        self, clock: Clock, *, first_backoff: float = FIRST_BACKOFF, longest_backoff: float = LONGEST_BACKOFF,
        is_gated: Callable[[Pod], bool] = has_gates,
    ) -> None:  # fmt: skip
        self._clock = clock
        self._is_gated = is_gated
        self._backoffs = first_backoff, longest_backoff
        self._pods: dict[Key, Waiting] = {}
        self._unschedulable: dict[Key, Waiting] = {}  # those of _pods that an event may help
        self._active: list[tuple[int, int, int, Waiting]] = []
        self._idle: list[tuple[int, int, int, int, Waiting]] = []  # those in back-off that need not wait to its end
        self._timed: list[tuple[float, int, Waiting]] = []  # back-off and unschedulable pods, by when their time comes
        self._count = itertools.count(1)
        self.incoming: Counter[tuple[str, str]] = Counter()
        """How often a pod came into a part of the queue for a reason, in upstream's words."""
        self._happened = 0
        self._last: dict[Event, int] = {}  # which of all that has happened was the last of its kind
        self._arrived = asyncio.Event()
        self._timing = asyncio.Event()

    def __len__(self) -> int:
        return len(self._pods)

    def lengths(self) -> Counter[str]:
        """How many pods are in each part; those in flight are in none."""
        return Counter(w.state.value for w in self._pods.values() if w.state is not State.IN_FLIGHT)

    def rejected(self) -> Counter[tuple[str, str]]:
        """How many of those that wait for an event each plug-in has rejected, by the scheduler's name."""
        return Counter(
            (plugin, w.pod.spec.schedulerName) for w in self._unschedulable.values() for plugin in w.rejectors
        )

    def waiting(self, *states: State) -> list[Waiting]:
        """Those in any of the states, in the order in which the active ones would be tried."""
        return sorted((w for w in self._pods.values() if w.state in states), key=lambda w: w.rank)

    def add(self, pod: Pod, key: Key) -> None:
        """A pod that has no node: new, or changed so that it may fit now."""
        waiting, cause = self._pods.get(key), "PodUpdate"
        if waiting is None:
            waiting, cause = Waiting(pod, key, next(self._count)), "PodAdd"
            self._pods[key] = waiting
        waiting.pod = pod
        if self._is_gated(pod):
            self._enter(waiting, State.GATED, cause)
        elif waiting.state in (State.UNSCHEDULABLE, State.GATED) or not waiting.ticket:
            self._try_again(waiting, cause)
        else:
            waiting.changed = True

    def again(self, key: Key, *, error: bool = False) -> None:
        """Let the pod be tried again, after what is left of its back-off; after an error not before."""
        if (waiting := self._unschedulable.get(key)) is not None:
            if error:
                waiting.rejectors = frozenset()
            self._try_again(waiting, "ForceActivate")

    def refresh(self, pod: Pod, key: Key) -> None:
        """A newer revision of a pod, which changes nothing about where it may go."""
        if (waiting := self._pods.get(key)) is not None:
            waiting.pod = pod

    def find(self, key: Key) -> Waiting | None:
        return self._pods.get(key)

    def take(self, waiting: Waiting) -> None:
        """Hand this one out, too, wherever it waits and whatever its turn."""
        self._unschedulable.pop(waiting.key, None)
        waiting.ticket = next(self._count)
        self._taken(waiting)

    def holds(self, waiting: Waiting) -> bool:
        """Whether the pod still waits for what it was handed out for."""
        return self._pods.get(waiting.key) is waiting

    def remove(self, key: Key) -> None:
        self._unschedulable.pop(key, None)
        if (waiting := self._pods.pop(key, None)) is not None:
            waiting.ticket = -1

    async def get(self) -> Waiting:
        """The next pod to try, as soon as there is one."""
        while True:
            while self._active:
                *_, ticket, waiting = heapq.heappop(self._active)
                if waiting.ticket == ticket and waiting.state is State.ACTIVE:
                    return self._taken(waiting)
            while self._idle:
                *_, ticket, waiting = heapq.heappop(self._idle)
                if waiting.ticket == ticket and waiting.state is State.BACKOFF:
                    self.incoming[State.ACTIVE.value, IDLE] += 1
                    return self._taken(waiting)
            self._arrived.clear()
            await self._arrived.wait()

    def _taken(self, waiting: Waiting) -> Waiting:
        waiting.state = State.IN_FLIGHT
        waiting.attempts += 1
        waiting.heard, waiting.changed = self._happened, False
        return waiting

    def failed(
        self, waiting: Waiting, message: str, rejectors: frozenset[str] | None = None, *, room: Bits = EVERYWHERE,
        wish: Wish | None = None,
    ) -> None:  # fmt: skip
        """Put a pod back: until an event concerns its rejectors or, without them, until its back-off ends.

        `wish` is what was not granted, `room` the nodes where it may be when other pods go.
        """
        if self._pods.get(waiting.key) is not waiting:
            return  # deleted meanwhile
        waiting.message, waiting.since = message, self._clock.monotonic()
        waiting.wish, waiting.room = wish, room
        if self._is_gated(waiting.pod):
            self._enter(waiting, State.GATED, FAILURE)
        elif rejectors is None:
            waiting.rejectors = frozenset()
            self._wait(waiting, State.BACKOFF, self._backoff(waiting), FAILURE)
        else:
            waiting.rejectors = rejectors
            # A decision in which extenders have a say takes time; what has happened meanwhile may help already.
            missed = (event for event, number in self._last.items() if number > waiting.heard)
            if waiting.changed or any(may_help(event, rejectors, bool(room)) for event in missed):
                self._try_again(waiting, FAILURE)
            else:
                self._wait(waiting, State.UNSCHEDULABLE, LEFTOVER_SECONDS, FAILURE)

    def happened(
        self, event: Event, concerns: Callable[[str, Wish, Bits], bool] | None = None,
        among: Iterable[Key] | None = None,
    ) -> None:  # fmt: skip
        """Let those that this may help be tried again, after what is left of their back-off.

        `concerns` says more exactly whether it helps with what a plug-in has said of a pod. It can help no others than
        those `among`, if that is given.
        """
        self._happened += 1
        self._last[event] = self._happened

        def helps(waiting: Waiting) -> bool:
            wish = waiting.wish
            if wish is None or concerns is None:
                return may_help(event, waiting.rejectors, bool(waiting.room))
            room = waiting.room
            return may_help(event, waiting.rejectors, bool(room), lambda plugin: concerns(plugin, wish, room))

        asked = self._unschedulable.values() if among is None else filter(None, map(self._unschedulable.get, among))
        for waiting in [w for w in asked if helps(w)]:
            self._try_again(waiting, event.value)

    async def run(self) -> None:
        """Bring back those whose time has come, until cancelled."""
        while True:
            self._timing.clear()
            now = self._clock.monotonic()
            while self._timed and self._timed[0][0] <= now:
                _, ticket, waiting = heapq.heappop(self._timed)
                if waiting.ticket == ticket and waiting.state in TIMED:
                    self._activate(waiting, TIMED[waiting.state])
            await self._until(self._timed[0][0] - now if self._timed else None)

    async def _until(self, seconds: float | None) -> None:
        """Until so much time has passed, or an earlier time has come up."""
        if seconds is None:
            await self._timing.wait()
            return
        tasks = [asyncio.ensure_future(self._clock.sleep(seconds)), asyncio.ensure_future(self._timing.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _backoff(self, waiting: Waiting) -> float:
        first, longest = self._backoffs
        doubled: float = first * 2 ** min(max(waiting.attempts - 1, 0), 10)
        return min(doubled, longest)

    def _try_again(self, waiting: Waiting, cause: str) -> None:
        left = waiting.since + self._backoff(waiting) - self._clock.monotonic() if waiting.attempts else 0.0
        if left > 0:
            self._wait(waiting, State.BACKOFF, left, cause)
        else:
            self._activate(waiting, cause)

    def _enter(self, waiting: Waiting, state: State, cause: str) -> None:
        self.incoming[state.value, cause] += 1
        waiting.state, waiting.ticket = state, next(self._count)
        if state is State.UNSCHEDULABLE:
            self._unschedulable[waiting.key] = waiting
        else:
            self._unschedulable.pop(waiting.key, None)

    def _wait(self, waiting: Waiting, state: State, seconds: float, cause: str) -> None:
        self._enter(waiting, state, cause)
        entry = (self._clock.monotonic() + seconds, waiting.ticket, waiting)
        heapq.heappush(self._timed, entry)
        if self._timed[0] is entry:
            self._timing.set()
        if state is State.BACKOFF and waiting.rejectors:
            # By the second, and within it by rank: a pod of low priority does not come first for a few ms.
            heapq.heappush(self._idle, (int(entry[0]), *waiting.rank, waiting.ticket, waiting))
            self._arrived.set()

    def _activate(self, waiting: Waiting, cause: str) -> None:
        self._enter(waiting, State.ACTIVE, cause)
        waiting.came = waiting.came or self._clock.monotonic()
        heapq.heappush(self._active, (*waiting.rank, waiting.ticket, waiting))
        self._arrived.set()
