"""Conversations with a Docker engine through its socket, each on a connection of its own: events, logs, pulls, and the
hijacked connections of exec and attach.

The docker library holds a thread for each of these, cannot cancel them cleanly, and reads ahead of a hijacked
connection through a buffer, so that a process's first words may be lost.  On asyncio's own streams they are plain
cancellable coroutines.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import msgspec

from kubelet.runtime import documents
from kubelet.runtime.interfaces import EngineError, EngineUnreachable, NoSuchContainer, NoSuchImage

LIMIT = 1 << 20
WAITING = 1 << 16
"""Of a conversation twice as many bytes may wait for whoever reads: somebody's command may talk, and nobody listen."""
CHUNK = 1 << 18


@dataclass(frozen=True, slots=True)
class Head:
    """What comes before the body of an answer."""

    status: int
    chunked: bool
    length: int  # of a body that is not chunked; -1 if the connection's end is the body's
    kept: bool  # the connection is good for another request


class Answer:
    """A response whose body is still being sent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: Head) -> None:
        self.reader, self.writer, self._chunked = reader, writer, head.chunked

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives; of a hijacked connection, all that follows the header."""
        if self._chunked:
            async for data in dechunked(self.reader):
                yield data
            return
        while data := await self.reader.read(CHUNK):
            yield data


async def dechunked(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """A chunked body, of whole chunks all that are there at a time: the engine makes one of every line of a log."""
    buffer = bytearray()
    while data := await reader.read(CHUNK):  # b"": the engine went away in the middle, which for a stream is its end
        buffer += data
        at, ended = 0, False
        pieces: list[bytes | bytearray] = []
        while (line := buffer.find(b"\r\n", at)) >= 0:
            size = int(buffer[at:line].split(b";")[0], 16)
            start, end = line + 2, line + 2 + size
            if ended := not size:
                break
            if len(buffer) < end + 2:
                break
            pieces.append(buffer[start:end])
            at = end + 2
        del buffer[:at]
        if pieces:
            yield b"".join(pieces)
        if ended:
            return


@asynccontextmanager
async def opened(
    socket: str, method: str, path: str, body: object = None, *, hijack: bool = False,
    fields: Mapping[str, str] | None = None,
) -> AsyncIterator[Answer]:  # fmt: skip
    """Send one request; the answer's body is the caller's to read.  Raises EngineError for a refusal."""
    reader, writer = await connected(socket, WAITING)
    try:
        last = {"Connection": "Upgrade", "Upgrade": "tcp"} if hijack else {"Connection": "close"}
        writer.write(request(method, path, body, {**(fields or {}), **last}))
        head = await header(reader)
        answer = Answer(reader, writer, head)
        if head.status >= 400:
            whole = [c async for c in answer.chunks()] if head.chunked else [await reader.read(CHUNK)]
            raise refusal(head.status, b"".join(whole))
        yield answer
    finally:
        writer.close()


async def connected(socket: str, limit: int = LIMIT) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        return await asyncio.open_unix_connection(socket, limit=limit)
    except OSError as e:
        raise EngineUnreachable(f"cannot connect to the Docker daemon at unix://{socket}: {e}") from e


def request(method: str, path: str, body: object = None, fields: Mapping[str, str] | None = None) -> bytes:
    try:
        data = msgspec.json.encode(body) if body is not None else b""
    except UnicodeEncodeError as e:  # a variable whose value is bytes of a secret
        raise EngineError("string field contains invalid UTF-8") from e
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: docker",
        f"Content-Length: {len(data)}",
        "Content-Type: application/json",
        *(f"{name}: {value}" for name, value in (fields or {}).items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + data


async def header(reader: asyncio.StreamReader) -> Head:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError) as e:
        raise EngineUnreachable("the Docker daemon closed the connection") from e
    first, *lines = head.decode("latin-1").lower().split("\r\n")
    fields = dict(line.replace(" ", "").split(":", 1) for line in lines if line)
    status, chunked = int(first.split()[1]), fields.get("transfer-encoding") == "chunked"
    bodiless = status in (204, 304)
    length = 0 if bodiless else int(fields.get("content-length", -1))
    kept = fields.get("connection") != "close" and (chunked or length >= 0)
    return Head(status, chunked and not bodiless, length, kept)


async def body(reader: asyncio.StreamReader, head: Head) -> bytes:
    """All of it.  Raises EngineUnreachable if the engine goes away in the middle."""
    try:
        if not head.chunked:
            return await (reader.readexactly(head.length) if head.length >= 0 else reader.read())
        pieces = []
        while (size := int((await reader.readline()).split(b";")[0] or b"-1", 16)) >= 0:
            pieces.append(await reader.readexactly(size))
            await reader.readexactly(2)
            if not size:
                return b"".join(pieces)
    except (asyncio.IncompleteReadError, ConnectionError) as e:
        raise EngineUnreachable("the Docker daemon closed the connection") from e
    raise EngineUnreachable("the Docker daemon closed the connection")


def refusal(status: int, data: bytes) -> EngineError:
    try:
        message = msgspec.json.decode(data)["message"]
    except (msgspec.DecodeError, KeyError, TypeError):
        message = data.decode(errors="replace")
    if status != 404:
        return documents.refused(message)
    return NoSuchImage(message) if "No such image" in message else NoSuchContainer(message)


async def lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest = b""
    async for data in chunks:
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            if line:
                yield line


async def frames(chunks: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, bytes]]:
    """Split what the engine multiplexes: a header of 8 bytes (stream, 0, 0, 0, length) before each piece. What is there
    already of one stream without another's between is one piece: each costs every process on its way something."""
    buffer = bytearray()
    async for data in chunks:
        buffer += data
        at, channel = 0, 0
        pieces: list[bytes | bytearray] = []
        while len(buffer) >= at + 8:
            end = at + 8 + int.from_bytes(buffer[at + 4 : at + 8], "big")
            if len(buffer) < end:
                break
            if pieces and buffer[at] != channel:
                yield channel, b"".join(pieces)
                pieces = []
            channel = buffer[at]
            pieces.append(buffer[at + 8 : end])
            at = end
        del buffer[:at]
        if pieces:
            yield channel, b"".join(pieces)


async def unframed(chunks: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, bytes]]:
    async for data in chunks:
        yield 1, data
