"""Streams over one WebSocket: the first byte of each message names the channel.

Subprotocols v4.channel.k8s.io, and v5 which can also say that a channel has ended (channel 255). The oldest,
channel.k8s.io or none, says nothing of a process that ended well, and of another one in words. The base64 ones are for
clients that can only send text; the channel is a digit there.
https://github.com/kubernetes/enhancements/tree/master/keps/sig-api-machinery/4006-transition-spdy-to-websockets
"""

from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from apiserver.rest.streaming.execs import ERROR, RESIZE, STDERR, STDIN, STDOUT
from proto import node_pb2 as pb

V5 = "v5.channel.k8s.io"
V4 = "v4.channel.k8s.io"
V4_TEXT = "v4.base64.channel.k8s.io"
V1_TEXT = "base64.channel.k8s.io"
PROTOCOLS = (V5, V4, V4_TEXT, "channel.k8s.io", V1_TEXT, "")
CLOSE = 255
PIECE = 32 * 1024
LARGEST_INPUT = 2**20


class Resize(msgspec.Struct, rename="pascal"):
    width: int = 0
    height: int = 0


_resize = msgspec.json.Decoder(Resize)


class Channels:
    """A Terminal on a WebSocket that has been prepared."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket
        self._protocol = socket.ws_protocol or ""
        self._text = self._protocol in (V4_TEXT, V1_TEXT)

    async def greet(self, first: pb.ExecStart) -> None:
        """Say that the streams are there: an empty message on the first that the client reads.

        Not in version 5, which only client-go speaks: it does not wait for one, and older ones complain of it.
        """
        if self._protocol != V5:
            await self._send(STDOUT if first.stdout else STDERR if first.stderr else ERROR, b"")

    async def inputs(self) -> AsyncIterator[pb.ExecInput]:
        while True:
            message = await self._socket.receive()
            if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
                return
            said: bytes = message.data if isinstance(message.data, bytes) else message.data.encode()
            if (data := plain(said) if self._text else said) is None:
                return
            # The kubelet takes no large messages; only what goes into a process may be one.
            for piece in _pieces(data):
                if (found := read(piece)) is not None:
                    yield found

    async def write(self, channel: int, data: bytes) -> None:
        for at in range(0, len(data), PIECE):
            await self._send(channel, data[at : at + PIECE])

    async def finish(self, status: dict[str, Any]) -> None:
        if not self._socket.closed:
            if self._protocol in (V5, V4, V4_TEXT):
                await self.write(ERROR, msgspec.json.encode(status))
            elif status["status"] != "Success":
                await self.write(ERROR, status["message"].encode())
        await self._socket.close()

    async def _send(self, channel: int, data: bytes) -> None:
        if self._text:
            await self._socket.send_str(f"{channel}{b64encode(data).decode()}")
        else:
            await self._socket.send_bytes(bytes((channel,)) + data)


def plain(message: bytes) -> bytes | None:
    """A message of the base64 protocols as the others have it; None if it is none."""
    try:
        return bytes((message[0] - ord("0"),)) + b64decode(message[1:], validate=True) if message else b""
    except ValueError:
        return None


def _pieces(message: bytes) -> Iterator[bytes]:
    if not message or message[0] != STDIN:
        yield from (message,) if message else ()
        return
    for at in range(1, len(message), LARGEST_INPUT):
        yield message[:1] + message[at : at + LARGEST_INPUT]


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
