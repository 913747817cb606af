import asyncio
from collections.abc import AsyncIterator

import pytest

from api import meta
from api.meta import Key
from api.types import Pod, PodSchedulingGate
from machinery.testing import FakeClock, settle
from scheduler.hints import Event, may_help, node_events
from scheduler.queues import LEFTOVER_SECONDS, SchedulingQueue, State, Waiting
from tests.unit.scheduler.objects import node, pod, taint

FIT = frozenset({"NodeResourcesFit"})


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def queue(clock: FakeClock) -> AsyncIterator[SchedulingQueue]:
    made = SchedulingQueue(clock)
    task = asyncio.create_task(made.run())
    await settle()
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def add(queue: SchedulingQueue, *pods: Pod) -> None:
    for each in pods:
        queue.add(each, meta.key(each))


async def taken(queue: SchedulingQueue) -> Waiting | None:
    """The next pod, or None if none is to be tried now."""
    await settle()
    if not queue.waiting(State.ACTIVE):
        return None
    return await queue.get()


async def test_pods_come_by_priority_and_then_by_arrival(queue: SchedulingQueue) -> None:
    add(queue, pod("a"), pod("b", priority=10), pod("c"), pod("d", priority=10))
    assert [(await queue.get()).key.name for _ in range(4)] == ["b", "d", "a", "c"]


async def test_a_pod_is_handed_out_once(queue: SchedulingQueue) -> None:
    add(queue, pod("a"), pod("a"))
    await queue.get()
    add(queue, pod("a"))
    assert await taken(queue) is None


async def test_whoever_waits_gets_the_next_arrival(queue: SchedulingQueue) -> None:
    getting = asyncio.create_task(queue.get())
    await settle()
    add(queue, pod("a"))
    assert (await getting).key.name == "a"


async def test_back_off_doubles_up_to_ten_seconds(queue: SchedulingQueue, clock: FakeClock) -> None:
    add(queue, pod("a"))
    for seconds in (1, 2, 4, 8, 10, 10):
        waiting = await queue.get()
        queue.failed(waiting, "binding rejected")
        await settle()
        await clock.advance(seconds - 0.01)
        assert await taken(queue) is None
        await clock.advance(0.01)
    assert (await queue.get()).attempts == 7


async def test_an_earlier_back_off_overtakes_a_later_one(queue: SchedulingQueue, clock: FakeClock) -> None:
    add(queue, pod("a"))
    waiting = await queue.get()
    waiting.attempts = 5
    queue.failed(waiting, "")
    await settle()
    add(queue, pod("b"))
    queue.failed(await queue.get(), "")
    await settle()
    await clock.advance(1)
    assert (await queue.get()).key.name == "b"


async def test_an_unschedulable_pod_waits_for_an_event_that_can_help(queue: SchedulingQueue, clock: FakeClock) -> None:
    add(queue, pod("a"))
    queue.failed(await queue.get(), "0/1 …", FIT)
    await clock.advance(2)
    for useless in (Event.NODE_TAINTS, Event.POD_PLACED, Event.NODE_LABELS):
        queue.happened(useless)
    assert await taken(queue) is None
    queue.happened(Event.POD_REMOVED)
    assert await taken(queue) is not None


async def test_whoever_is_in_back_off_is_tried_when_there_is_nothing_else_to_do(queue: SchedulingQueue) -> None:
    for name, priority in (("a", 0), ("b", 5)):
        add(queue, pod(name, priority=priority))
        queue.failed(await queue.get(), "0/1 …", FIT)
    queue.happened(Event.NODE_ADDED)
    assert [w.key.name for w in queue.waiting(State.BACKOFF)] == ["b", "a"]
    add(queue, pod("c"))
    assert [(await queue.get()).key.name for _ in range(3)] == ["c", "b", "a"]
    assert queue.incoming["active", "PopFromBackoffQ"] == 2


async def test_an_error_is_not_tried_again_before_its_back_off_ends(queue: SchedulingQueue, clock: FakeClock) -> None:
    add(queue, pod("a"))
    queue.failed(await queue.get(), "0/1 …", FIT)
    queue.again(Key("default", "a"), error=True)
    assert await taken(queue) is None
    await clock.advance(1)
    assert await taken(queue) is not None


async def test_an_unschedulable_pod_is_tried_after_five_minutes_anyway(
    queue: SchedulingQueue, clock: FakeClock
) -> None:
    add(queue, pod("a"))
    queue.failed(await queue.get(), "0/1 …", FIT)
    await settle()
    await clock.advance(LEFTOVER_SECONDS)
    assert await taken(queue) is not None


async def test_a_gated_pod_waits_until_its_gates_go(queue: SchedulingQueue) -> None:
    add(queue, pod("a", schedulingGates=[PodSchedulingGate(name="g")]))
    queue.happened(Event.NODE_ADDED)
    assert await taken(queue) is None
    add(queue, pod("a"))
    assert await taken(queue) is not None


async def test_a_changed_pod_is_tried_again(queue: SchedulingQueue, clock: FakeClock) -> None:
    add(queue, pod("a"))
    queue.failed(await queue.get(), "0/1 …", frozenset({"TaintToleration"}))
    await clock.advance(1)
    add(queue, pod("a", labels={"new": "label"}))
    assert await taken(queue) is not None


async def test_a_deleted_pod_is_never_handed_out(queue: SchedulingQueue, clock: FakeClock) -> None:
    add(queue, pod("a"), pod("b"), pod("c"))
    first = await queue.get()
    queue.remove(first.key)
    queue.failed(first, "")
    queue.remove(meta.key(pod("b")))
    await settle()
    await clock.advance(20)
    assert (await queue.get()).key.name == "c"
    assert await taken(queue) is None
    assert len(queue) == 1


def test_a_node_helps_only_with_what_changed_on_it() -> None:
    assert node_events(None, node("n")) == {Event.NODE_ADDED}
    assert node_events(node("n"), None) == {Event.NODE_REMOVED}
    assert node_events(node("n"), node("n")) == set()
    assert node_events(node("n"), node("n", cpu="8")) == {Event.NODE_RESOURCES}
    assert node_events(node("n", taints=[taint("x")]), node("n")) == {Event.NODE_TAINTS}
    assert node_events(node("n", unschedulable=True), node("n", labels={"a": "b"})) == {
        Event.NODE_UNSCHEDULABLE,
        Event.NODE_LABELS,
    }


def test_without_any_node_only_a_node_helps() -> None:
    assert may_help(Event.NODE_ADDED, frozenset())
    assert not may_help(Event.POD_REMOVED, frozenset())
