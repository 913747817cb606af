"""The allocator against one that tries everything: on small worlds, both find the same devices."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.types import DeviceRequest, DeviceTaint, DeviceToleration, ResourceSlice, ResourceV1ResourceClaim
from scheduler.allocating import allocate
from scheduler.device_requests import asked
from scheduler.devices import Devices
from scheduler.pools import Place
from tests.unit.scheduler.device_objects import (
    DRIVER,
    allocation,
    alternative,
    claim,
    device,
    device_class,
    different,
    first_of,
    request,
    same,
    slice_of,
)

HERE = "here"


@dataclass(frozen=True)
class Thing:
    """A device."""

    name: str
    pool: str
    size: int
    numa: int | None = None
    draws: int = 0
    memory: int = 0
    """More than 0: to be shared."""
    tainted: bool = False
    held: int = 0
    """By others: 0 is not at all, and of what is shared so much of its memory."""

    @property
    def is_held(self) -> bool:
        return self.held > 0


@dataclass(frozen=True)
class Want:
    """One alternative of a request."""

    count: int = 1
    """0: all."""
    size: int = 1
    admin: bool = False
    tolerates: bool = False
    memory: int = 1


@dataclass(frozen=True)
class Ask:
    requests: tuple[tuple[Want, ...], ...]
    alike: bool = False
    apart: bool = False


@dataclass(frozen=True)
class World:
    things: tuple[Thing, ...]
    counter: int
    """Each pool has so much, for its devices to draw on."""
    asks: tuple[Ask, ...] = field(default_factory=tuple)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    ints, flags = st.integers, st.sampled_from([False, False, False, True])
    things = []
    for at in range(draw(ints(0, 5))):
        memory = draw(st.sampled_from([0, 0, 2, 3]))
        things.append(
            Thing(
                f"d{at}", f"p{draw(ints(0, 1))}", draw(ints(1, 2)), draw(st.sampled_from([None, 0, 0, 1])),
                draw(ints(0, 2)), memory, draw(flags), draw(ints(0, 1)) if draw(flags) else 0,
            )
        )  # fmt: skip
    asks = []
    for _ in range(draw(ints(1, 2))):
        constrained = draw(st.sampled_from(["", "", "alike", "apart"]))
        requests = []
        for _ in range(draw(ints(1, 2))):
            several = draw(ints(1, 2))
            # With a constraint, a request for all may be an error instead of no.
            counts = st.sampled_from([1, 1, 2] if constrained else [0, 1, 1, 2])
            requests.append(
                tuple(
                    Want(draw(counts), draw(ints(1, 2)), several == 1 and draw(flags), draw(flags), draw(ints(1, 2)))
                    for _ in range(several)
                )
            )
        asks.append(Ask(tuple(requests), constrained == "alike", constrained == "apart"))
    return World(tuple(things), draw(ints(0, 4)), tuple(asks))


Choice = tuple[int, tuple[Thing, ...]]
"""Which alternative, and its devices."""


def options(wants: tuple[Want, ...], things: list[Thing]) -> Iterator[Choice]:
    for at, want in enumerate(wants):
        suited = [t for t in things if t.size >= want.size]
        if want.count:
            yield from ((at, chosen) for chosen in combinations(suited, want.count))
        elif everything := tuple(t for t in suited if not t.memory or t.held + want.memory <= t.memory):
            yield at, everything


def holds(world: World, choices: list[Choice]) -> bool:
    """Whether all the requests can have that at once."""
    used, shares, administered = Counter[Thing](), Counter[Thing](), Counter[tuple[int, Thing]]()
    holders: dict[Thing, set[int]] = {}
    taken, rest = [], iter(choices)
    for number, ask in enumerate(world.asks):
        mine = []
        for wants in ask.requests:
            at, things = next(rest)
            want = wants[at]
            for thing in things:
                if thing.tainted and not want.tolerates:
                    return False
                mine.append(thing)
                if thing.memory:
                    shares[thing] += want.memory
                elif want.admin:
                    if number in holders.setdefault(thing, set()):
                        return False
                    holders[thing].add(number)
                    administered[number, thing] += 1
                else:
                    if thing.is_held or holders.setdefault(thing, set()):
                        return False
                    holders[thing].add(number)
                    used[thing] += 1
        values = [thing.numa for thing in mine]
        if (ask.alike or ask.apart) and None in values:
            return False
        if (ask.alike and len({*values}) > 1) or (ask.apart and len({*values}) < len(values)):
            return False
        taken += mine
    if any(thing.held + amount > thing.memory for thing, amount in shares.items()):
        return False
    drawn: Counter[str] = Counter()
    for thing in {*taken}:
        if not thing.memory:
            drawn[thing.pool] += thing.draws * taken.count(thing)
        elif not thing.is_held:
            drawn[thing.pool] += thing.draws  # once for all that share it
    held: Counter[str] = Counter()
    for thing in world.things:
        if thing.is_held:
            held[thing.pool] += thing.draws
    pools = {t.pool for t in taken if t.draws and not (t.memory and t.is_held)}
    return all(held[pool] <= world.counter and held[pool] + drawn[pool] <= world.counter for pool in pools)


def expected(world: World) -> list[Choice] | None:
    things = sorted(world.things, key=lambda t: (t.pool, t.name))
    lists = [[*options(wants, things)] for ask in world.asks for wants in ask.requests]
    return next(([*choices] for choices in product(*lists) if holds(world, [*choices])), None)


def slices(world: World) -> Iterator[ResourceSlice]:
    taint = DeviceTaint(key="broken", effect="NoSchedule")
    for pool in {t.pool for t in world.things}:
        made = [
            device(
                t.name, {"size": t.size} | ({} if t.numa is None else {"numa": t.numa}),
                {"memory": str(t.memory or 9)}, counters={"c": str(t.draws)} if t.draws else {},
                taints=[taint] if t.tainted else [], allowMultipleAllocations=True if t.memory else None,
            )
            for t in world.things if t.pool == pool
        ]  # fmt: skip
        shared = {"c": str(world.counter)}
        yield slice_of(node=HERE, pool=pool, name=f"{pool}-shared", count=2, shared=shared)
        yield slice_of(*made, node=HERE, pool=pool, name=f"{pool}-devices", count=2)


def claims(world: World) -> Iterator[ResourceV1ResourceClaim]:
    for number, ask in enumerate(world.asks):
        constraints = [same("numa")] if ask.alike else [different("numa")] if ask.apart else []
        requests = [_request(f"r{at}", wants) for at, wants in enumerate(ask.requests)]
        yield claim(f"c{number}", *requests, constraints=constraints)


def _request(name: str, wants: tuple[Want, ...]) -> DeviceRequest:
    def said(want: Want) -> dict[str, object]:
        tolerations = [DeviceToleration(operator="Exists")] if want.tolerates else []
        return {"every": not want.count, "tolerations": tolerations, "asks": {"memory": str(want.memory)}}

    def expression(want: Want) -> str:
        return f'device.attributes["{DRIVER}"].size >= {want.size}'

    if len(wants) == 1:
        (want,) = wants
        more = {"adminAccess": True} if want.admin else {}
        return request(name, want.count, expression(want), **said(want), **more)  # type: ignore[arg-type]
    return first_of(
        name, *(alternative(f"a{at}", w.count, expression(w), **said(w)) for at, w in enumerate(wants))  # type: ignore[arg-type]
    )  # fmt: skip


def known(world: World) -> Devices:
    devices = Devices()
    devices.set_class(device_class())
    for each in slices(world):
        devices.set_slice(each)
    for thing in world.things:
        if thing.is_held:
            more = {"shareID": "x", "consumedCapacity": {"memory": str(thing.held)}} if thing.memory else {}
            devices.set_claim(claim(f"h-{thing.name}", allocation=allocation(thing.name, pool=thing.pool, **more)))
    return devices


def agree(world: World) -> None:
    devices, place = known(world), Place(HERE, lambda selector: False)
    asks = [asked(each, devices.classes) for each in claims(world)]
    solution = allocate(asks, devices.pools(place), devices.taken, devices.selectors)
    wanted = expected(world)
    if wanted is None:
        assert solution is None
        return
    assert solution is not None
    chosen = [at for each in solution.chosen for at in each]
    assert chosen == [at for at, _ in wanted]
    picked = [p.offered.id.device for picks in solution.picks for p in picks]
    assert picked == [thing.name for _, things in wanted for thing in things]


@given(worlds())
@settings(max_examples=500)
def test_the_devices_found_are_the_first_ones_that_do(world: World) -> None:
    agree(world)


@pytest.mark.long
@given(worlds())
@settings(max_examples=20_000, deadline=None)
def test_the_devices_found_are_the_first_ones_that_do_on_twenty_thousand_nodes(world: World) -> None:
    agree(world)
