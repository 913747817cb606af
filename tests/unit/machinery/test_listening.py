"""How many connections a port takes, and who has to go."""

import asyncio
import ssl
from contextlib import asynccontextmanager

import pytest

from machinery import listening
from machinery.certificates import Authority, Subject
from machinery.listening import Listener, Turns, Visits
from machinery.testing import settle


class Guest(asyncio.Protocol):
    def __init__(self) -> None:
        self.left = lambda: None
        self.transport = None
        self.busy = False

    @property
    def is_idle(self):
        return not self.busy

    def connection_made(self, transport) -> None:
        self.transport = transport

    def data_received(self, data) -> None:
        self.busy = True
        self.transport.write(data)

    def connection_lost(self, exc) -> None:
        self.left()

    def cut(self) -> None:
        if self.transport is not None:
            self.transport.abort()


@asynccontextmanager
async def listening_at(tls, **limits):
    listener = Listener("127.0.0.1", 0, tls, Guest, **limits)
    task = asyncio.create_task(listener.run())
    try:
        yield listener
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def connect(listener, said=b""):
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    if said:
        writer.write(said)
        assert await reader.readexactly(len(said)) == said
    return reader, writer


async def test_the_oldest_of_those_who_say_nothing_makes_room() -> None:
    async with asyncio.timeout(5), listening_at(None, most_each=3) as listener:
        busy = await connect(listener, b"a")
        silent = [await connect(listener) for _ in range(2)]
        newcomer = await connect(listener, b"b")
        assert await silent[0][0].read() == b""
        assert len(listener.visits) == 3
        for _, writer in (busy, newcomer, *silent):
            writer.close()


async def test_where_all_are_busy_the_newcomer_is_turned_away() -> None:
    async with asyncio.timeout(5), listening_at(None, most_each=2) as listener:
        busy = [await connect(listener, b"a") for _ in range(2)]
        newcomer = await connect(listener)
        assert await newcomer[0].read() == b""
        for reader, writer in busy:
            writer.write(b"still here")
            assert await reader.readexactly(10) == b"still here"
        for _, writer in (*busy, newcomer):
            writer.close()


async def test_who_leaves_makes_room() -> None:
    async with asyncio.timeout(5), listening_at(None, most_each=1) as listener:
        for _ in range(3):
            _, writer = await connect(listener, b"a")
            writer.close()
            await writer.wait_closed()
            await settle()


def test_the_address_with_the_most_connections_gives_the_room_for_others() -> None:
    visits = Visits(3, 3)
    many, few = [Guest(), Guest()], Guest()
    for guest in many:
        assert visits.has_room("many")
        visits.enter("many", guest)
    visits.enter("few", few)
    assert visits.has_room("new")
    visits.enter("new", Guest())
    assert len(visits) == 3


async def test_of_those_who_wait_for_a_turn_the_youngest_is_next(monkeypatch) -> None:
    monkeypatch.setattr(listening, "HANDSHAKES", 1)
    turns, over, came = Turns(), asyncio.Event(), []

    async def comes(name) -> None:
        async with turns.turn():
            came.append(name)
            await over.wait()

    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        for name in "abcd":
            waiting = tasks.create_task(comes(name))
            await settle()
        waiting.cancel()
        await settle()
        assert came == ["a"]
        over.set()
    assert came == ["a", "c", "b"]


async def test_who_waits_for_its_client_makes_room_for_others(monkeypatch) -> None:
    monkeypatch.setattr(listening, "HANDSHAKES", 1)
    monkeypatch.setattr(listening, "TURN", 0.01)
    turns = Turns()
    async with asyncio.timeout(5), turns.turn(), turns.turn(), turns.turn():
        pass
    async with asyncio.timeout(5), turns.turn():
        pass


@pytest.fixture
def certified(tmp_path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's context and a client's."""
    authority = Authority.create("test")
    pair = authority.issue(Subject("server", (), ("127.0.0.1",)))
    (tmp_path / "crt").write_bytes(pair.certificate)
    (tmp_path / "key").write_bytes(pair.key)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    return server, ssl.create_default_context(cadata=authority.pair.certificate.decode())


async def test_neither_the_silent_nor_another_address_keeps_anybody_waiting(certified, monkeypatch) -> None:
    monkeypatch.setattr(listening, "HANDSHAKES", 1)
    monkeypatch.setattr(listening, "TURN", 60)
    server, client = certified
    async with asyncio.timeout(5), listening_at(server) as listener:
        silent = [await connect(listener) for _ in range(3)]
        _, other = await asyncio.open_connection("127.0.0.1", listener.port, local_addr=("127.0.0.2", 0))
        other.write(b"\x16\x03\x01")  # the beginning of a handshake
        while len(listener.visits) < 4:
            await settle()
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port, ssl=client)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        for each in (writer, other, *(w for _, w in silent)):
            each.close()


async def test_the_silent_are_pushed_out_and_cut_off(certified, monkeypatch) -> None:
    server, _ = certified
    async with asyncio.timeout(5), listening_at(server, most_each=1) as listener:
        first, second = await connect(listener), await connect(listener)
        assert await first[0].read() == b""
        monkeypatch.setattr(listening, "SILENCE", 0.01)
        third = await connect(listener)
        assert await second[0].read() == b""
        assert await third[0].read() == b""
        assert len(listener.visits) == 0
        for _, writer in (first, second, third):
            writer.close()
