"""Drivers of devices come and go by their sockets."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from api import errors
from kubelet.devices.claims import ClaimFault
from kubelet.devices.drivers import Driver, Drivers
from kubelet.devices.metrics import Metrics
from kubelet.devices.records import Claim, Device
from kubelet.devices.registering import FIRST_RETRY, PERIOD, Registry
from kubelet.devices.slices import DELAY, Sweeper
from machinery.testing import FakeClock, settle
from proto import dra_pb2 as pb
from tests.unit.kubelet.drivers import FakeDriver

NAME = "lamps.example"


@pytest.fixture
def place() -> Iterator[Path]:
    """The path of a socket has 107 characters at most, which those of pytest's directories may exceed."""
    with TemporaryDirectory(prefix="wherry-") as made:
        yield Path(made)


class Noted(FakeClock):
    """Notes who begins to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: asyncio.Queue[float] = asyncio.Queue()

    async def sleep(self, seconds: float) -> None:
        self.waits.put_nowait(seconds)
        await super().sleep(seconds)

    async def asked_for(self, seconds: float) -> None:
        async with asyncio.timeout(10):
            while await self.waits.get() != seconds:
                pass
        await settle()


class Watched:
    """A registry at work, and what it told of its drivers."""

    def __init__(self, directory: Path, real: Any = lambda path: path) -> None:
        self.drivers, self.clock = Drivers(), Noted()
        self._changes = asyncio.Event()
        self.drivers.on_change = lambda name: self._changes.set()
        self.metrics = Metrics(self.clock)
        self.registry = Registry(directory, self.drivers, self.metrics, self.clock, real)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Watched"]:
        task = asyncio.create_task(self.registry.run())
        try:
            yield self
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not holds():
                self._changes.clear()
                await self._changes.wait()

    async def usable(self) -> None:
        await self.until(lambda: self.drivers.usable(NAME))

    def called(self) -> Driver | None:
        """Who would be called."""
        with suppress(ClaimFault):
            return self.drivers.get(NAME)
        return None


def claim(name: str, uid: str = "") -> Claim:
    return Claim("default", name, uid or f"uid-{name}", {NAME: []})


async def test_a_driver_that_comes_is_registered_told_so_and_called(place: Path) -> None:
    async with Watched(place).running() as watched:
        with pytest.raises(ClaimFault, match=r"^DRA driver lamps.example is not registered$"):
            watched.drivers.get(NAME)
        async with FakeDriver(place).serving() as driver:
            assert (await driver.told()).plugin_registered
            await watched.usable()
            found = await watched.drivers.get(NAME).prepare([claim("a"), claim("b")])
            assert found["uid-a"] == [Device((), "pool", "lamp-0", ("acme.example/claim=uid-a",))]
            await watched.drivers.get(NAME).unprepare([claim("a")])
        assert driver.prepared == [["a", "b"]]
        assert driver.unprepared == [["a"]]
        await watched.until(lambda: watched.called() is None)


async def test_one_that_was_there_before_the_kubelet_is_found(place: Path) -> None:
    async with FakeDriver(place / "below").serving(), Watched(place).running() as watched:
        await watched.usable()


async def test_one_that_comes_again_at_the_same_path_is_asked_again(place: Path) -> None:
    async with Watched(place).running() as watched:
        async with FakeDriver(place).serving() as driver:
            await driver.told()
        async with FakeDriver(place).serving() as driver:
            assert (await driver.told()).plugin_registered
            await watched.usable()


async def test_one_that_goes_while_it_is_told_is_gone(place: Path) -> None:
    async with Watched(place).running() as watched:
        driver = FakeDriver(place)
        driver.gate = asyncio.Event()
        async with driver.serving():
            assert (await driver.told()).plugin_registered
            assert watched.called() is not None
        await watched.until(lambda: watched.called() is None)


async def test_one_whose_socket_gets_other_rights_is_the_same(place: Path) -> None:
    async with Watched(place).running() as watched, FakeDriver(place).serving() as driver:
        await watched.usable()
        known = watched.drivers.get(NAME)
        driver.socket.chmod(0o600)
        (place / "else").touch()  # makes the directory be looked at
        await watched.clock.asked_for(PERIOD)
        await watched.clock.asked_for(PERIOD)
        assert watched.drivers.get(NAME) is known


async def test_an_endpoint_of_its_own_is_looked_for_where_the_nodes_paths_are(place: Path) -> None:
    driver = FakeDriver(place, endpoint="/var/lib/kubelet/plugins/dra.sock")
    watched = Watched(place, real=lambda path: path.replace("/var/lib/kubelet/plugins", str(place / "own")))
    (place / "own").mkdir()
    async with driver.serving(seen=f"{place}/own/dra.sock"), watched.running():
        await watched.usable()
        assert await watched.drivers.get(NAME).prepare([claim("a")])


async def test_the_older_service_is_spoken_too(place: Path) -> None:
    driver = FakeDriver(place, versions=["v1beta1.DRAPlugin"])
    async with driver.serving(), Watched(place).running() as watched:
        await watched.usable()
        assert await watched.drivers.get(NAME).prepare([claim("a")])
    assert driver.prepared == [["a"]]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"kind": "CSIPlugin"}, "RegisterPlugin error -- no handler registered for plugin type: CSIPlugin at socket {socket}"),
        (
            {"versions": ["v2.DRAPlugin"]},
            "RegisterPlugin error -- plugin validation failed with err: invalid supported gRPC versions of DRA driver "
            'plugin lamps.example at endpoint {socket}: none of services supported by the plugin (["v2.DRAPlugin"]) are '
            'supported by the kubelet (["v1.DRAPlugin" "v1beta1.DRAPlugin"])',
        ),
        (
            {"versions": []},
            "RegisterPlugin error -- plugin validation failed with err: invalid supported gRPC versions of DRA driver "
            "plugin lamps.example at endpoint {socket}: empty list of supported gRPC services (aka supported versions)",
        ),
    ],
)  # fmt: skip
async def test_what_cannot_be_registered_is_told_why(place: Path, fields: dict[str, Any], why: str) -> None:
    async with Watched(place).running() as watched, FakeDriver(place, **fields).serving() as driver:
        told = await driver.told()
        assert (told.plugin_registered, told.error) == (False, why.format(socket=driver.socket))
        with pytest.raises(ClaimFault):
            watched.drivers.get(NAME)
        await watched.clock.asked_for(FIRST_RETRY)
        await watched.clock.advance(FIRST_RETRY)
        assert not (await driver.told()).plugin_registered


async def test_nobody_takes_anothers_endpoint(place: Path) -> None:
    (place / "thief").mkdir()
    async with FakeDriver(place).serving() as first, Watched(place).running() as watched:
        await watched.usable()
        thief = FakeDriver(place / "thief", endpoint=str(first.socket))
        async with thief.serving(seen=str(thief.socket)):
            await watched.clock.advance(PERIOD)  # nothing tells of what is below
            told = await thief.told()
            assert told.error.endswith("already registered for DRA driver plugin lamps.example")


async def test_while_a_driver_is_replaced_the_newest_that_answers_is_called(place: Path) -> None:
    async with Watched(place).running() as watched, FakeDriver(place).serving():
        await watched.usable()
        old = watched.drivers.get(NAME)
        new = FakeDriver(place)
        new.socket = place / "new.sock"
        async with new.serving():
            await new.told()
            await watched.until(lambda: watched.called() is not old)
        await watched.until(lambda: watched.called() is old)


@pytest.mark.parametrize(
    ("faults", "why"),
    [
        ({"a": "no bulb"}, "NodePrepareResources failed for ResourceClaim a: no bulb"),
        ({"": "fuse"}, "NodePrepareResources: rpc error: code = Internal desc = fuse"),
        ({"b": "skipped"}, "NodePrepareResources skipped 1 ResourceClaims"),
    ],
)
async def test_what_a_driver_cannot_do_is_told_in_upstreams_words(
    place: Path, faults: dict[str, str], why: str
) -> None:
    async with Watched(place).running() as watched, FakeDriver(place).serving() as driver:
        await watched.usable()
        driver.faults = faults
        with pytest.raises(ClaimFault) as told:
            await watched.drivers.get(NAME).prepare([claim("a"), claim("b")])
        assert str(told.value) == why


async def test_calls_are_counted_by_how_they_went(place: Path) -> None:
    async with Watched(place).running() as watched, FakeDriver(place).serving() as driver:
        await watched.usable()
        await watched.drivers.get(NAME).prepare([claim("a")])
        driver.faults = {"": "fuse"}
        with pytest.raises(ClaimFault):
            await watched.drivers.get(NAME).unprepare([claim("a")])
        (calls,) = [f for c in watched.metrics.collectors for f in c.collect() if "grpc" in f.name]
        told = {tuple(s.labels.values()) for s in calls.samples if s.name.endswith("_count")}
        service = "/k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin"
        assert calls.name == "dra_grpc_operations_duration_seconds"
        assert told == {
            (NAME, f"{service}/NodePrepareResources", "OK"), (NAME, f"{service}/NodeUnprepareResources", "Internal"),
        }  # fmt: skip


async def test_requests_of_alternatives_are_known_by_the_request_alone(place: Path) -> None:
    def answers(of: pb.Claim) -> list[pb.Device]:
        return [pb.Device(request_names=["light/big", "spare"], pool_name="p", device_name="d", share_id="s")]

    async with Watched(place).running() as watched, FakeDriver(place, answers=answers).serving():
        await watched.usable()
        found = await watched.drivers.get(NAME).prepare([claim("a")])
        assert found["uid-a"] == [Device(("light", "spare"), "p", "d", (), "s")]


class Slices:
    """A client that only deletes."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.failing = 0

    async def delete_collection(self, what: Any, *, field_selector: str) -> None:
        self.asked.append(field_selector)
        if self.failing:
            self.failing -= 1
            raise errors.Forbidden("not yet")


