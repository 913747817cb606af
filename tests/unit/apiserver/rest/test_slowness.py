"""Clients that do not say what they want, or speak an older HTTP."""

import asyncio
import json

import pytest

from apiserver.rest import bodies
from machinery import http_connections

HEAD = b"Host: x\r\nAuthorization: Bearer good\r\n"


async def say(rest, *words: bytes) -> bytes:
    """What the server answers until it closes the connection."""
    reader, writer = await asyncio.open_connection(rest._base_url.host, rest._base_url.port)
    try:
        async with asyncio.timeout(5):
            for word in words:
                writer.write(word)
            return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize("beginning", [b"", b"GET /api HTT", b"GET /api HTTP/1.1\r\nHost: x\r\n"])
async def test_who_does_not_finish_the_head_of_a_first_request_is_cut_off(rest, monkeypatch, beginning) -> None:
    monkeypatch.setattr(http_connections, "SILENCE", 0.05)
    assert await say(rest, beginning) == b""


async def test_who_has_asked_may_wait_with_the_next_request(rest, monkeypatch) -> None:
    monkeypatch.setattr(http_connections, "SILENCE", 0.05)
    reader, writer = await asyncio.open_connection(rest._base_url.host, rest._base_url.port)
    writer.write(b"GET /livez HTTP/1.1\r\n" + HEAD + b"\r\n")
    assert b" 200 " in await reader.readline()
    await asyncio.sleep(0.1)
    writer.write(b"GET /readyz HTTP/1.1\r\nConnection: close\r\n" + HEAD + b"\r\n")
    assert (await reader.read()).count(b" 200 ") == 1
    writer.close()


async def test_a_body_that_does_not_come_is_waited_for_only_so_long(rest, monkeypatch) -> None:
    monkeypatch.setattr(bodies, "SLOWEST", 0.05)
    reader, writer = await asyncio.open_connection(rest._base_url.host, rest._base_url.port)
    request = b"POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nContent-Length: 9\r\n"
    writer.write(request + HEAD + b"\r\n{")
    await reader.readuntil(b"\r\n\r\n")
    status = json.loads(await reader.readline())
    assert (status["code"], status["message"]) == (504, "Timeout: request did not complete within the allotted timeout")
    writer.close()


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_a_request_takes_no_longer_than_its_client_gives_it(rest, registry, monkeypatch, method) -> None:
    go, done = asyncio.Event(), []

    async def slowly(request, *_):
        await go.wait()
        done.append(request.verb)
        return b"{}", True

    for verb in ("list", "create", "delete_collection"):
        monkeypatch.setattr(registry, verb, slowly)
    async with rest.request(method, "/api/v1/namespaces/default/pods?timeout=20ms", json={}) as response:
        status = json.loads(await response.read())
    assert (status["code"], status["reason"], status["message"]) == (504, "Timeout", bodies.TOO_LATE)
    go.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert done == {"GET": [], "POST": ["create"], "DELETE": ["deletecollection"]}[method], "writes go on"


@pytest.mark.parametrize("given", ["0s", "-1s", "1h"])
async def test_no_client_gives_a_request_more_time_than_it_has(rest, given) -> None:
    async with rest.get(f"/api/v1/namespaces/default/pods?timeout={given}") as response:
        assert response.status == 200


async def test_a_watch_in_http_1_0_has_no_chunks(rest) -> None:
    reader, writer = await asyncio.open_connection(rest._base_url.host, rest._base_url.port)
    writer.write(b"GET /api/v1/pods?watch=1 HTTP/1.0\r\n" + HEAD + b"\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200 ")
    assert b"Transfer-Encoding" not in head
    writer.close()


async def test_no_body_is_read_of_whoever_may_not_write(rest) -> None:
    reader, writer = await asyncio.open_connection(rest._base_url.host, rest._base_url.port)
    writer.write(b"POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
    assert b" 403 " in await reader.readline()
    writer.close()
