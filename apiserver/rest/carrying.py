"""An HTTP request carried on to another server as it is, and its answer back: for proxies of every kind."""

import asyncio
import re
import ssl
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing, suppress
from typing import Any

import aiohttp
import msgspec
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from api.errors import Unavailable
from apiserver.rest.rewriting import Links, Rewriter, rewriter
from apiserver.rest.streaming.links import RawLink

HOP_BY_HOP = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
        "upgrade",
    }
)  # fmt: skip
OURS = HOP_BY_HOP | {"authorization", "host", "content-length"}
"""What the other server does not get to see, or what is said anew."""
NOTHING = re.compile(rb"HTTP/1\.[01] (204|304) ")
KEPT = re.compile(rb"\r\n(?:connection|keep-alive):[^\r\n]*", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r\n]*chunked", re.IGNORECASE)
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)[ \t]*\r\n", re.IGNORECASE)
INTERIM, GRANTED = re.compile(rb"HTTP/1\.1 1(?!01)\d\d "), b"HTTP/1.1 101 "
CROSS_ORIGIN = frozenset(f"access-control-allow-{what}" for what in ("credentials", "headers", "methods", "origin"))
"""What a server behind a proxy may not say for this one."""
IDENTITY = ("x-remote-", "impersonate-")
"""Beginnings of the headers that say who asks: only what this server says counts behind it."""
NO_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
PIECE = 64 * 1024
END = b"\r\n\r\n"
SKIPPED = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")

Connect = Callable[[Callable[[], asyncio.Protocol]], Awaitable[tuple[asyncio.Transport, Any]]]
"""Makes a connection for a protocol."""


def headers_for(http: web.BaseRequest, more: Iterable[tuple[str, str]]) -> CIMultiDict[str]:
    """The client's headers but ours and those that say who asks, and `more`.

    Raises Unavailable for values that no header can have: a user is named by others, and behind the end of a line they
    would have said more of themselves.
    """
    ours = OURS | _named(http)
    found = CIMultiDict(
        (k, v) for k, v in http.headers.items() if k.lower() not in ours and not k.lower().startswith(IDENTITY)
    )
    for name, value in more:
        if NO_VALUE.search(value):
            raise Unavailable(f"error trying to reach service: net/http: invalid header field value for {name!r}")
        found.add(name, value)
    return found


def _named(http: web.BaseRequest) -> set[str]:
    """Headers that the client says are only for this connection."""
    return {word.strip().lower() for value in http.headers.getall("Connection", ()) for word in value.split(",")}


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
    links: Links | None = None,
) -> web.StreamResponse:
    """Both bodies go through piece by piece, as they come; with `links`, those of a page are led through the proxy.
    Raises what `client` does until there is an answer."""
    body = http.content.iter_any() if http.body_exists else None
    if http.body_exists and http.content_length is not None:
        headers = CIMultiDict([*headers.items(), ("Content-Length", str(http.content_length))])
    where = URL(url, encoded=True)
    async with client.request(http.method, where, headers=headers, data=body, allow_redirects=False, ssl=tls) as found:
        response = web.StreamResponse(status=found.status, reason=found.reason)
        for name, value in found.headers.items():
            if name.lower() not in HOP_BY_HOP:
                response.headers.add(name, value)
        page = _led_through(response.headers, links) if links is not None else None
        page = page if http.method != "HEAD" else None
        await response.prepare(http)
        content = found.content.iter_any()
        try:
            async with aclosing(_rewritten(content, page) if page is not None else _as_it_is(content)) as pieces:
                async for piece in pieces:
                    await response.write(piece)
        # Too late for a Status: the client sees that the answer breaks off.
        except (aiohttp.ClientError, zlib.error) as e:
            raise ConnectionResetError(str(e)) from e
        await response.write_eof()
        return response


async def _as_it_is(content: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    async for piece in content:
        yield piece


async def _rewritten(content: AsyncIterator[bytes], page: Rewriter) -> AsyncGenerator[bytes, None]:
    """Between two pieces others have their turn: how much there is of them in what comes is for the page to choose."""
    async for packed in content:
        for piece in page.pieces(packed):
            yield piece
            await asyncio.sleep(0)
    for piece in page.pieces(b"", last=True):
        yield piece


def _led_through(headers: CIMultiDict[str], links: Links) -> Rewriter | None:
    """Change the headers of an answer for a client of a proxy; what changes its body, if that is to be."""
    for name in CROSS_ORIGIN:
        headers.popall(name, None)
    if location := headers.get("Location"):
        headers["Location"] = links.through(location)
        return None
    page = rewriter(links, headers.get("Content-Type", ""), headers.get("Content-Encoding", ""))
    if page is not None:
        headers.popall("Content-Length", None)
    return page


class _Taken(web.StreamResponse):
    """Stands for an answer that the other server has given itself."""

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None


async def splice(
    http: web.BaseRequest, connect: Connect, path: str, host: str, headers: Mapping[str, str]
) -> web.StreamResponse:
    """A request for an upgrade: once the other server has said 101, the two connections are one.  Raises what `connect`
    does.

    Not before: to a server that upgrades nothing, whatever the client sends next would be requests of its own, with
    this server's certificate and in whosever name the client likes (CVE-2018-1002105).
    """
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
    if already:
        link.data_received(already)
    ours.set_protocol(link)
    ours.resume_reading()
    response = _Taken(status=101)
    response.force_close()
    try:
        writer.write("\r\n".join([*lines, "", ""]).encode(errors="surrogateescape"))  # as they were read
        head = await _head(reader)
        if head.startswith(GRANTED):
            await link.send(head)
            await _both_ways(link, reader, writer)
        elif head:
            await _refusal(link, reader, head)
        else:
            await link.send(_silence())
    finally:
        writer.close()
        await link.close()
    return response


async def _head(reader: asyncio.StreamReader) -> bytes:
    """Of an answer, behind those that only say to wait; b"" if there is none."""
    try:
        while INTERIM.match(head := await reader.readuntil(END)):
            pass
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
        return b""
    return head


def _silence() -> bytes:
    said = msgspec.json.encode(Unavailable("error trying to reach service: EOF").to_status())
    length = f"Content-Type: application/json\r\nContent-Length: {len(said)}".encode()
    return b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n" + length + END + said


async def _refusal(link: RawLink, reader: asyncio.StreamReader, head: bytes) -> None:
    """An answer that upgrades nothing, to its end: both connections are closed then, so that nobody waits on them."""
    with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
        await link.send(KEPT.sub(b"", head).removesuffix(END) + b"\r\nConnection: close" + END)
        if CHUNKED.search(head):
            while size := int((line := await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
                await link.send(line)
                await _some(link, reader, size + 2)
            await link.send(b"0" + END)
        elif length := LENGTH.search(head):
            await _some(link, reader, int(length[1]))
        elif not NOTHING.match(head):
            await _back(link, reader)


async def _some(link: RawLink, reader: asyncio.StreamReader, size: int) -> None:
    while size and (piece := await reader.read(min(size, PIECE))):
        await link.send(piece)
        size -= len(piece)


async def _back(link: RawLink, reader: asyncio.StreamReader) -> None:
    with suppress(ConnectionError):
        while piece := await reader.read(PIECE):
            await link.send(piece)


async def _both_ways(link: RawLink, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    async def there() -> None:
        with suppress(ConnectionError):
            while piece := await link.receive():
                writer.write(piece)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()

    async with asyncio.TaskGroup() as tasks:
        outward = tasks.create_task(there())
        await _back(link, reader)
        outward.cancel()
