"""What stands before a gRPC server where anybody may come: TLS without client certificates, and bounds on heads.

gRPC's own core keeps what it has read of a head (HTTP/2 HEADERS, CONTINUATION) for as long as its client goes on, some
20 MB a connection.  Here a connection whose head is too large ends, connections are those of `machinery.listening`, and
what is left is led to the server through a socket that nobody else can reach.

https://www.rfc-editor.org/rfc/rfc9113#section-6.10
"""

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import cast

from machinery.contexts import serving
from machinery.listening import SILENCE, Listener

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
LARGEST_HEAD = 64 << 10
"""Bytes of one call's head, packed; what is more than 16 kB unpacked, gRPC itself refuses."""
HEADERS, CONTINUATION, END_HEADERS = 1, 9, 4
PEER = "wherry"
_FRAME = struct.Struct(">BHBBL")


class Front:
    """`server` is the path of the socket that the gRPC server listens on.  Raises CannotGoOn."""

    def __init__(
        self, host: str, port: int, certificate: Path, key: Path, server: Path, *, share_port: bool = False
    ) -> None:
        context = serving(certificate, key, protocol="h2")
        self._server = server
        self._numbers = count()
        self._tasks = asyncio.TaskGroup()
        self._clients: set[_Client] = set()
        self._empty = asyncio.Event()
        self._listener = Listener(host, port, context, self._guest, share_port=share_port)
        self.port = self._listener.port

    async def run(self) -> None:
        """Take connections until cancelled; those that there are end with the server's, or with `close`."""
        async with self._tasks as tasks:
            tasks.create_task(self._listener.run())

    async def close(self) -> None:
        while self._clients:
            for client in self._clients:
                client.cut()
            self._empty.clear()
            await self._empty.wait()

    def _guest(self) -> "_Client":
        return _Client(self)

    def come(self, client: "_Client") -> None:
        self._clients.add(client)
        self._tasks.create_task(self._lead(client))

    def gone(self, client: "_Client") -> None:
        self._clients.discard(client)
        if not self._clients:
            self._empty.set()

    async def _lead(self, client: "_Client") -> None:
        """To the server, which is told by the name of our end of the socket who the client is."""
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            end.setblocking(False)
            end.bind(f"\0{PEER}-{os.getpid()}-{next(self._numbers)}/{client.address}")
            loop = asyncio.get_running_loop()
            await loop.sock_connect(end, str(self._server))
            await loop.create_unix_connection(partial(_Server, client), sock=end)
        except OSError:  # the server stops
            end.close()
            client.cut()


class _End(asyncio.Protocol):
    """One end of what is led through; what the other one does not take in time waits on this one's line."""

    transport: asyncio.Transport | None = None
    other: "_End | None" = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()
        self.other = None

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()

    def hand_on(self, data: bytes) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)


class _Server(_End):
    def __init__(self, client: "_Client") -> None:
        self.other = client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert isinstance(self.other, _Client)
        self.other.led_to(self)

    def data_received(self, data: bytes) -> None:
        self.hand_on(data)


class _Client(_End):
    """A Guest of `machinery.listening`, who is idle until its first head is complete."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._heads = Heads()
        self._silence: asyncio.TimerHandle | None = None
        self._gone = False
        self.address = ""
        self.left: Callable[[], None] = lambda: None

    @property
    def is_idle(self) -> bool:
        return not self._heads.complete

    def cut(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport is not None
        self.transport.pause_reading()
        self.address = _spelled(transport.get_extra_info("peername"))
        self._silence = asyncio.get_running_loop().call_later(SILENCE, self.cut)
        self._front.come(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._gone = True
        self._has_asked()
        self.left()
        self._front.gone(self)
        super().connection_lost(exc)

    def led_to(self, server: _Server) -> None:
        assert self.transport is not None
        assert server.transport is not None
        if self._gone:
            server.transport.abort()
            return
        self.other = server
        self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if not self._heads.read(data):
            self.cut()
            return
        if self._heads.complete:
            self._has_asked()
        self.hand_on(data)

    def _has_asked(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None


class Heads:
    """Counts the bytes of heads in what a client of HTTP/2 says, whatever the pieces in which it comes."""

    def __init__(self) -> None:
        self.complete = 0
        """So many heads have ended."""
        self._preface = PREFACE
        self._start = b""
        self._left = 0
        """Bytes of a frame that are still to come."""
        self._head = 0
        """Of the head that has not ended."""

    def read(self, data: bytes) -> bool:
        """Whether the client may go on."""
        at = 0
        if self._preface:
            at = min(len(self._preface), len(data))
            if data[:at] != self._preface[:at]:
                return False
            self._preface = self._preface[at:]
        while at < len(data):
            if self._left:
                passed = min(self._left, len(data) - at)
                self._left -= passed
                at += passed
                continue
            missing = _FRAME.size - len(self._start)
            self._start += data[at : at + missing]
            at += missing
            if len(self._start) == _FRAME.size:
                if not self._begin(*_FRAME.unpack(self._start)):
                    return False
                self._start = b""
        return True

    def _begin(self, high: int, low: int, kind: int, flags: int, stream: int) -> bool:
        self._left = high << 16 | low
        if kind not in (HEADERS, CONTINUATION):
            return True
        # A frame costs more than what it carries: there may be ever so many empty ones.
        self._head += self._left + _FRAME.size
        if self._head > LARGEST_HEAD:
            return False
        if flags & END_HEADERS:
            self._head = 0
            self.complete += 1
        return True


def _spelled(peer: tuple[str, int] | None) -> str:
    """As gRPC spells peers: `ipv4:10.0.0.1:1234`."""
    if not peer:
        return ""
    host, port = peer[:2]
    return f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"


def peer(told: str) -> str:
    """Who a call is from, of what gRPC tells of it: of those who have come through a front, their own address."""
    family, _, name = told.partition(":")
    if family != "unix-abstract" or not name.startswith(f"{PEER}-"):
        return told
    return name.partition("/")[2]
