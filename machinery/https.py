"""A component's own HTTPS port: TLS, with client certificates of the cluster's authority for whoever has one.

Who shows none is let in too, as nobody: what the port shows to whom is its handler's business.
"""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from machinery.running import CannotGoOn
from machinery.serving import Files

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
DRAIN = 1.0
"""Seconds that requests under way have when the server stops."""
IDLE = 90.0
"""Seconds that a connection without a request is kept, as upstream's servers keep it."""


class HttpsServer:
    """Every request goes to `answer`, which is cancelled when its client goes."""

    def __init__(self, address: str, files: Files, answer: Answer) -> None:
        """`address` is HOST:PORT."""
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._files = files
        self._answer = answer
        self._bound: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Serve until cancelled.  Raises CannotGoOn."""
        answering = web.Server(
            self._answer, access_log=None, logger=logging.getLogger(__name__), handler_cancellation=True,
            keepalive_timeout=IDLE,
        )  # fmt: skip
        runner = web.ServerRunner(answering, shutdown_timeout=DRAIN)
        await runner.setup()
        try:
            # Not as a TCPSite of the runner, which tells the port that it got to nobody.
            server = await asyncio.get_running_loop().create_server(
                answering, self._host.strip("[]"), self._port, ssl=_context(self._files)
            )
        except OSError as e:
            raise CannotGoOn(f"cannot listen on {self._host}:{self._port}: {e}") from e
        self._bound.set_result(server.sockets[0].getsockname()[1])
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            server.close()
            await runner.cleanup()

    async def bound(self) -> int:
        """The port, once it is being listened on."""
        return await asyncio.shield(self._bound)


def _context(files: Files) -> ssl.SSLContext:
    """Asks for a client's certificate and does without."""
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(files.client_ca))
        context.load_cert_chain(files.certificate, files.key)
    except OSError as e:
        raise CannotGoOn(f"the serving certificate is needed: {e}") from e
    context.verify_mode = ssl.CERT_OPTIONAL
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def shown_by(request: web.BaseRequest) -> tuple[str, list[str]]:
    """The common name and the organizations of the client's certificate; ("", []) without one."""
    shown: dict[str, Any] = (request.transport.get_extra_info("peercert") if request.transport else None) or {}
    subject = [pair for rdn in shown.get("subject", ()) for pair in rdn]
    names = [value for key, value in subject if key == "commonName"]
    return next(iter(names), ""), [value for key, value in subject if key == "organizationName"]
