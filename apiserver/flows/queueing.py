"""Who is served next when more is asked for at once than a priority level may have: fair queues.

https://kubernetes.io/docs/concepts/cluster-administration/flow-control/#priority-and-fairness-concepts

A request takes seats of its level: one, or for a list more, by how much there is to be listed.  What finds no seat
waits in one of the level's queues, of which each flow is dealt a few, and waits in the shortest of them: so a flow that
floods fills its own hand, and another flow nearly always has a queue without it.  The queues take turns by what they
have been served.  A level may also use what others lend and do not need.

Pure but for futures: nothing here reads a clock or the world.
"""

import asyncio
import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b

from api.types import LimitedPriorityLevelConfiguration, PriorityLevelConfiguration

QUEUE_FULL, NO_SEAT, TIMED_OUT = "queue-full", "concurrency-limit", "time-out"
"""Reasons for a refusal, as upstream's metrics name them."""


class Refused(Exception):
    """There is no room to wait in; `reason` is one of the three above."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Ticket:
    """One request.  `turn` None: it has had its seats from the first; else they are there once `turn` is done."""

    __slots__ = ("level", "queue", "turn", "width")

    def __init__(self, level: "Level", width: int, queue: "Queue | None" = None) -> None:
        self.level = level
        self.width = width
        self.queue = queue
        self.turn: asyncio.Future[None] | None = None
        if queue is not None:
            self.turn = asyncio.get_running_loop().create_future()


@dataclass(slots=True, eq=False)
class Queue:
    served: float = 0.0
    """Seats that it has been given, on the level's common scale: the least served one has the next turn."""
    waiting: deque[Ticket] = field(default_factory=deque)


@dataclass(slots=True, eq=False)
class Level:
    """A priority level at work.  `limit` None: whatever it asks for."""

    name: str
    limit: int | None = None
    lendable: int = 0
    borrowable: float = math.inf
    """How far it may go beyond its limit."""
    queues: list[Queue] = field(default_factory=list)
    hand: int = 0
    longest: int = 0
    """Requests that one queue may hold."""
    executing: int = 0
    """Requests."""
    used: int = 0
    """Seats."""
    at: float = 0.0
    """Where the scale of `served` stands."""
    waiting: int = 0
    """Requests in all queues: counted, because whoever leaves asks every level whether somebody waits there."""

    @property
    def waiting_seats(self) -> int:
        return sum(ticket.width for queue in self.queues for ticket in queue.waiting)

    @property
    def idle(self) -> bool:
        return self.executing == 0 and self.waiting == 0

    def configure(self, spec: "Shares", hand: int, longest: int, queues: int) -> None:
        """Those that wait go on waiting where they are, although the queues may have become fewer."""
        self.limit, self.lendable, self.borrowable = spec.limit, spec.lendable, spec.borrowable
        self.hand, self.longest = min(hand, queues), longest
        occupied = [queue for queue in self.queues[queues:] if queue.waiting]
        self.queues = [*self.queues[:queues], *(Queue() for _ in range(queues - len(self.queues))), *occupied]


@dataclass(frozen=True, slots=True)
class Shares:
    limit: int | None
    lendable: int = 0
    borrowable: float = math.inf


def shares(levels: Iterable[PriorityLevelConfiguration], total: int) -> Iterator[tuple[str, Shares]]:
    """How many of `total` seats each level is entitled to and lends.  Exempt ones have no limit, and may lend."""
    levels = list(levels)
    counted = sum(_nominal(level) for level in levels) or 1
    for level in levels:
        entitled = math.ceil(total * _nominal(level) / counted)
        part = level.spec.limited if level.spec.type == "Limited" else level.spec.exempt
        lendable = round(entitled * ((part and part.lendablePercent) or 0) / 100)
        if level.spec.type != "Limited":
            yield level.metadata.name, Shares(None, lendable)
            continue
        percent = level.spec.limited.borrowingLimitPercent if level.spec.limited is not None else None
        yield level.metadata.name, Shares(entitled, lendable, math.inf if percent is None else entitled * percent / 100)


def _nominal(level: PriorityLevelConfiguration) -> int:
    part: LimitedPriorityLevelConfiguration | None
    part = level.spec.limited if level.spec.type == "Limited" else level.spec.exempt  # type: ignore[assignment]
    return (part.nominalConcurrencyShares or 0) if part is not None else 0


