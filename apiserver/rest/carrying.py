"""An HTTP request carried on to another server as it is, and its answer back: for proxies of every kind."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from apiserver.rest.streaming.links import RawLink

HOP_BY_HOP = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
        "upgrade",
    }
)  # fmt: skip
OURS = HOP_BY_HOP | {"authorization", "host", "content-length"}
"""What the other server does not get to see, or what is said anew."""
PIECE = 64 * 1024
SKIPPED = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")

Connect = Callable[[Callable[[], asyncio.Protocol]], Awaitable[tuple[asyncio.Transport, Any]]]
"""Makes a connection for a protocol."""


def headers_for(http: web.BaseRequest, more: Iterable[tuple[str, str]], hidden: Iterable[str] = ()) -> CIMultiDict[str]:
    """The client's headers but ours and those that begin with one of `hidden`, and `more`."""
    prefixes = tuple(hidden)
    kept = ((k, v) for k, v in http.headers.items() if k.lower() not in OURS and not k.lower().startswith(prefixes))
    found = CIMultiDict(kept if prefixes else ((k, v) for k, v in http.headers.items() if k.lower() not in OURS))
    for name, value in more:
        found.add(name, value)
    return found


def is_upgrade(http: web.BaseRequest) -> bool:
    return "upgrade" in http.headers.get("Connection", "").lower() and bool(http.headers.get("Upgrade"))


def session(connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
    """A client that adds nothing of its own. It owns the connector."""
    return aiohttp.ClientSession(
        connector=connector, auto_decompress=False, timeout=aiohttp.ClientTimeout(None), skip_auto_headers=SKIPPED,
        cookie_jar=aiohttp.DummyCookieJar(),
    )  # fmt: skip


async def exchange(
    http: web.BaseRequest,
    client: aiohttp.ClientSession,
    url: str,
    headers: Mapping[str, str],
    tls: ssl.SSLContext | bool = True,
) -> web.StreamResponse:
    """Both bodies go through piece by piece, as they come.  Raises what `client` does until there is an answer."""
    body = http.content.iter_any() if http.body_exists else None
    if http.body_exists and http.content_length is not None:
        headers = CIMultiDict([*headers.items(), ("Content-Length", str(http.content_length))])
    where = URL(url, encoded=True)
    async with client.request(http.method, where, headers=headers, data=body, allow_redirects=False, ssl=tls) as found:
        response = web.StreamResponse(status=found.status, reason=found.reason)
        for name, value in found.headers.items():
            if name.lower() not in HOP_BY_HOP:
                response.headers.add(name, value)
        await response.prepare(http)
        try:
            async for piece in found.content.iter_any():
                await response.write(piece)
        except aiohttp.ClientError as e:  # too late for a Status: the client sees that the answer breaks off
            raise ConnectionResetError(str(e)) from e
        await response.write_eof()
        return response


class _Taken(web.StreamResponse):
    """Stands for an answer that the other server has given itself."""

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


async def splice(
    http: web.BaseRequest, connect: Connect, path: str, host: str, headers: Mapping[str, str]
) -> web.StreamResponse:
    """A request for an upgrade: from here on the two connections are one.  Raises what `connect` does."""
    reader = asyncio.StreamReader(limit=PIECE)
    transport, protocol = await connect(lambda: asyncio.StreamReaderProtocol(reader))
    writer = asyncio.StreamWriter(transport, protocol, reader, asyncio.get_running_loop())
    ours = http.transport
    if ours is None:
        writer.close()
        raise ConnectionResetError("the client has gone")
    lines = [f"{http.method} {path} HTTP/1.1", f"Host: {host}", "Connection: Upgrade"]
    lines += [f"Upgrade: {http.headers['Upgrade']}", *(f"{name}: {value}" for name, value in headers.items())]
    link = RawLink(http, ours)
    already = http.protocol._message_tail  # came with the request, before it was answered
    ours.set_protocol(link)
    ours.resume_reading()
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + (already or b""))
    response = _Taken(status=101)
    response.force_close()
    try:
        await _both_ways(link, reader, writer)
    finally:
        writer.close()
        await link.close()
    return response


async def _both_ways(link: RawLink, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    async def there() -> None:
        with suppress(ConnectionError):
            while piece := await link.receive():
                writer.write(piece)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()

    async def back() -> None:
        with suppress(ConnectionError):
            while piece := await reader.read(PIECE):
                await link.send(piece)

    async with asyncio.TaskGroup() as tasks:
        outward = tasks.create_task(there())
        await back()
        outward.cancel()
