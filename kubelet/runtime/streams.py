"""Long-lived conversations with a Docker engine: events, logs, and the hijacked connections of exec and attach.

The docker library holds a thread for each of these, cannot cancel them cleanly, and reads ahead of a hijacked
connection through a buffer, so that a process's first words may be lost.  On asyncio's own streams they are plain
cancellable coroutines.  Every other call goes through the library.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from kubelet.runtime.interfaces import EngineError, EngineUnreachable, NoSuchContainer

LIMIT = 1 << 20
CHUNK = 1 << 16


class Answer:
    """A response whose body is still being sent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, status: int, chunked: bool) -> None:
        self.reader, self.writer, self.status, self._chunked = reader, writer, status, chunked

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives; of a hijacked connection, all that follows the header."""
        while True:
            data = await (self._chunk() if self._chunked else self.reader.read(CHUNK))
            if not data:
                return
            yield data

    async def _chunk(self) -> bytes:
        try:
            size = int((await self.reader.readline()).split(b";")[0] or b"0", 16)
            data = await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        except asyncio.IncompleteReadError:
            return b""  # the engine went away in the middle: for a stream that is its end
        return data


@asynccontextmanager
async def opened(
    socket: str, method: str, path: str, body: object = None, *, hijack: bool = False
) -> AsyncIterator[Answer]:
    """Send one request; the answer's body is the caller's to read.  Raises EngineError for a refusal."""
    try:
        reader, writer = await asyncio.open_unix_connection(socket, limit=LIMIT)
    except OSError as e:
        raise EngineUnreachable(f"cannot connect to the Docker daemon at unix://{socket}: {e}") from e
    try:
        writer.write(_request(method, path, body, hijack))
        status, chunked = await _header(reader)
        answer = Answer(reader, writer, status, chunked)
        if status >= 400:
            raise _refusal(
                status, b"".join([c async for c in answer.chunks()] if chunked else [await reader.read(CHUNK)])
            )
        yield answer
    finally:
        writer.close()


def _request(method: str, path: str, body: object, hijack: bool) -> bytes:
    data = msgspec.json.encode(body) if body is not None else b""
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: docker",
        f"Content-Length: {len(data)}",
        "Content-Type: application/json",
    ]
    lines += ["Connection: Upgrade", "Upgrade: tcp"] if hijack else ["Connection: close"]
    return "\r\n".join([*lines, "", ""]).encode() + data


async def _header(reader: asyncio.StreamReader) -> tuple[int, bool]:
    """(status, whether the body is chunked)."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError) as e:
        raise EngineUnreachable("the Docker daemon closed the connection") from e
    first, *fields = head.decode("latin-1").split("\r\n")
    return int(first.split()[1]), any(f.lower().replace(" ", "") == "transfer-encoding:chunked" for f in fields)


def _refusal(status: int, body: bytes) -> EngineError:
    try:
        message = msgspec.json.decode(body)["message"]
    except (msgspec.DecodeError, KeyError, TypeError):
        message = body.decode(errors="replace")
    return NoSuchContainer(message) if status == 404 else EngineError(message)


async def document(answer: Answer) -> dict[str, Any]:
    """The whole body, which is one JSON document."""
    found: dict[str, Any] = msgspec.json.decode(b"".join([piece async for piece in answer.chunks()]))
    return found


async def lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest = b""
    async for data in chunks:
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            if line:
                yield line


async def frames(chunks: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, bytes]]:
    """Split what the engine multiplexes: a header of 8 bytes (stream, 0, 0, 0, length) before each piece."""
    buffer = bytearray()
    async for data in chunks:
        buffer += data
        while len(buffer) >= 8:
            size = int.from_bytes(buffer[4:8], "big")
            if len(buffer) < 8 + size:
                break
            yield buffer[0], bytes(buffer[8 : 8 + size])
            del buffer[: 8 + size]


async def unframed(chunks: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, bytes]]:
    async for data in chunks:
        yield 1, data
