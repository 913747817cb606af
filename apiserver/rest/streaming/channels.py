"""Streams over one WebSocket: the first byte of each message names the channel.

Subprotocols v4.channel.k8s.io, and v5 which can also say that a channel has ended (channel 255).
https://github.com/kubernetes/enhancements/tree/master/keps/sig-api-machinery/4006-transition-spdy-to-websockets
"""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from apiserver.rest.streaming.execs import ERROR, RESIZE, STDIN
from proto import node_pb2 as pb

V5 = "v5.channel.k8s.io"
V4 = "v4.channel.k8s.io"
CLOSE = 255
PIECE = 32 * 1024


class Resize(msgspec.Struct, rename="pascal"):
    width: int = 0
    height: int = 0


_resize = msgspec.json.Decoder(Resize)


class Channels:
    """A Terminal on a WebSocket that has been prepared."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket

    async def inputs(self) -> AsyncIterator[pb.ExecInput]:
        while True:
            message = await self._socket.receive()
            if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
                return
            data: bytes = message.data if isinstance(message.data, bytes) else message.data.encode()
            if not data:
                continue
            if (found := read(data)) is not None:
                yield found

    async def write(self, channel: int, data: bytes) -> None:
        head = bytes((channel,))
        for at in range(0, len(data), PIECE):
            await self._socket.send_bytes(head + data[at : at + PIECE])

    async def finish(self, status: dict[str, Any]) -> None:
        if not self._socket.closed:
            await self.write(ERROR, msgspec.json.encode(status))
        await self._socket.close()


def read(message: bytes) -> pb.ExecInput | None:
    """One message of a client; None for what says nothing: an empty one, or an unknown channel."""
    channel, payload = message[0], message[1:]
    if channel == CLOSE:
        return pb.ExecInput(close_stdin=True) if payload[:1] == bytes((STDIN,)) else None
    if not payload:
        return None
    if channel == STDIN:
        return pb.ExecInput(stdin=payload)
    return resize(payload) if channel == RESIZE else None


def resize(payload: bytes) -> pb.ExecInput | None:
    """`{"Width":80,"Height":24}` → the message; None if it is not that."""
    try:
        size = _resize.decode(payload)
    except msgspec.MsgspecError:
        return None
    if not (0 < size.width < 2**16 and 0 < size.height < 2**16):
        return None
    return pb.ExecInput(resize=pb.Size(width=size.width, height=size.height))
