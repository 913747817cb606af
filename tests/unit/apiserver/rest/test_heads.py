"""Heads of requests without end, and bodies that are packed."""

import asyncio
import gzip

import pytest

from machinery import http_connections

BEGIN = b"GET /livez HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\n"
LINE = b"X-Filler: " + b"y" * 50_000 + b"\r\n"


async def ask(rest, *pieces: bytes) -> tuple[bytes, int]:
    """What the server answers until it closes the connection, and how many bytes it has taken before."""
    reader, writer = await asyncio.open_connection(rest._base_url.host, rest._base_url.port)
    sent = 0
    try:
        async with asyncio.timeout(5):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                sent += len(piece)
                if reader.at_eof():
                    break
            return await reader.read(), sent
    except ConnectionError:
        return b"", sent
    finally:
        writer.close()


@pytest.mark.parametrize("beginning", [BEGIN, b"GET /livez?"])
async def test_a_head_of_more_than_a_megabyte_is_refused(rest, beginning) -> None:
    piece = LINE if beginning is BEGIN else b"y" * 50_000
    # The last piece is small: what a server has not read when it closes costs its client the answer.
    answer, _ = await ask(rest, beginning, *[piece] * 21, b"y" * 5000)
    assert answer.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")


async def test_a_head_of_less_than_a_megabyte_is_read(rest) -> None:
    answer, _ = await ask(rest, BEGIN, *[LINE] * 20, b"Connection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_too_many_headers_are_refused(rest) -> None:
    answer, _ = await ask(rest, BEGIN + b"".join(b"X-%d: y\r\n" % n for n in range(3000)) + b"\r\n")
    assert b" 431 " in answer.partition(b"\r\n")[0]


async def test_trailers_without_end_are_refused(rest) -> None:
    body = b"POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\n"
    answer, sent = await ask(rest, body + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n", *[LINE] * 400)
    assert sent < 2**24
    assert b" 200 " not in answer


async def test_unfinished_heads_have_room_for_all_together(rest, monkeypatch) -> None:
    monkeypatch.setattr(http_connections, "ALL_HEADS", 120_000)
    async with asyncio.timeout(5):
        first = await asyncio.open_connection(rest._base_url.host, rest._base_url.port)
        first[1].write(BEGIN + LINE + LINE)
        second, _ = await ask(rest, BEGIN, LINE)
        assert second.startswith(b"HTTP/1.1 431 ")
        small, _ = await ask(rest, BEGIN, b"Connection: close\r\n\r\n")
        assert small.startswith(b"HTTP/1.1 200 ")
        first[1].write(b"Connection: close\r\n\r\n")
        assert b" 200 " in await first[0].readline()
        first[1].close()


async def test_bodies_are_not_unpacked(rest) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    packed = gzip.compress(b'{"metadata":{"name":"x"}}')
    async with rest.post("/api/v1/namespaces/default/configmaps", data=packed, headers=headers) as answer:
        assert answer.status == 201
        assert await answer.read() == packed  # the fake registry gives back what it got
