"""Lets requests in by their flows: at once, after a wait, or not at all.

https://kubernetes.io/docs/concepts/cluster-administration/flow-control/
"""

import asyncio
import math
from typing import Protocol

from api.errors import NotFound, TooManyRequests
from api.kinds import Kind
from apiserver.flows.classifying import LEVELS, Classifier, Flow, Source
from apiserver.flows.queueing import TIMED_OUT, Dispatcher, Refused, Ticket
from apiserver.requests import Request
from machinery.clocks import Clock
from machinery.metrics import Counter, Gauge, Histogram

PATIENCE = 15.0
"""Seconds that a request waits at most: upstream's quarter of its longest request."""
OBJECTS_PER_SEAT, WIDEST = 100, 10
"""What a list costs: a seat for each hundred objects, as upstream estimates it."""
WAITS = (0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30)


class Counting(Source, Protocol):
    def count(self, kind: Kind) -> int:
        """How many objects of the kind there are.  Raises NotFound for a kind that is not kept."""
        ...


class Gate:
    """`seats` is how many requests may be worked on at once, all levels together."""

    def __init__(self, source: Counting, clock: Clock, seats: int, patience: float = PATIENCE) -> None:
        self.classify = Classifier(source).of
        self._source = source
        self._clock = clock
        self._seats = seats
        self._patience = patience
        self._version = -1
        self._dispatcher = Dispatcher()
        by_flow = ("priority_level", "flow_schema")
        self._dispatched = Counter(
            "apiserver_flowcontrol_dispatched_requests",
            "Number of requests executed by API Priority and Fairness subsystem", by_flow,
        )  # fmt: skip
        self._rejected = Counter(
            "apiserver_flowcontrol_rejected_requests",
            "Number of requests rejected by API Priority and Fairness subsystem", (*by_flow, "reason"),
        )  # fmt: skip
        self._waited = Histogram(
            "apiserver_flowcontrol_request_wait_duration_seconds",
            "Length of time a request spent waiting in its queue", (*by_flow, "execute"), WAITS,
        )  # fmt: skip
        levels = self._dispatcher.levels

        def gauge(name: str, told: str, read: str) -> Gauge:
            return Gauge(
                f"apiserver_flowcontrol_{name}", told, ("priority_level",),
                lambda: {(level.name,): float(getattr(level, read) or 0) for level in levels.values()},
            )  # fmt: skip

        self.metrics = [
            self._dispatched, self._rejected, self._waited,
            gauge("nominal_limit_seats", "Nominal number of execution seats configured for each priority level",
                  "limit"),
            gauge("current_inqueue_seats", "Number of seats currently pending in queues", "waiting_seats"),
            gauge("current_inqueue_requests", "Number of requests currently pending in queues", "waiting"),
            gauge("current_executing_requests", "Number of requests in execution", "executing"),
            gauge("current_executing_seats", "Seats that the requests in execution occupy", "used"),
        ]  # fmt: skip

    async def admit(self, flow: Flow, request: Request, limit: int = 0) -> Ticket:
        """Returns when the request may be served; `leave` when it has been.  `limit` is a list's.

        Raises TooManyRequests.
        """
        self._configure()
        names = (flow.level_name, flow.schema_name)
        try:
            ticket = self._dispatcher.enter(flow.level_name, flow.key, self._width(request, limit))
            if ticket.turn is not None:
                await self._wait(ticket, names)
        except Refused as e:
            self._rejected.add((*names, e.reason))
            raise TooManyRequests("too many requests, please try again later", {"retryAfterSeconds": 1}) from e
        self._dispatched.add(names)
        return ticket

    def narrow(self, ticket: Ticket) -> None:
        """The request needs no more than one of its seats from now on."""
        self._dispatcher.narrow(ticket)

    def leave(self, ticket: Ticket) -> None:
        self._dispatcher.leave(ticket)

    async def _wait(self, ticket: Ticket, names: tuple[str, str]) -> None:
        assert ticket.turn is not None
        began, executed = self._clock.monotonic(), False
        try:
            async with asyncio.timeout(self._patience):
                await ticket.turn
            executed = True
        except TimeoutError as e:
            raise Refused(TIMED_OUT) from e
        finally:
            if not executed:
                self._dispatcher.leave(ticket)
            self._waited.observe(self._clock.monotonic() - began, (*names, str(executed).lower()))

    def _configure(self) -> None:
        version = self._source.version(LEVELS)
        if version != self._version:
            self._version = version
            self._dispatcher.configure(self._source.list_cached(LEVELS), self._seats)  # type: ignore[arg-type]

    def _width(self, request: Request, limit: int) -> int:
        if request.verb != "list":
            return 1
        try:
            count = self._source.count(request.kind)
        except NotFound:
            return 1
        return min(WIDEST, max(1, math.ceil(min(count, limit or count) / OBJECTS_PER_SEAT)))
