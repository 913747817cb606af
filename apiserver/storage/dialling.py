"""How the members of etcd are reached: a connection to each of them is kept, so that any can be asked at once."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from apiserver.storage.connections import Connection

CONNECT_SECONDS = 1.0
PAUSES = (0.05, 0.1, 0.2, 0.5)
"""Seconds between attempts to connect; the last again and again, so that etcd's return is noticed."""
LOOKS = 6
"""How often a connection is looked at in the time for which a server may be silent."""
UNUSED_SECONDS = 0.5
"""How often one is on which nobody waits for anything."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """`servers` are URLs; the files are read for each connection, so that others may take their places."""

    servers: tuple[str, ...]
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


class Member:
    """One etcd server."""

    def __init__(self, url: str, endpoints: Endpoints) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"not the URL of an etcd server: {url!r}")
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port or 2379
        self._endpoints = endpoints
        self._connection: Connection | None = None
        self.why = "there was no connection yet"
        """What has ended the last one."""

    @property
    def connection(self) -> Connection | None:
        """If there is one that takes calls."""
        return self._connection if self._connection is not None and not self._connection.ended.is_set() else None

    async def keep(
        self, patience: float, reached: Callable[[], None], slow: Callable[[], None], silence: float
    ) -> NoReturn:
        """Connects again and again until cancelled, and calls `reached` each time.  Calls `slow` while something is
        not answered for `silence` seconds; a server that gives no sign of life for `patience` seconds is given up."""
        failed = 0
        while True:
            try:
                connection = self._connection = await self._connect()
            except OSError as e:
                self.why = str(e) or type(e).__name__
                failed += 1
            else:
                failed = 0
                reached()
                try:
                    while not await _set_within(
                        connection.ended, patience / LOOKS if connection.is_used() else UNUSED_SECONDS
                    ):
                        connection.check(patience)
                        if connection.waits_for() > silence:
                            slow()
                except asyncio.CancelledError:
                    connection.give_up("this client ends")
                    raise
                self.why = connection.why
            await asyncio.sleep(PAUSES[min(failed, len(PAUSES) - 1)])

    async def _connect(self) -> Connection:
        """Raises OSError."""
        loop = asyncio.get_running_loop()
        tls = self._tls() if self._secure else None
        # Outside of the timeout: the thread that looks a name up cannot be cancelled, and threads are few.
        found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        *others, last = [(str(at[0]), int(at[1])) for *_, at in found]
        for place in others:  # a server may listen at one of them only, as etcd does of localhost's
            with suppress(OSError):
                return await self._connect_to(*place, tls)
        return await self._connect_to(*last, tls)

    async def _connect_to(self, host: str, port: int, tls: ssl.SSLContext | None) -> Connection:
        """Raises OSError."""
        async with asyncio.timeout(CONNECT_SECONDS):
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: Connection(f"{self._host}:{self._port}"), host, port, ssl=tls,
                server_hostname=self._host if tls else None,
            )  # fmt: skip
            try:
                await connection.ready.wait()
            except asyncio.CancelledError:
                connection.give_up("the server does not say anything")
                raise
        if connection.ended.is_set():
            raise ConnectionError(connection.why)
        return connection

    def _tls(self) -> ssl.SSLContext:
        ends = self._endpoints
        tls = ssl.create_default_context(cafile=ends.ca)
        if ends.certificate is not None:
            tls.load_cert_chain(ends.certificate, ends.key)
        tls.set_alpn_protocols(["h2"])
        return tls


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
