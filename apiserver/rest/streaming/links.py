"""What carries SPDY's bytes: a connection that was upgraded to it, or the binary messages of a WebSocket."""

import asyncio
from typing import Protocol

from aiohttp import WSMsgType, web

SPDY = "SPDY/3.1"
TUNNEL = "SPDY/3.1+portforward.k8s.io"
"""The WebSocket subprotocol that tunnels port forwarding."""
BUFFERED = 256 * 1024


class Link(Protocol):
    async def receive(self) -> bytes:
        """The next bytes; b"" once the client has gone."""
        ...

    async def send(self, data: bytes) -> None:
        """Raises ConnectionError once the client has gone."""
        ...

    async def close(self) -> None: ...


class SocketLink:
    """A WebSocket that has been prepared."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket

    async def receive(self) -> bytes:
        while True:
            message = await self._socket.receive()
            if message.type is not WSMsgType.BINARY:
                return b""
            if message.data:
                return bytes(message.data)

    async def send(self, data: bytes) -> None:
        await self._socket.send_bytes(data)

    async def close(self) -> None:
        await self._socket.close()


class RawLink(asyncio.Protocol):
    """The connection of a request, taken over after the answer 101."""

    def __init__(self, http: web.BaseRequest, transport: asyncio.Transport) -> None:
        self._before = http.protocol
        self._transport = transport
        self._received = asyncio.StreamReader(limit=BUFFERED)
        self._received.set_transport(transport)
        self._writable = asyncio.Event()
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._received.feed_data(data)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._received.feed_eof()
        self._writable.set()
        # The server counts its connections by the protocol that they began with.
        self._before.connection_lost(exc)

    async def receive(self) -> bytes:
        return await self._received.read(BUFFERED)

    async def send(self, data: bytes) -> None:
        if self._transport.is_closing():
            raise ConnectionResetError("the client has gone")
        self._transport.write(data)
        await self._writable.wait()

    async def close(self) -> None:
        self._transport.close()


async def take_over(http: web.BaseRequest, headers: dict[str, str]) -> tuple[RawLink, web.StreamResponse]:
    """Answer 101 and make the connection a link; the response is what the handler returns in the end."""
    response = web.StreamResponse(status=101, headers={"Upgrade": SPDY, "Connection": "Upgrade", **headers})
    response.force_close()
    transport = http.transport
    if transport is None:
        raise ConnectionResetError("the client has gone")
    await response.prepare(http)
    link = RawLink(http, transport)
    already = http.protocol._message_tail  # came with the request, before it was answered
    transport.set_protocol(link)
    transport.resume_reading()
    if already:
        link.data_received(already)
    return link, response
