"""Seats and fair queues of priority levels."""

import asyncio
import contextlib
import random
from collections import Counter

import pytest

from api.types import (
    ExemptPriorityLevelConfiguration,
    LimitedPriorityLevelConfiguration,
    LimitResponse,
    ObjectMeta,
    PriorityLevelConfiguration,
    PriorityLevelConfigurationSpec,
    QueuingConfiguration,
)  # fmt: skip
from apiserver.flows.defaults import priority_levels
from apiserver.flows.queueing import NO_SEAT, QUEUE_FULL, Dispatcher, Refused, Ticket, dealt, shares


def limited(
    name: str, part: int, *, queues: int = 0, hand: int = 1, length: int = 50, lend: int = 0, borrow: int | None = 0
) -> PriorityLevelConfiguration:
    queuing = QueuingConfiguration(queues=queues, handSize=hand, queueLengthLimit=length)
    response = LimitResponse(type="Queue", queuing=queuing) if queues else LimitResponse(type="Reject")
    spec = LimitedPriorityLevelConfiguration(
        nominalConcurrencyShares=part, lendablePercent=lend, borrowingLimitPercent=borrow, limitResponse=response
    )
    return PriorityLevelConfiguration(
        metadata=ObjectMeta(name=name), spec=PriorityLevelConfigurationSpec(type="Limited", limited=spec)
    )


def exempt() -> PriorityLevelConfiguration:
    spec = PriorityLevelConfigurationSpec(type="Exempt", exempt=ExemptPriorityLevelConfiguration())
    return PriorityLevelConfiguration(metadata=ObjectMeta(name="exempt"), spec=spec)


def dispatcher(*levels: PriorityLevelConfiguration, total: int) -> Dispatcher:
    made = Dispatcher()
    made.configure(levels, total)
    return made


def seated(ticket: Ticket) -> bool:
    return ticket.turn is None or (ticket.turn.done() and not ticket.turn.cancelled())


def test_seats_are_shared_out_by_the_levels_shares() -> None:
    found = {name: share.limit for name, share in shares(priority_levels(), 600)}
    assert found == {
        "exempt": None, "catch-all": 13, "system": 74, "node-high": 98, "leader-election": 25, "workload-high": 98,
        "workload-low": 245, "global-default": 49,
    }  # fmt: skip


async def test_who_is_exempt_never_waits() -> None:
    d = dispatcher(exempt(), limited("low", 1), total=1)
    assert all(seated(d.enter("exempt", "x", 10)) for _ in range(1000))


async def test_a_level_without_queues_refuses_what_has_no_seat() -> None:
    d = dispatcher(limited("low", 1), total=2)
    first, _ = d.enter("low", "a", 1), d.enter("low", "a", 1)
    with pytest.raises(Refused, match=NO_SEAT):
        d.enter("low", "a", 1)
    d.leave(first)
    assert seated(d.enter("low", "a", 1))


async def test_a_full_queue_refuses() -> None:
    d = dispatcher(limited("low", 1, queues=1, length=2), total=1)
    tickets = [d.enter("low", "a", 1) for _ in range(3)]
    assert [seated(t) for t in tickets] == [True, False, False]
    with pytest.raises(Refused, match=QUEUE_FULL):
        d.enter("low", "a", 1)


async def test_a_flood_leaves_every_other_flow_its_turn() -> None:
    d = dispatcher(limited("low", 1, queues=64, hand=6, length=50), total=4)
    flood: list[Ticket] = []
    for _ in range(400):
        try:
            flood.append(d.enter("low", "flood", 1))
        except Refused:
            break
    assert len(flood) == 4 + 6 * 50, "a flow fills its own hand of queues and no more"
    quiet = d.enter("low", "quiet", 1)
    # All six queues of the flood are a round; the quiet flow has a queue of its own in it.
    running, served = [t for t in flood if seated(t)], 0
    while not seated(quiet):
        d.leave(running.pop(0))
        served += 1
        running = [t for t in flood if seated(t) and t in running] + [
            t for t in flood if seated(t) and t not in running and t.turn is not None
        ]
        assert served <= 7


async def test_flows_are_served_evenly_however_much_each_asks_for() -> None:
    d = dispatcher(limited("low", 1, queues=3, hand=1, length=1000), total=1)
    flows = ["a", next(f for f in map(str, range(100)) if dealt(f, 3, 1) != dealt("a", 3, 1))]
    first = d.enter("low", "x", 1)
    waiting = [(f, d.enter("low", f, width)) for f, width in zip(flows * 100, [1] * 200, strict=False)]
    waiting += [(flows[0], d.enter("low", flows[0], 1)) for _ in range(300)]
    d.leave(first)
    turns: list[str] = []
    for _ in range(100):
        flow, ticket = next((f, t) for f, t in waiting if seated(t))
        waiting.remove((flow, ticket))
        turns.append(flow)
        d.leave(ticket)
    assert abs(Counter(turns)[flows[0]] - 50) <= 2


