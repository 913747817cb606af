"""What goes on for long on a connection, and ends when its client goes or the server stops."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod

from api.errors import no_such_method
from apiserver.rest import auditing
from machinery import http_connections


class Lifetime:
    """A block of code that somebody else may end."""

    def __init__(self, scope: asyncio.Timeout) -> None:
        self._scope = scope
        self.over = False

    def end(self) -> None:
        if not self.over:
            self.over = True
            self._scope.reschedule(0.0)


class Connections:
    """The connections on which something goes on for long."""

    def __init__(self) -> None:
        self._lifetimes: dict[Any, Lifetime] = {}
        self._closing = False
        self.leaving = False
        """Whether clients shall look for another server: each connection ends with its next answer."""

    @asynccontextmanager
    async def lifetime(self, http: web.BaseRequest) -> AsyncIterator[Lifetime]:
        """A block that is left, quietly, when the client goes or the server stops.

        A timeout of the block's own means a client that does not read: its connection is cut.
        """
        connection = http.protocol
        life = None
        auditing.started()
        try:
            async with asyncio.timeout(None) as scope:
                life = self._lifetimes[connection] = Lifetime(scope)
                if self._closing or http.transport is None:
                    life.end()
                yield life
        except TimeoutError:
            if not scope.expired() and http.transport is not None:
                http.transport.abort()
        except ConnectionError:
            pass  # the client went while it was being written to
        finally:
            if life is not None:
                life.over = True
            self._lifetimes.pop(connection, None)

    def gone(self, connection: Any) -> None:
        if life := self._lifetimes.get(connection):
            life.end()

    def close(self) -> None:
        """End every lifetime, and those to come at once."""
        self._closing = True
        for life in self._lifetimes.values():
            life.end()


class Protocol(http_connections.Protocol):
    """Answers as Kubernetes does to a method that there is not."""

    certificate: bytes | None = None
    """The client's, once somebody has asked for it: a copy of it, and its hash, cost more than to keep it."""

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        if not isinstance(exc, BadHttpMethod):
            return super().handle_error(request, status, exc, message)
        body = msgspec.json.encode(no_such_method().to_status())
        refused = web.Response(status=405, body=body, content_type="application/json")
        refused.force_close()
        return refused


def certificate_of(http: web.BaseRequest) -> bytes | None:
    """What the client has shown in the TLS handshake, in DER."""
    protocol = http.protocol
    known = protocol.certificate if isinstance(protocol, Protocol) else None
    if known is None and http.transport is not None:
        tls = http.transport.get_extra_info("ssl_object")
        known = tls.getpeercert(True) if tls is not None else None
        if isinstance(protocol, Protocol):
            protocol.certificate = known
    return known


class Server(http_connections.Server):
    """Tells when a connection is lost.

    aiohttp's `handler_cancellation` would cancel the handler instead, in the middle of a write to the storage too.
    """

    def __init__(self, handler: Any, connections: Connections, **options: Any) -> None:
        super().__init__(handler, **options)
        self._watched = connections

    def __call__(self) -> Protocol:
        return Protocol(self, loop=self._loop, **self._kwargs)

    def connection_lost(self, handler: Any, exc: BaseException | None = None) -> None:
        self._watched.gone(handler)
        super().connection_lost(handler, exc)
