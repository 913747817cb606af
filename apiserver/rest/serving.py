"""The REST door's sockets: TLS with optional client certificates, and one handler behind it."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.web_protocol import RequestHandler

from apiserver.auditing import Auditor
from apiserver.authorization import Authorizer, Groups
from apiserver.catalogue import Catalogue
from apiserver.flows import Gate
from apiserver.metrics import Metrics
from apiserver.nodes.kubelets import Kubelets
from apiserver.rest.bodies import LIMIT
from apiserver.rest.connections import Connections, Server
from apiserver.rest.discovery import Others
from apiserver.rest.door import Authenticate, Door, Elsewhere
from apiserver.rest.pages import Fixed, Pages
from apiserver.rest.streaming import Streams
from apiserver.rest.verbs import Verbs
from machinery.clocks import SYSTEM, Clock
from machinery.contexts import serving
from machinery.http_connections import OPTIONS
from machinery.listening import Listener
from machinery.running import CannotGoOn

Checks = Mapping[str, Callable[[], bool]]
"""What /readyz asks, by its name (`etcd`, `watch-cache`, …)."""

DRAIN = 5.0
"""Seconds that requests under way have when the server stops; watches end at once."""


@dataclass(frozen=True, slots=True)
class Settings:
    """PEM files and addresses. Without `certificate` the door speaks plain HTTP, as tests like it."""

    host: str = "0.0.0.0"  # noqa: S104 - a server of the cluster listens on every address
    port: int = 6443
    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    proxy_ca: Path | None = None
    """Of those in front of this server who say who asks."""
    kubelet_ca: Path | None = None
    kubelet_certificate: Path | None = None
    kubelet_key: Path | None = None
    share_port: bool = False
    """Other processes may listen on the same port."""


class Rest:
    """The door as something that runs. Readiness is `checks`; `authorizer` is asked about what is not the registry's:
    streams and pages, of which `fixed` are more. `settled` returns when the catalogue shows all
    kinds whose definitions are stored by now; `elsewhere` and `others` are about the API servers behind this one."""

    def __init__(
        self,
        settings: Settings,
        registry: Verbs,
        authenticate: Authenticate,
        checks: Checks,
        *,
        authorizer: Authorizer | None = None,
        clock: Clock = SYSTEM,
        fixed: Fixed | None = None,
        catalogue: Catalogue | None = None,
        settled: Callable[[], Awaitable[None]] | None = None,
        auditor: Auditor | None = None,
        metrics: Metrics | None = None,
        gate: Gate | None = None,
        elsewhere: Elsewhere | None = None,
        others: Others | None = None,
    ) -> None:
        self._elsewhere = elsewhere
        self._others = others
        self._gate = gate
        self._metrics = metrics or Metrics()
        self._auditor = auditor
        self._catalogue = catalogue or Catalogue()
        self._settled = settled or _nothing
        self._fixed = fixed
        self._settings = settings
        self._registry = registry
        self._authenticate = authenticate
        self._authorizer = authorizer or Groups()
        self._connections = Connections()
        self._checks = {**checks, "shutdown": lambda: not self._connections.leaving}
        self._clock = clock
        self._bound: asyncio.Future[int] | None = None

    async def bound(self) -> int:
        """The port, once it is being listened on."""
        return await asyncio.shield(self._port())

    def leave(self) -> None:
        """From now on /readyz says no, and every answer that its connection ends with it; all else goes on."""
        self._connections.leaving = True

    def _port(self) -> asyncio.Future[int]:
        if self._bound is None:
            self._bound = asyncio.get_running_loop().create_future()
        return self._bound

    async def run(self) -> None:
        """Serve until cancelled; then watches end, and requests under way have DRAIN seconds.  Raises CannotGoOn."""
        settings, connections = self._settings, self._connections
        kubelets = Kubelets(settings.kubelet_ca, settings.kubelet_certificate, settings.kubelet_key)
        door = Door(
            self._registry,
            self._authenticate,
            self._authorizer,
            Pages(
                self._checks, lambda: self._port().result(), self._fixed, self._catalogue, self._metrics, self._others
            ),
            Streams(self._registry, self._authorizer, kubelets, connections),
            connections,
            self._clock,
            self._catalogue,
            self._settled,
            self._auditor,
            self._metrics,
            self._gate,
            self._elsewhere,
        )
        server = Server(door.handle, connections, request_factory=_request, **OPTIONS)
        try:
            context = tls(settings) if settings.certificate else None
        except (OSError, ssl.SSLError) as e:
            raise CannotGoOn(f"cannot serve REST on {settings.host}:{settings.port}: {e}") from e
        listener = Listener(settings.host, settings.port, context, server, share_port=settings.share_port)
        try:
            self._port().set_result(listener.port)
            await listener.run()
        finally:
            connections.close()
            server.pre_shutdown()
            await server.shutdown(DRAIN)
            await kubelets.close()


async def _nothing() -> None:
    """There are only built-in kinds."""


def tls(settings: Settings) -> ssl.SSLContext:
    """A client may show a certificate of the cluster's authority; a token or nothing will do at the handshake too."""
    assert settings.certificate is not None
    authorities = [settings.client_ca, settings.proxy_ca] if settings.client_ca is not None else []
    return serving(settings.certificate, settings.key, *filter(None, authorities))


def _request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: RequestHandler,
    writer: AbstractStreamWriter,
    task: "asyncio.Task[None]",
) -> web.BaseRequest:
    # aiohttp refuses at its limit, Kubernetes above its own.
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=LIMIT + 1)
