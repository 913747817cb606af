"""A component's HTTPS port: what it holds for clients who want much, and do not take it."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from machinery import https
from machinery.certificates import Authority, Subject
from machinery.https import MOST_EACH, Answer, HttpsServer
from machinery.serving import Files

LARGE = b"x" * (32 << 20)


@asynccontextmanager
async def served(directory: Path, answer: Answer) -> AsyncIterator[tuple[int, ssl.SSLContext]]:
    authority = Authority.create("ours")
    pair = authority.issue(Subject("server", (), ("127.0.0.1",)))
    for name, data in (("ca", authority.pair.certificate), ("crt", pair.certificate), ("key", pair.key)):
        (directory / name).write_bytes(data)
    server = HttpsServer("127.0.0.1:0", Files(directory / "crt", directory / "key", directory / "ca"), answer)
    running = asyncio.create_task(server.run())
    try:
        async with asyncio.timeout(60):
            yield await server.bound(), ssl.create_default_context(cafile=str(directory / "ca"))
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@asynccontextmanager
async def session(tls: ssl.SSLContext, address: str = "127.0.0.1") -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(ssl=tls, limit=0, local_addr=(address, 0))
    async with aiohttp.ClientSession(connector=connector) as opened:
        yield opened


async def test_one_address_has_so_many_requests_at_once_and_others_go_on(tmp_path: Path) -> None:
    go, arrived, all_there = asyncio.Event(), [], asyncio.Event()

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/slow":
            arrived.append(request)
            if len(arrived) == MOST_EACH:
                all_there.set()
            await go.wait()
        return web.Response(text="well")

    async with (
        served(tmp_path, answer) as (port, tls), session(tls) as flood, session(tls, "127.0.0.2") as other,
        asyncio.TaskGroup() as tasks,
    ):  # fmt: skip
        where = f"https://127.0.0.1:{port}"
        waiting = [tasks.create_task(_status(flood, f"{where}/slow")) for _ in range(MOST_EACH)]
        await all_there.wait()
        async with flood.get(where) as refused:
            assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
            assert await refused.text() == "too many requests, please try again later\n"
        assert await _status(other, where) == 200
        go.set()
        assert {await each for each in waiting} == {200}
        assert await _status(flood, where) == 200


async def _status(session: aiohttp.ClientSession, where: str) -> int:
    async with session.get(where) as answer:
        return answer.status


async def test_a_large_page_is_read_as_it_is(tmp_path: Path) -> None:
    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=LARGE, headers={"Content-Type": "text/plain"})

    async with served(tmp_path, answer) as (port, tls), session(tls) as client:
        async with client.get(f"https://127.0.0.1:{port}/") as page:
            assert page.headers["Content-Length"] == str(len(LARGE))
            assert page.headers["Content-Type"] == "text/plain"
            assert "Content-Disposition" not in page.headers
            assert await page.read() == LARGE
        async with client.head(f"https://127.0.0.1:{port}/") as page:
            assert page.headers["Content-Length"] == str(len(LARGE))


async def test_whoever_does_not_read_a_page_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(https, "SLOWEST", 0.1)

    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=LARGE)

    async with served(tmp_path, answer) as (port, tls):
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        with pytest.raises(ConnectionError):
            await _ask_without_end(writer)
        writer.transport.abort()


async def _ask_without_end(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
        await writer.drain()
