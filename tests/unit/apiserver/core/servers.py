"""A gRPC server that does what a test tells it, on loopback and without TLS."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial

from hpack import Encoder

from apiserver.storage import frames
from apiserver.storage.connections import Connection
from apiserver.storage.frames import END_HEADERS, END_STREAM, Frame
from machinery.testing import settle


class Peer:
    """One client's connection. `heard` has what it has sent: every frame since the preface."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._frames = frames.Frames()
        self._coder = Encoder()
        self._coder.header_table_size = 0
        self.heard: list[Frame] = []
        self.lives = False
        """Whether it gives signs of life by itself."""
        self._more = asyncio.Condition()

    async def listen(self) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):  # whoever goes, says so
            assert await self._reader.readexactly(len(frames.PREFACE)) == frames.PREFACE
            while data := await self._reader.read(2**16):
                async with self._more:
                    for kind, flags, stream, payload in self._frames.feed(data):
                        self.heard.append((kind, flags, stream, payload))
                        if self.lives and kind == frames.PING and not flags & frames.ACK:
                            self.send(frames.PING, frames.ACK, 0, payload)
                    self._more.notify_all()

    async def until(self, kind: int, count: int = 1) -> list[Frame]:
        """The frames of that type, once there are so many."""
        async with asyncio.timeout(5), self._more:
            await self._more.wait_for(lambda: len(self.all(kind)) >= count)
        return self.all(kind)

    def all(self, kind: int) -> list[Frame]:
        return [each for each in self.heard if each[0] == kind]

    def send(self, kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> None:
        self._writer.write(frames.frame(kind, flags, stream, payload))

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    def answer(self, stream: int, message: bytes) -> None:
        self.headers(stream, {":status": "200", "content-type": "application/grpc"})
        self.send(frames.DATA, 0, stream, frames.message(message))
        self.headers(stream, {"grpc-status": "0", "grpc-message": ""}, END_STREAM)

    def headers(self, stream: int, fields: Mapping[str, str], flags: int = 0) -> None:
        self.send(frames.HEADERS, END_HEADERS | flags, stream, self._coder.encode(list(fields.items())))

    async def close(self) -> None:
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


class Server:
    """`peers` are those who have connected; each is told `settings`."""

    def __init__(self, settings: Mapping[int, int]) -> None:
        self._settings = settings
        self.peers: asyncio.Queue[Peer] = asyncio.Queue()
        self.port = 0
        self._open: list[Peer] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def meet(self, tasks: asyncio.TaskGroup, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        self._open.append(peer)
        peer.send(frames.SETTINGS, payload=frames.settings(self._settings))
        self.peers.put_nowait(peer)
        tasks.create_task(peer.listen())

    async def close(self) -> None:
        await settle()  # whoever is just connecting has been met by then
        for peer in self._open:
            await peer.close()


@asynccontextmanager
async def serving(settings: Mapping[int, int] | None = None) -> AsyncIterator[Server]:
    told = Server(settings or {})
    async with asyncio.TaskGroup() as tasks:
        listener = await asyncio.start_server(partial(told.meet, tasks), "127.0.0.1", 0)
        told.port = listener.sockets[0].getsockname()[1]
        try:
            yield told
        finally:
            listener.close()
            await told.close()


@asynccontextmanager
async def connected(settings: Mapping[int, int] | None = None) -> AsyncIterator[tuple[Connection, Peer]]:
    """A connection to such a server, and the server's side of it."""
    async with serving(settings) as server:
        loop = asyncio.get_running_loop()
        transport, connection = await loop.create_connection(lambda: Connection("test"), "127.0.0.1", server.port)
        try:
            await connection.ready.wait()
            yield connection, await server.peers.get()
        finally:
            transport.abort()
