"""Clients who do not say what they want, or do not read what they are told."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from kube_proxy import http_ports
from kube_proxy.http_ports import MOST_EACH, Answer, listen

HERE = "127.0.0.1"
ASK = b"GET / HTTP/1.1\r\nHost: node\r\n\r\n"


@asynccontextmanager
async def served(answer: Callable[[str], Answer]) -> AsyncIterator[int]:
    server = await listen(HERE, 0, answer)
    async with server, asyncio.timeout(60):
        yield server.sockets[0].getsockname()[1]


async def ask(port: int) -> bytes:
    reader, writer = await asyncio.open_connection(HERE, port)
    writer.write(ASK)
    try:
        return await reader.read()
    finally:
        writer.close()


async def test_whoever_only_holds_on_makes_room_for_others() -> None:
    async with served(lambda path: Answer(b"well")) as port:
        silent = [await asyncio.open_connection(HERE, port) for _ in range(MOST_EACH)]
        for _, writer in silent:
            writer.write(ASK[:9])
        for _ in range(3):
            assert (await ask(port)).endswith(b"\r\n\r\nwell")
        with suppress(ConnectionResetError):
            assert await silent[0][0].read() == b""  # the oldest
        for _, writer in silent:
            writer.close()


async def test_a_head_without_end_is_not_read() -> None:
    async with served(lambda path: Answer(b"well")) as port:
        _, writer = await asyncio.open_connection(HERE, port)
        with pytest.raises(ConnectionError):
            await _say(writer, b"GET / HTTP/1.1\r\n", b"X: y" * 4096)
        writer.close()


async def _say(writer: asyncio.StreamWriter, first: bytes, then: bytes) -> None:
    writer.write(first)
    while True:
        writer.write(then)
        await writer.drain()


async def test_the_answer_to_a_client_that_does_not_read_is_thrown_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_ports, "PATIENCE_SECONDS", 0.1)
    told = b"x" * (32 << 20)
    loop = asyncio.get_running_loop()
    async with served(lambda path: Answer(told)) as port:
        with socket.socket() as own:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            own.setblocking(False)
            await loop.sock_connect(own, (HERE, port))
            await loop.sock_sendall(own, ASK)
            with pytest.raises(ConnectionError):
                await _until_cut_off(own)


async def _until_cut_off(own: socket.socket) -> None:
    while True:
        await asyncio.get_running_loop().sock_sendall(own, b"x" * 65536)
