"""Short questions on connections that are kept."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kubelet.runtime.connections import AT_ONCE, Connections
from kubelet.runtime.interfaces import EngineError, EngineUnreachable, NoSuchContainer, NoSuchImage

Answer = Callable[[str], bytes | None]
OK = b'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{"a": 1}'


class Engine:
    """Answers each request line with what `answer` says; hangs up for None.  `connections` counts those that came."""

    def __init__(self, answer: Answer) -> None:
        self.connections = 0
        self._answer = answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                answer = self._answer(head.decode().split("\r\n")[0])
                if answer is None:
                    return
                writer.write(answer)
        except asyncio.IncompleteReadError:
            return
        finally:
            writer.close()


@asynccontextmanager
async def engine(path: Path, answer: Answer) -> AsyncIterator[tuple[Engine, Connections]]:
    made, connections = Engine(answer), Connections(str(path / "socket"))
    server = await asyncio.start_unix_server(made.serve, path / "socket")
    try:
        yield made, connections
    finally:
        connections.close()
        server.close()


async def test_questions_one_after_the_other_share_a_connection(tmp_path: Path) -> None:
    async with engine(tmp_path, lambda line: OK) as (made, connections):
        assert [await connections.call("GET", "/x") for _ in range(3)] == [{"a": 1}] * 3
        assert made.connections == 1


async def test_no_more_are_asked_at_once_than_the_engine_can_bear(tmp_path: Path) -> None:
    inside, most, full = 0, 0, asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal inside, most
        await reader.readuntil(b"\r\n\r\n")
        inside += 1
        most = max(most, inside)
        if inside == AT_ONCE:
            full.set()
        await full.wait()  # nobody is answered before all that may ask have asked
        inside -= 1
        writer.write(OK.replace(b"OK", b"OK\r\nConnection: close"))
        writer.close()

    connections = Connections(str(tmp_path / "socket"))
    server = await asyncio.start_unix_server(serve, tmp_path / "socket")
    await asyncio.gather(*(connections.call("GET", "/x") for _ in range(2 * AT_ONCE)))
    server.close()
    assert most == AT_ONCE


async def test_a_body_in_pieces_is_whole(tmp_path: Path) -> None:
    pieces = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{"a"\r\n4\r\n: 1}\r\n0\r\n\r\n'
    async with engine(tmp_path, lambda line: pieces) as (made, connections):
        assert [await connections.call("GET", "/x") for _ in range(2)] == [{"a": 1}] * 2
        assert made.connections == 1


async def test_a_kept_connection_that_the_engine_has_closed_is_no_fault(tmp_path: Path) -> None:
    asked: list[str] = []

    def once(line: str) -> bytes | None:
        asked.append(line)
        return None if len(asked) == 2 else OK

    async with engine(tmp_path, once) as (made, connections):
        await connections.call("GET", "/x")
        assert await connections.call("GET", "/x") == {"a": 1}
        assert made.connections == 2


async def test_an_engine_that_always_hangs_up_or_is_away_is_unreachable(tmp_path: Path) -> None:
    async with engine(tmp_path, lambda line: None) as (_, connections):
        with pytest.raises(EngineUnreachable):
            await connections.call("GET", "/x")
    with pytest.raises(EngineUnreachable):
        await Connections(str(tmp_path / "nobody")).call("GET", "/x")


@pytest.mark.parametrize(
    ("status", "words", "kind"),
    [
        (404, "No such image: a", NoSuchImage),
        (404, "No such container: a", NoSuchContainer),
        (409, "in use", EngineError),
    ],
)
async def test_refusals_have_the_engines_words(
    tmp_path: Path, status: int, words: str, kind: type[EngineError]
) -> None:
    body = b'{"message": "%s"}' % words.encode()
    refused = b"HTTP/1.1 %d No\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body
    async with engine(tmp_path, lambda line: refused) as (_, connections):
        with pytest.raises(kind, match=words):
            await connections.call("POST", "/x", {"b": 2})