def dealt(flow: str, queues: int, hand: int) -> list[int]:
    """The queues of a flow: always the same ones, and seldom all the same as another flow's."""
    left, cards = list(range(queues)), []
    entropy = int.from_bytes(blake2b(flow.encode(), digest_size=16).digest(), "big")
    for _ in range(min(hand, queues)):
        entropy, place = divmod(entropy, len(left))
        cards.append(left.pop(place))
    return cards


class Dispatcher:
    """Every level, and the seats that they share."""

    def __init__(self) -> None:
        self.levels: dict[str, Level] = {}

    def configure(self, levels: Iterable[PriorityLevelConfiguration], total: int) -> None:
        """Levels that are gone stay until those who wait in them have had their turn."""
        levels = list(levels)
        entitled = dict(shares(levels, total))
        for each in levels:
            level = self.levels.setdefault(each.metadata.name, Level(each.metadata.name))
            response = each.spec.limited.limitResponse if each.spec.limited is not None else None
            queuing = response.queuing if response is not None and response.type == "Queue" else None
            hand, longest, queues = 0, 0, 0
            if queuing is not None:
                hand, longest, queues = queuing.handSize or 8, queuing.queueLengthLimit or 50, queuing.queues or 64
            level.configure(entitled[each.metadata.name], hand, longest, queues)
        for name in [n for n, level in self.levels.items() if n not in entitled and level.idle]:
            del self.levels[name]
        for level in self.levels.values():
            self._serve(level)

    def enter(self, name: str, flow: str, width: int) -> Ticket:
        """Seats for a request, or a place in a queue.  To be given back by `leave`.  Raises Refused."""
        level = self.levels[name]
        width = width if level.limit is None else max(1, min(width, level.limit))
        if level.limit is None or (not level.waiting and self._has_room(level, width)):
            return self._seated(Ticket(level, width))
        if not level.hand:  # it may have queues, of those who waited when it still had them
            raise Refused(NO_SEAT)
        hand = dealt(flow, len(level.queues), level.hand)
        queue = min((level.queues[card] for card in hand), key=lambda q: len(q.waiting))
        if len(queue.waiting) >= level.longest:
            raise Refused(QUEUE_FULL)
        if not queue.waiting:
            queue.served = max(queue.served, level.at)  # what it did not use before gives it no claim now
        ticket = Ticket(level, width, queue)
        queue.waiting.append(ticket)
        level.waiting += 1
        self._serve(level)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """It has been served, or waits no longer."""
        level, turn = ticket.level, ticket.turn
        if ticket.queue is not None and turn is not None and (turn.cancelled() or not turn.done()):
            turn.cancel()
            if ticket in ticket.queue.waiting:
                ticket.queue.waiting.remove(ticket)
                level.waiting -= 1
            return
        level.executing -= 1
        self._give_back(level, ticket.width)

    def narrow(self, ticket: Ticket) -> None:
        """All its seats but one are free; for a request that is being served."""
        freed, ticket.width = ticket.width - 1, 1
        if freed > 0:
            self._give_back(ticket.level, freed)

    def _give_back(self, level: Level, seats: int) -> None:
        level.used -= seats
        self._serve(level)
        for other in self.levels.values():  # what this level does not need may be lent
            if other is not level and other.waiting:
                self._serve(other)

    def _serve(self, level: Level) -> None:
        """As many as have room, the least served queue first."""
        while level.waiting:
            queue = min((queue for queue in level.queues if queue.waiting), key=lambda q: q.served)
            first = queue.waiting[0]
            if not self._has_room(level, first.width):
                return
            queue.waiting.popleft()
            level.waiting -= 1
            level.at = queue.served
            queue.served += first.width
            assert first.turn is not None
            if not first.turn.cancelled():  # else its client has gone, and is about to say so
                self._seated(first)
                first.turn.set_result(None)

    def _seated(self, ticket: Ticket) -> Ticket:
        ticket.level.used += ticket.width
        ticket.level.executing += 1
        return ticket

    def _has_room(self, level: Level, width: int) -> bool:
        if level.limit is None or level.used == 0:
            return True
        beyond, was = level.used + width - level.limit, max(0, level.used - level.limit)
        return beyond <= 0 or (beyond <= level.borrowable and beyond - was <= self._lent(level))

    def _lent(self, to: Level) -> int:
        """Seats that other levels lend at the moment, beyond what all have borrowed already."""
        lent, borrowed = 0, 0
        for level in self.levels.values():
            if level.limit is None:
                lent += level.lendable
            elif level.used <= level.limit:
                lent += min(level.lendable, level.limit - level.used) if level is not to else 0
            else:
                borrowed += level.used - level.limit
        return lent - borrowed
