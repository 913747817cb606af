"""Requests that are let in, wait, or are turned away."""

import asyncio

import pytest

from api import kinds
from api.errors import TooManyRequests
from api.kinds import Kind
from api.types import Node, Pod
from apiserver.flows import Gate
from apiserver.flows.queueing import Ticket
from apiserver.requests import Request, User
from machinery.testing import FakeClock, settle
from tests.unit.apiserver.flows.test_classifying import ACCOUNT, NODE, Defaults

PODS, NODES = kinds.of(Pod), kinds.of(Node)


class World(Defaults):
    objects = 0

    def count(self, kind: Kind) -> int:
        return self.objects


@pytest.fixture
def world() -> World:
    return World()


def gate(world: World, *, patience: float = 15.0, seats: int = 600) -> Gate:
    return Gate(world, FakeClock(), seats, patience)


async def enter(gate: Gate, request: Request, limit: int = 0) -> Ticket:
    flow = gate.classify(request)
    assert flow is not None
    return await gate.admit(flow, request, limit)


def listing(user: str) -> Request:
    return Request(User(user, groups=ACCOUNT), "list", PODS)


@pytest.mark.parametrize(
    ("objects", "limit", "width"), [(0, 0, 1), (250, 0, 3), (5000, 0, 10), (5000, 500, 5), (20, 500, 1)]
)
async def test_a_list_is_as_wide_as_what_it_lists(world: World, objects: int, limit: int, width: int) -> None:
    world.objects = objects
    assert (await enter(gate(world), listing("a"), limit)).width == width


async def test_a_flood_of_lists_does_not_keep_a_node_waiting(world: World) -> None:
    world.objects, flooded = 5000, gate(world)
    lists = [asyncio.create_task(enter(flooded, listing("flood"))) for _ in range(2000)]
    await settle()
    assert sum(task.done() for task in lists) > 100, "what finds no place is refused at once"
    async with asyncio.timeout(1):
        await enter(flooded, Request(NODE, "patch", NODES, name="a", subresource="status"))
        await enter(flooded, Request(NODE, "list", PODS))
    for task in lists:
        task.cancel()
    await asyncio.gather(*lists, return_exceptions=True)


async def test_who_waits_too_long_is_told_to_come_again(world: World) -> None:
    small = gate(world, patience=0.01, seats=1)
    await enter(small, Request(User("a", groups=ACCOUNT), "get", PODS, "x", "y"))
    with pytest.raises(TooManyRequests) as refused:
        await enter(small, Request(User("b", groups=ACCOUNT), "get", PODS, "x", "y"))
    assert refused.value.details == {"retryAfterSeconds": 1}


async def test_a_client_that_goes_while_it_waits_leaves_its_place(world: World) -> None:
    small = gate(world, seats=1)
    first = await enter(small, Request(User("a", groups=ACCOUNT), "get", PODS, "x", "y"))
    gone = asyncio.create_task(enter(small, Request(User("b", groups=ACCOUNT), "get", PODS, "x", "y")))
    await settle()
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    small.leave(first)
    async with asyncio.timeout(1):
        await enter(small, Request(User("c", groups=ACCOUNT), "get", PODS, "x", "y"))
