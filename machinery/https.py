"""A component's own HTTPS port: TLS, with client certificates of the cluster's authority for whoever has one.

Who shows none is let in too, as nobody: what the port shows to whom is its handler's business.  How many requests
there are at once is the port's: each holds an answer for as long as its client does not read.
"""

import asyncio
import io
import logging
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from api.errors import TooManyRequests
from machinery.contexts import serving
from machinery.http_connections import OPTIONS, Server
from machinery.issuing import Authorities
from machinery.listening import Listener
from machinery.running import CannotGoOn
from machinery.serving import Files
from machinery.sessions import Sessions

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
DRAIN = 1.0
"""Seconds that requests under way have when the server stops."""
MOST, MOST_EACH = 256, 64
"""Requests at once, in all and of one address."""
SLOWEST = 60.0
"""Seconds in which a page must be read; upstream gives a whole request to its API server as many, and hours to its
kubelet. What a handler sends by itself, such as a log, takes as long as it takes."""
PIECE = 64 * 1024
"""Bytes beyond which a page is not encrypted and buffered as a whole."""


class HttpsServer:
    """Every request goes to `answer`, which is cancelled when its client goes."""

    def __init__(self, address: str, files: Files, answer: Answer) -> None:
        """`address` is HOST:PORT."""
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._files = files
        self._answer = answer
        self._requests = Sessions(MOST, MOST_EACH)
        self._bound: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Serve until cancelled.  Raises CannotGoOn."""
        try:
            self._authorities = Authorities(self._files.client_ca)
        except (OSError, ValueError) as e:
            raise CannotGoOn(f"the clients' authority is needed: {e}") from e
        answering = Server(self._admitted, logger=logging.getLogger(__name__), handler_cancellation=True, **OPTIONS)
        listener = Listener(self._host.strip("[]"), self._port, _context(self._files), answering)
        self._bound.set_result(listener.port)
        try:
            await listener.run()
        finally:
            answering.pre_shutdown()
            await answering.shutdown(DRAIN)

    async def _admitted(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            with self._requests.one_of(request.remote or ""):
                return await _delivered(request, await self._vouched(request))
        except TooManyRequests as e:
            return web.Response(status=429, text=f"{e.message}\n", headers={"Retry-After": "1"})

    async def _vouched(self, request: web.BaseRequest) -> web.StreamResponse:
        """As upstream looks at a certificate: not only when the connection was made."""
        tls = request.transport.get_extra_info("ssl_object") if request.transport else None
        certificate = tls.getpeercert(True) if tls is not None else None
        if certificate and not self._authorities.vouch(certificate, time.time()):
            return web.Response(status=401, text="Unauthorized")
        return await self._answer(request)

    async def bound(self) -> int:
        """The port, once it is being listened on."""
        return await asyncio.shield(self._bound)


async def _delivered(request: web.BaseRequest, response: web.StreamResponse) -> web.StreamResponse:
    """Once its client has read it; aiohttp would wait for that without end."""
    if not isinstance(response, web.Response) or response.prepared:
        return response
    if isinstance(response.body, bytes) and len(response.body) > PIECE:
        response.body = io.BytesIO(response.body)
    try:
        async with asyncio.timeout(SLOWEST):
            await response.prepare(request)
            await response.write_eof()
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
    return response


def _context(files: Files) -> ssl.SSLContext:
    try:
        return serving(files.certificate, files.key, files.client_ca, to_come=files.to_come)
    except OSError as e:
        raise CannotGoOn(f"the serving certificate is needed: {e}") from e


def shown_by(request: web.BaseRequest) -> tuple[str, list[str]]:
    """The common name and the organizations of the client's certificate; ("", []) without one."""
    shown: dict[str, Any] = (request.transport.get_extra_info("peercert") if request.transport else None) or {}
    subject = [pair for rdn in shown.get("subject", ()) for pair in rdn]
    names = [value for key, value in subject if key == "commonName"]
    return next(iter(names), ""), [value for key, value in subject if key == "organizationName"]
