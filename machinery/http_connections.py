"""The connections of every HTTP port, with the bounds that Go's servers have: how long and how large a head may be.

Bodies are read as they came: upstream reads no Content-Encoding of requests, and who unpacks what a client has packed
lets it choose how much memory that takes.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage, BadHttpMethod
from aiohttp.web_protocol import RequestHandler

from machinery.listening import SILENCE

LARGEST_HEAD = 2**20 + 4096
"""Bytes of a request line and headers, or of a body's trailers: Go's megabyte, and what it gives beside it."""
MOST_HEADERS = 2000
ALL_HEADS = 32 << 20
"""Bytes of unfinished heads that are held for all connections together, those of less than a SMALL_HEAD not counted."""
SMALL_HEAD = 16 << 10
IDLE = 90.0
"""Seconds that a connection without a request is kept, as upstream keeps it."""
OPTIONS: dict[str, Any] = {
    "access_log": None, "keepalive_timeout": IDLE, "auto_decompress": False, "max_headers": MOST_HEADERS,
    # Never reached: what is counted below is refused before.
    "max_line_size": 2 * LARGEST_HEAD, "max_field_size": 2 * LARGEST_HEAD,
}  # fmt: skip
"""For aiohttp's server."""
TOO_LARGE = "431 Request Header Fields Too Large"
_REFUSAL = f"HTTP/1.1 {TOO_LARGE}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n{TOO_LARGE}"


class Server(web.Server):
    """aiohttp's low-level server with these connections. Its `handler_cancellation` is up to whoever makes it."""

    heads = 0
    """Bytes of unfinished heads."""

    def __call__(self) -> "Protocol":
        return Protocol(self, loop=self._loop, **self._kwargs)


class Protocol(RequestHandler):
    """One connection; a Guest of `machinery.listening`."""

    _silence: asyncio.TimerHandle | None = None
    _head = 0
    """Bytes since the last head that was complete, or the last piece of a body."""
    _held = 0
    """Of them, what counts among the server's `heads`."""
    _payload: Any = None
    _progress = 0

    def __init__(self, server: Server, **options: Any) -> None:
        super().__init__(server, **options)
        self._server = server
        self.left: Callable[[], None] = lambda: None

    @property
    def is_idle(self) -> bool:
        return self._current_request is None and not self._messages

    def cut(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._silence = asyncio.get_running_loop().call_later(SILENCE, transport.close)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._hold(0)
        self._has_asked()
        self.left()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        requests = self._request_count
        super().data_received(data)
        if self._request_count != requests:
            self._has_asked()
            self._payload, self._progress = self._messages[-1][1], 0
            self._hold(0)
        elif self._payload_parser is not None or self._upgraded:
            return  # these are no longer heads
        elif self._payload is not None and self._payload.total_bytes != self._progress:
            self._progress = self._payload.total_bytes
            self._hold(0)
        else:
            self._hold(self._head + len(data))
            if self._head > LARGEST_HEAD or (self._held and self._server.heads > ALL_HEADS):
                self._refuse()

    def _has_asked(self) -> None:
        """From now on aiohttp counts the time between requests."""
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None

    def _hold(self, size: int) -> None:
        held = size if size > SMALL_HEAD else 0
        self._server.heads += held - self._held
        self._head, self._held = size, held

    def _refuse(self) -> None:
        """A head is too large; an answer that is under way breaks off."""
        if self.transport is not None and self.is_idle:
            self.transport.write(_REFUSAL.encode())
        self.force_close()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """And forget what was said: aiohttp keeps the last request and answer of a connection until the next comes."""
        finished = await super().finish_response(request, resp, start_time)
        request._read_bytes = None
        if isinstance(resp, web.Response):
            resp.body = None
        return finished

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """What aiohttp cannot read is no defect of ours: nothing of it is logged."""
        if not isinstance(exc, BadHttpMessage) or isinstance(exc, BadHttpMethod):
            return super().handle_error(request, status, exc, message)
        too_large = "Too many headers" in exc.message
        refused = web.Response(status=431, text=TOO_LARGE) if too_large else web.Response(status=400, text=_BAD)
        refused.force_close()
        return refused


_BAD = "400 Bad Request"
