"""The port where the cluster asks: datagrams and streams.

https://www.rfc-editor.org/rfc/rfc7766 for streams; the questions on one are answered in their order.
"""

import asyncio
import logging
import struct
from typing import cast

from api.errors import TooManyRequests
from cluster_dns.answers import Answers
from machinery.listening import StreamGuest, Visits
from machinery.running import CannotGoOn
from machinery.sessions import Sessions

log = logging.getLogger(__name__)

MOST_WAITING, MOST_WAITING_EACH = 1000, 500
"""Questions that others are being asked at a time, in all and of one address, which a node's pods share: if no answer
comes, each waits for seconds."""
MOST_STREAMS, MOST_STREAMS_EACH = 256, 64
"""In all, and of one address; of more, the oldest on which nothing is being answered goes."""
IDLE_SECONDS = 10.0
_LENGTH = struct.Struct("!H")


class Server:
    """Port 0 takes a free one; `port` says which, once `bound` has returned."""

    def __init__(self, address: str, port: int, answers: Answers) -> None:
        self.address = address
        self.port = port
        self._answers = answers
        self._waiting = Sessions(MOST_WAITING, MOST_WAITING_EACH)
        self._visits = Visits(MOST_STREAMS, MOST_STREAMS_EACH)
        self._bound = asyncio.Event()

    async def bound(self) -> int:
        await self._bound.wait()
        return self.port

    async def run(self) -> None:
        """Answer until cancelled. Raises CannotGoOn if the port is not to be had."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            try:
                streams = await asyncio.start_server(
                    lambda reader, writer: self._accept(tasks, reader, writer), self.address, self.port
                )
                self.port = streams.sockets[0].getsockname()[1]
                datagrams, _ = await loop.create_datagram_endpoint(
                    lambda: _Datagrams(self, tasks), (self.address, self.port)
                )
            except OSError as e:
                raise CannotGoOn(f"cannot listen on {self.address}:{self.port}: {e}") from e
            self._bound.set()
            try:
                await loop.create_future()
            finally:
                datagrams.close()
                streams.close()

    def _accept(
        self, tasks: asyncio.TaskGroup, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:  # fmt: skip
        stream = self._visits.welcome(writer)
        if stream is not None:
            tasks.create_task(self._converse(reader, stream))

    async def _converse(self, reader: asyncio.StreamReader, stream: StreamGuest) -> None:
        try:
            while wire := await _next(reader):
                stream.is_idle = False
                reply = self.now(wire, datagram=False)
                if reply is None:
                    reply = await self.elsewhere(wire, stream.address, datagram=False)
                if not reply:
                    break
                stream.writer.write(_LENGTH.pack(len(reply)) + reply)
                async with asyncio.timeout(IDLE_SECONDS):
                    await stream.writer.drain()
                stream.is_idle = True
        except TimeoutError:
            stream.cut()  # whoever does not read its answers, or says nothing more
        except (OSError, asyncio.IncompleteReadError):
            pass  # whoever asked has gone
        finally:
            stream.left()
            stream.writer.close()

    def now(self, wire: bytes, *, datagram: bool) -> bytes | None:
        try:
            return self._answers.at_once(wire, datagram=datagram)
        except Exception:  # one question's defect must not leave all others without an answer
            log.exception("no answer to %s", wire.hex())
            return b""

    async def elsewhere(self, wire: bytes, address: str, *, datagram: bool) -> bytes:
        try:
            with self._waiting.one_of(address):
                return await self._answers.later(wire, datagram=datagram)
        except TooManyRequests:
            log.debug("too many questions of %s wait", address)
        except Exception:  # as above
            log.exception("no answer to %s", wire.hex())
        return self._answers.overloaded(wire, datagram=datagram)


async def _next(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(IDLE_SECONDS):
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        return await reader.readexactly(length)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: Server, tasks: asyncio.TaskGroup) -> None:
        self._server = server
        self._tasks = tasks
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Neither asyncio's nor uvloop's is a subclass of the interface that it has.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        reply = self._server.now(data, datagram=True)
        if reply is None:
            self._tasks.create_task(self._later(data, addr))
        else:
            self._send(reply, addr)

    def error_received(self, exc: Exception) -> None:
        log.debug("a datagram was not delivered: %s", exc)

    async def _later(self, wire: bytes, addr: tuple[str, int]) -> None:
        self._send(await self._server.elsewhere(wire, addr[0], datagram=True), addr)

    def _send(self, reply: bytes, addr: tuple[str, int]) -> None:
        if reply and self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(reply, addr)
