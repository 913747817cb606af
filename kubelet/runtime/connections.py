"""Short questions to a Docker engine, on a few connections that are kept open.

The docker library answers them too, for three times the processor time and eight threads.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

import msgspec

from kubelet.runtime import streams
from kubelet.runtime.interfaces import EngineUnreachable
from kubelet.runtime.operations import Operations

AT_ONCE = 16
KEPT = 4
TIMEOUT = 120.0


@dataclass(slots=True)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class Connections:
    """Asks at most `AT_ONCE` questions at a time.  `close` it at the end."""

    def __init__(self, socket: str, operations: Operations | None = None) -> None:
        self._socket = socket
        self._operations = operations or Operations()
        self._idle: list[_Connection] = []
        self._turns = asyncio.Semaphore(AT_ONCE)

    def close(self) -> None:
        while self._idle:
            self._idle.pop().writer.close()

    async def call(self, method: str, path: str, body: object = None) -> Any:
        """The answer's JSON document, None if it has none.  Raises EngineError for a refusal."""
        request = streams.request(method, path, body)
        async with self._turns:
            with self._operations.counted(method, path):
                data = await self._answered(method, path, request)
        return msgspec.json.decode(data) if data else None

    async def _answered(self, method: str, path: str, request: bytes) -> bytes:
        try:
            async with asyncio.timeout(TIMEOUT):
                return await self._asked(request)
        except TimeoutError as e:
            raise EngineUnreachable(f"the Docker daemon did not answer {method} {path} in time") from e

    async def _asked(self, request: bytes) -> bytes:
        while self._idle:
            try:
                return await self._ask(self._idle.pop(), request)
            except EngineUnreachable:
                # An engine that was restarted has closed what was kept: that says nothing of the one that runs now.
                # To ask twice does no harm: names make a second creation the first one, and an end is one.
                continue
        return await self._ask(_Connection(*await streams.connected(self._socket)), request)

    async def _ask(self, connection: _Connection, request: bytes) -> bytes:
        whole = False
        try:
            connection.writer.write(request)
            head = await streams.header(connection.reader)
            body = await streams.body(connection.reader, head)
            whole = True
        finally:
            if whole and head.kept and len(self._idle) < KEPT:
                self._idle.append(connection)
            else:
                connection.writer.close()
        if head.status >= 400:
            raise streams.refusal(head.status, body)
        return body