@asynccontextmanager
async def sweeping(slices: Slices, usable: set[str], clock: FakeClock, **options: Any) -> AsyncIterator[Sweeper]:
    sweeper = Sweeper(slices, "node1", usable.__contains__, clock)  # type: ignore[arg-type]
    task = asyncio.create_task(sweeper.run(**options))
    await settle()
    yield sweeper
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_what_was_published_before_the_kubelet_came_goes_at_once_and_is_tried_again() -> None:
    slices, clock = Slices(), FakeClock()
    slices.failing = 1
    async with sweeping(slices, set(), clock):
        assert slices.asked == ["spec.nodeName=node1"]
        await clock.advance(1.2)
        assert slices.asked == ["spec.nodeName=node1"] * 2
        await clock.advance(600)
        assert len(slices.asked) == 2


async def test_what_a_lost_driver_has_published_goes_after_a_while_unless_it_comes_back() -> None:
    slices, clock, usable = Slices(), FakeClock(), {"a", "b"}
    async with sweeping(slices, usable, clock, at_first=False) as sweeper:
        usable.clear()
        sweeper.changed("a")
        sweeper.changed("b")
        await clock.advance(DELAY - 1)
        usable.add("b")
        sweeper.changed("a")  # it was lost already: that counts from the first time
        sweeper.changed("b")
        await clock.advance(2)
        assert slices.asked == ["spec.nodeName=node1,spec.driver=a"]
        sweeper.changed("a")
        await clock.advance(DELAY)
        assert len(slices.asked) == 2