async def test_a_wide_request_takes_its_seats_and_is_no_wider_than_its_level() -> None:
    d = dispatcher(limited("low", 1, queues=1), total=4)
    wide = d.enter("low", "a", 10)
    assert (d.levels["low"].used, d.levels["low"].executing) == (4, 1)
    narrow = d.enter("low", "a", 1)
    assert not seated(narrow)
    d.leave(wide)
    assert seated(narrow)
    assert d.levels["low"].used == 1


async def test_a_level_borrows_what_others_lend_and_do_not_need() -> None:
    d = dispatcher(limited("rich", 1, lend=50), limited("poor", 1, queues=1, borrow=100), total=8)
    poor = [d.enter("poor", "a", 1) for _ in range(8)]
    assert [seated(t) for t in poor] == [True] * 6 + [False] * 2
    rich = [d.enter("rich", "b", 1) for _ in range(4)]
    assert all(map(seated, rich)), "what a level is entitled to, it has at once"
    d.leave(poor[0])
    assert not seated(poor[6]), "nothing is lent any more"
    for each in rich:
        d.leave(each)
    assert seated(poor[6])


async def test_who_gives_up_waiting_takes_no_seat() -> None:
    d = dispatcher(limited("low", 1, queues=1), total=1)
    first, second, third = (d.enter("low", "a", 1) for _ in range(3))
    d.leave(second)
    d.leave(first)
    assert seated(third)
    assert d.levels["low"].executing == 1


async def test_a_level_that_is_gone_serves_those_who_wait() -> None:
    d = dispatcher(limited("low", 1, queues=2), limited("other", 1), total=2)
    first, second = d.enter("low", "a", 1), d.enter("low", "a", 1)
    d.configure([limited("other", 1)], 2)
    d.leave(first)
    assert seated(second)
    d.leave(second)
    d.configure([limited("other", 1)], 2)
    assert "low" not in d.levels


async def test_seats_always_add_up() -> None:
    """Whatever comes, waits, gives up and goes, and however the levels are changed meanwhile."""
    for seed in range(30):
        chance = random.Random(seed)
        names = ["a", "b", "c"]

        def levels(chance: random.Random = chance, names: list[str] = names) -> list[PriorityLevelConfiguration]:
            return [
                limited(n, chance.randint(1, 5), queues=chance.randint(1, 8), hand=2, length=5,
                        lend=chance.choice([0, 50]), borrow=chance.choice([None, 0, 100]))
                for n in names
            ]  # fmt: skip

        d = dispatcher(*levels(), total=12)
        held: list[Ticket] = []
        for _ in range(400):
            match chance.random():
                case x if x < 0.55:
                    with contextlib.suppress(Refused):
                        held.append(d.enter(chance.choice(names), str(chance.randint(0, 9)), chance.randint(1, 4)))
                case x if x < 0.97 and held:
                    d.leave(held.pop(chance.randrange(len(held))))
                case _:
                    d.configure(levels(), chance.randint(6, 20))
            for level in d.levels.values():
                mine = [t for t in held if t.level is level]
                assert level.used == sum(t.width for t in mine if seated(t))
                assert level.waiting == sum(not seated(t) for t in mine)
        for ticket in held:
            d.leave(ticket)
        await asyncio.sleep(0)
        assert all(level.idle and level.used == 0 for level in d.levels.values())


async def test_who_only_sends_keeps_one_seat() -> None:
    made = dispatcher(limited("a", 10, queues=1), total=10)
    wide = made.enter("a", "x", 8)
    waiting = made.enter("a", "y", 5)
    assert not seated(waiting)
    made.narrow(wide)
    assert seated(waiting)
    assert made.levels["a"].used == 6
    made.narrow(waiting)
    made.leave(wide)
    made.leave(waiting)
    assert made.levels["a"].used == made.levels["a"].executing == 0


async def test_a_level_that_queues_no_more_refuses_although_some_still_wait() -> None:
    d = dispatcher(limited("low", 1, queues=4), total=1)
    first, second = d.enter("low", "a", 1), d.enter("low", "a", 1)
    d.configure([limited("low", 1)], 1)
    with pytest.raises(Refused) as refused:
        d.enter("low", "b", 1)
    assert refused.value.reason == NO_SEAT
    d.leave(first)
    assert seated(second)
    d.leave(second)
    assert seated(d.enter("low", "b", 1))
