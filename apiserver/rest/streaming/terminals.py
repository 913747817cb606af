"""A process's standard streams as SPDY streams: what clients used before WebSockets, and fall back to."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from api.errors import BadRequest
from apiserver.rest.streaming import spdy
from apiserver.rest.streaming.channels import resize
from apiserver.rest.streaming.execs import STDERR, STDOUT
from apiserver.rest.streaming.sessions import Session, Stream
from proto import node_pb2 as pb

PROTOCOL = "v4.channel.k8s.io"
PATIENCE = 30.0
"""Seconds in which a client must have opened the streams it asked for."""


class SpdyTerminal:
    """A Terminal once `opened` has returned; `receive` must be running all the while."""

    def __init__(self, session: Session, wanted: pb.ExecStart) -> None:
        self._session = session
        self._wanted = {"error"}
        self._wanted |= {"stdin"} if wanted.stdin else set()
        self._wanted |= {"stdout"} if wanted.stdout else set()
        self._wanted |= {"stderr"} if wanted.stderr and not wanted.tty else set()
        self._wanted |= {"resize"} if wanted.tty else set()
        self._streams: dict[str, Stream] = {}
        self._complete = asyncio.Event()
        self._inputs: asyncio.Queue[pb.ExecInput | None] = asyncio.Queue(1)

    async def receive(self) -> None:
        """Until the client goes."""
        try:
            async with asyncio.TaskGroup() as readers:
                async for stream in self._session.streams():
                    kind = stream.headers.get("streamtype", "")
                    self._streams[kind] = stream
                    if kind in ("stdin", "resize"):
                        readers.create_task(self._read(kind, stream))
                    if self._wanted <= self._streams.keys():
                        self._complete.set()
        except* (spdy.ProtocolError, ConnectionError):
            pass
        await self._inputs.put(None)

    async def opened(self) -> None:
        """Raises BadRequest if the client does not open its streams."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self._complete.wait()
        except TimeoutError:
            missing = ", ".join(sorted(self._wanted - self._streams.keys()))
            raise BadRequest(f"timed out waiting for client to create streams: {missing}") from None

    async def inputs(self) -> AsyncIterator[pb.ExecInput]:
        while (message := await self._inputs.get()) is not None:
            yield message

    async def write(self, channel: int, data: bytes) -> None:
        name = {STDOUT: "stdout", STDERR: "stderr"}[channel]
        if (stream := self._streams.get(name)) is not None:
            await stream.write(data)

    async def finish(self, status: dict[str, Any]) -> None:
        for name in ("stdout", "stderr"):
            if (stream := self._streams.get(name)) is not None:
                await stream.end()
        if (error := self._streams.get("error")) is not None:
            await error.end(msgspec.json.encode(status))
        await self._session.close()

    async def _read(self, kind: str, stream: Stream) -> None:
        async for piece in stream.read():
            if kind == "stdin":
                await self._inputs.put(pb.ExecInput(stdin=piece))
            elif (size := resize(piece)) is not None:
                await self._inputs.put(size)
        if kind == "stdin":
            await self._inputs.put(pb.ExecInput(close_stdin=True))
