"""Servers that watch each other; what a killed one does to its connections is the kernel's, and tried on loopback."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from cluster_dns import peers
from cluster_dns.peers import RETRY_SECONDS, Peers, held
from cluster_dns.publishing import Place, is_ready, service_at, slice_of
from machinery.testing import FakeClock, free_port, settle
from tests.unit.cluster_dns.worlds import View, Writes

ONE, TWO = (Place(f"10.123.0.{n}", 53, "10.96.0.10") for n in (50, 51))


class World:
    """The slices of two servers, of which the first one's peers are run. `alive` says whether the second one is."""

    def __init__(self) -> None:
        self.slices, self.clock = View(), FakeClock()
        for place in (ONE, TWO):
            self.slices.put(slice_of(service_at("10.96.0.10"), place))
        self.died, self.asked = asyncio.Event(), 0
        client = Writes(EndpointSlice=self.slices)
        self.peers = Peers(client, self.slices, ONE, self._hold, self.clock)  # type: ignore[arg-type]

    async def _hold(self, address: str, port: int) -> bool:
        assert (address, port) == ("10.123.0.51", 53)
        self.asked += 1
        if self.died.is_set():
            return False
        await self.died.wait()
        return True

    def ready(self, place: Place) -> bool:
        return is_ready(self.slices.get(*place.slice))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.peers.run())
        await settle()
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_server_that_dies_is_said_to_be_gone_and_nobody_else() -> None:
    world = World()
    async with world.running():
        assert world.ready(TWO)
        world.died.set()
        await settle()
        assert (world.ready(ONE), world.ready(TWO)) == (True, False)
        conditions = world.slices.get(*TWO.slice).endpoints[0].conditions
        assert (conditions.serving, conditions.terminating) == (True, True)


async def test_one_that_is_back_says_so_itself_and_is_watched_again() -> None:
    world = World()
    async with world.running():
        world.died.set()
        await settle()
        asked = world.asked
        await world.clock.advance(60)
        assert world.asked == asked
        world.died.clear()
        world.slices.put(slice_of(service_at("10.96.0.10"), TWO))
        await settle()
        assert (world.asked, world.ready(TWO)) == (asked + 1, True)


async def test_a_server_that_is_deleted_is_not_watched() -> None:
    world = World()
    async with world.running():
        world.slices.drop(TWO.slice)
        await settle()
        world.died.set()
        await settle()
        assert world.slices.get(*TWO.slice) is None


async def test_one_that_has_no_room_for_the_connection_is_not_asked_again_and_again() -> None:
    world = World()

    async def pushed_out(address: str, port: int) -> bool:
        await asyncio.sleep(0)
        world.asked += 1
        return True

    client = Writes(EndpointSlice=world.slices)
    world.peers = Peers(client, world.slices, ONE, pushed_out, world.clock)  # type: ignore[arg-type]
    async with world.running():
        await settle()
        assert world.asked == 2
        await world.clock.advance(RETRY_SECONDS)
        await settle()
        assert (world.asked, world.ready(TWO)) == (3, True)


async def test_one_that_stands_still_is_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "HELD_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        assert not await held(*frozen.getsockname())


async def test_one_that_ended_the_connection_while_this_one_stood_still_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peers, "HELD_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as alive:
        holding = asyncio.create_task(held(*alive.getsockname()))
        alive.settimeout(5)
        connection, _ = await asyncio.to_thread(alive.accept)
        await settle()
        connection.close()
        time.sleep(0.4)  # noqa: ASYNC251  the process stands still
        assert await holding


async def test_a_connection_is_held_until_the_other_side_ends_it() -> None:
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gone.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    holding = asyncio.create_task(held("127.0.0.1", port))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(holding), 0.05)
    gone.set()
    assert await holding
    server.close()
    await server.wait_closed()
    assert not await held("127.0.0.1", free_port())
