"""Watches over HTTP: a line for each event, and over WebSocket: a message for each.

The cost of watching is in the writes, not in the events: what is ready goes out together.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from functools import partial

import msgspec
from aiohttp import HttpVersion11, web

from api.errors import ApiError
from apiserver import wire
from apiserver.requests import Event, Sink
from apiserver.rest import sockets
from apiserver.rest.connections import Connections
from apiserver.rest.negotiation import JSON

Render = Callable[[Event], bytes]
"""An event → the line that says it, with its newline, or its protobuf frame."""

LARGEST_WRITE = 256 * 1024
MOST_UNREAD = 64 * 1024
"""Bytes that may wait on a connection before its client counts as slow."""
REMEMBERED = 16
SLOWEST = 30.0
"""Seconds that one write may wait for a client to read; the client finds its way back by its last revision."""


def whole(event: Event) -> bytes:
    return event.line()


def framed(event: Event) -> bytes:
    return wire.frame(event.type, event.document)


def line(type_: str, document: bytes) -> bytes:
    return b'{"type":"' + type_.encode() + b'","object":' + document + b"}\n"


class Outlets:
    """Where events leave the server at once: one chunk of HTTP, made once, goes to all who are told the same."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, Render], tuple[Sequence[Event], bytes]] = {}

    def outlet(self, http: web.BaseRequest, render: Render) -> Sink | None:
        """None for a rendering of the request's own: there is nothing to share."""
        shared = render in (whole, framed) and http.version >= HttpVersion11
        return partial(self._send, http, render) if shared else None

    def _send(self, http: web.BaseRequest, render: Render, events: Sequence[Event]) -> bool:
        transport = http.transport
        if transport is None or transport.is_closing() or transport.get_write_buffer_size() > MOST_UNREAD:
            return False
        chunk = self._chunk(render, events)
        if len(chunk) > LARGEST_WRITE:
            return False
        try:
            transport.write(chunk)
        except (OSError, RuntimeError):  # it has been closed this moment; whoever iterates will find out
            return False
        return True

    def _chunk(self, render: Render, events: Sequence[Event]) -> bytes:
        at = id(events), render
        known = self._known.get(at)
        if known is None or known[0] is not events:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            body = b"".join(map(render, events))
            known = self._known[at] = events, b"%x\r\n%b\r\n" % (len(body), body)
        return known[1]


async def over_http(
    http: web.BaseRequest,
    events: AsyncIterator[list[Event]],
    render: Render,
    connections: Connections,
    audit: str,
    media: str = JSON,
) -> web.StreamResponse:
    """Serve a watch until its source ends, the client goes or the server stops."""
    response = web.StreamResponse(
        headers={"Audit-Id": audit, "Cache-Control": "no-cache, private", "Content-Type": media}
    )
    if http.version >= HttpVersion11:
        response.enable_chunked_encoding()
    async with connections.lifetime(http):
        await response.prepare(http)
        async with aclosing(_lines(events, render)) as batches:
            async for batch in batches:
                for chunk in chunks(batch):
                    async with asyncio.timeout(SLOWEST):
                        await response.write(chunk)
    return response


async def over_websocket(
    http: web.BaseRequest, events: AsyncIterator[list[Event]], render: Render, connections: Connections
) -> web.StreamResponse:
    socket = web.WebSocketResponse(protocols=("base64.binary.k8s.io", "binary.k8s.io"), compress=False)
    await socket.prepare(http)
    async with connections.lifetime(http) as life:
        reader = asyncio.create_task(sockets.until_closed(socket))
        reader.add_done_callback(lambda _: life.end())
        try:
            async with aclosing(_lines(events, render)) as batches:
                async for batch in batches:
                    for each in batch:
                        async with asyncio.timeout(SLOWEST):
                            await socket.send_str(each[:-1].decode())
        finally:
            reader.cancel()
    await socket.close()
    return socket


async def _lines(events: AsyncIterator[list[Event]], render: Render) -> AsyncGenerator[Iterable[bytes], None]:
    """Batches of lines, each made when it is asked for. A refusal after the answer has begun is the last event: type
    ERROR with a Status."""
    try:
        async with aclosing(events):  # type: ignore[type-var]
            async for batch in events:
                yield map(render, batch)
    except ApiError as e:
        yield [render(Event("ERROR", msgspec.json.encode(e.to_status())))]


def chunks(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Lines joined to pieces of at most LARGEST_WRITE bytes (or one line, if that is longer)."""
    pending: list[bytes] = []
    size = 0
    for each in lines:
        if pending and size + len(each) > LARGEST_WRITE:
            yield _joined(pending)
            pending, size = [], 0
        pending.append(each)
        size += len(each)
    if pending:
        yield _joined(pending)


def _joined(lines: list[bytes]) -> bytes:
    """One line is itself, which all watchers share."""
    return lines[0] if len(lines) == 1 else b"".join(lines)
