"""`/metrics` and `/healthz` of a component over HTTPS, for those who watch it with Prometheus and the like.

The usual ports are gRPC's here, so this is a port of its own, and only where somebody asks for it.  As upstream's:
health is told to everybody, metrics only to users of the cluster's authority who are allowed to see them.
https://kubernetes.io/docs/concepts/cluster-administration/system-metrics/
"""

import asyncio
import logging
import ssl
from collections.abc import Callable, Collection, Mapping
from typing import Any

from aiohttp import web

from machinery.metrics import Exposition
from machinery.running import CannotGoOn
from machinery.serving import Files

MASTERS = "system:masters"
HEALTH = ("/healthz", "/livez", "/readyz")
Check = Callable[[], bool]


class Monitor:
    """Serves what `exposition` has. `checks` are what must hold, by name, for health to be well."""

    def __init__(
        self, address: str, files: Files, exposition: Exposition, *, allowed: Collection[str] = (),
        checks: Mapping[str, Check] | None = None,
    ) -> None:  # fmt: skip
        """`address` is HOST:PORT; `allowed` are user names, beside those of the group system:masters."""
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._files = files
        self._exposition = exposition
        self._allowed = frozenset(allowed)
        self._checks: Mapping[str, Check] = checks or {}
        self._bound: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Serve until cancelled."""
        answering = web.Server(self._answer, access_log=None, logger=logging.getLogger(__name__))
        runner = web.ServerRunner(answering)
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

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, text="405 Method Not Allowed\n", headers={"Allow": "GET, HEAD"})
        if request.path in HEALTH:
            return self._health("verbose" in request.query)
        if request.path != "/metrics":
            return web.Response(status=404, text="404 page not found\n")
        user, groups = _user(request)
        if not user:
            return web.Response(status=401, text="Unauthorized\n")
        if user not in self._allowed and MASTERS not in groups:
            return web.Response(status=403, text=f'Forbidden: User "{user}" cannot get path "/metrics"\n')
        media, body = self._exposition.render(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": media})

    def _health(self, verbose: bool) -> web.Response:
        holds = {"ping": True} | {name: check() for name, check in self._checks.items()}
        well = all(holds.values())
        if well and not verbose:
            return web.Response(text="ok")
        lines = [f"[{'+' if held else '-'}]{name} {'ok' if held else 'failed'}" for name, held in holds.items()]
        lines.append("healthz check passed" if well else "healthz check failed")
        return web.Response(status=200 if well else 500, text="\n".join(lines) + "\n")


def _context(files: Files) -> ssl.SSLContext:
    """Asks for a client's certificate and does without: whoever shows none is nobody."""
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(files.client_ca))
        context.load_cert_chain(files.certificate, files.key)
    except OSError as e:
        raise CannotGoOn(f"the serving certificate is needed: {e}") from e
    context.verify_mode = ssl.CERT_OPTIONAL
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _user(request: web.BaseRequest) -> tuple[str, list[str]]:
    """The common name and the organizations of the certificate that was shown; ("", []) without one."""
    shown: dict[str, Any] = (request.transport.get_extra_info("peercert") if request.transport else None) or {}
    subject = [pair for rdn in shown.get("subject", ()) for pair in rdn]
    names = [value for key, value in subject if key == "commonName"]
    return next(iter(names), ""), [value for key, value in subject if key == "organizationName"]
