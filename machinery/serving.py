"""A component's own gRPC port: TLS, client certificates of the cluster's authority, health and reflection.

Health is https://github.com/grpc/grpc/blob/master/doc/health-checking.md: "" and every service answer SERVING once
`ready(True)` was said.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from machinery.grpc_front import Front
from machinery.issuing import Authorities
from machinery.pairs import matching
from machinery.rereading import Reread
from machinery.running import CannotGoOn

MESSAGE_LIMIT = 5 * 2**20
"""Bytes that are taken for one message before it is known whose it is: three megabytes of an object, and what clients
put beside it."""
MOST_CONNECTIONS = 2000
MOST_STREAMS = 2000
"""Of one connection at once: watches, mostly."""
HANDSHAKE_SECONDS, IDLE_SECONDS = 32, 600
OPEN_TO_ALL = ("/grpc.health.v1.Health/", "/grpc.reflection.")


@dataclass(frozen=True, slots=True)
class Files:
    """PEM files: one's own certificate and key, and the authority that clients' certificates must come from."""

    certificate: Path
    key: Path
    client_ca: Path
    to_come: bool = False
    """Certificate and key may be missing still: HTTPS refuses handshakes until they are there."""

    def credentials(self) -> grpc.ServerCredentials:
        """They follow the files."""

        def configuration() -> grpc.ServerCertificateConfiguration:
            pair = matching(self.certificate, self.key)
            authority = self.client_ca.read_bytes()
            return grpc.ssl_server_certificate_configuration([(pair.key, pair.certificate)], authority)

        try:
            current = Reread(configuration, self.certificate, self.key, self.client_ca)
        except (OSError, ValueError) as e:
            raise CannotGoOn(f"the serving certificate is needed: {e}") from e
        told = current()

        def renewed() -> grpc.ServerCertificateConfiguration | None:
            """Asked at every handshake; None: no other than last time, which saves gRPC the parsing."""
            nonlocal told
            before, told = told, current()
            return None if told is before else told

        return grpc.dynamic_ssl_server_credentials(told, renewed, require_client_authentication=True)  # type: ignore[arg-type]


class Server:
    """`register` adds the services to the server; `allowed` are the user names (certificate CNs) that may call them.

    Health and reflection answer to every client of the cluster's authority.
    """

    def __init__(
        self, address: str, files: Files, register: Callable[[grpc.aio.Server], None],
        service_names: Collection[str] = (), *, allowed: Collection[str] | None = None,
        share_port: bool = False, open_port: int = 0, grace: float = 1.0,
        on_stop: Callable[[], None] | None = None,
    ) -> None:  # fmt: skip
        """On `open_port` of the same host nobody is asked for a certificate: `register`ed services must look at
        something else, and learn by `grpc_front.peer` who it is; 0: there is none.

        When it stops, calls under way get `grace` seconds to end; `on_stop` tells those that would go on for ever.
        """
        self.address = address
        self._open_port = open_port
        self.port = 0
        self._files = files
        self._register = register
        self._names = ("", *service_names)
        self._health = health.aio.HealthServicer()
        self._allowed = frozenset(allowed) if allowed is not None else None
        self._bound = asyncio.Event()
        self._is_ready = False
        self._share_port = share_port
        self._grace = grace
        self._on_stop = on_stop

    async def run(self) -> None:
        """Serve until cancelled."""
        server = grpc.aio.server(
            interceptors=self._interceptors(),
            options=(
                ("grpc.max_receive_message_length", MESSAGE_LIMIT),
                ("grpc.max_allowed_incoming_connections", MOST_CONNECTIONS),
                ("grpc.max_concurrent_streams", MOST_STREAMS),
                ("grpc.server_handshake_timeout_ms", HANDSHAKE_SECONDS * 1000),
                ("grpc.max_connection_idle_ms", IDLE_SECONDS * 1000),
                ("grpc.so_reuseport", int(self._share_port)),
                # Clients ask for signs of life while nothing happens; by default gRPC takes the third for an attack,
                # and breaks the connection off.
                ("grpc.http2.max_ping_strikes", 0),
            ),
        )
        self._register(server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection(
            (*filter(None, self._names), health.SERVICE_NAME, reflection.SERVICE_NAME), server
        )
        try:
            self.port = server.add_secure_port(self.address, self._files.credentials())
        except RuntimeError as e:
            raise CannotGoOn(f"cannot listen on {self.address}: {e}") from e
        async with self._open(server) as opened:
            await server.start()
            await self.ready(self._is_ready)
            self._bound.set()
            await self._until_cancelled(server, opened)

    @asynccontextmanager
    async def _open(self, server: grpc.aio.Server) -> AsyncIterator[Front | None]:
        """The front of the port that is open to all, if there is to be one."""
        if not self._open_port:
            yield None
            return
        with TemporaryDirectory(prefix="wherry-grpc-") as place:  # which nobody else may enter
            path = Path(place, "socket")
            server.add_insecure_port(f"unix:{path}")
            host = self.address.rpartition(":")[0].strip("[]")
            yield Front(
                host, self._open_port, self._files.certificate, self._files.key, path, share_port=self._share_port
            )

    async def _until_cancelled(self, server: grpc.aio.Server, front: Front | None) -> None:
        try:
            await (front.run() if front is not None else asyncio.get_running_loop().create_future())
        finally:
            # Clients are told first that no new calls are taken, lest those whose stream ends begin another one here.
            stopping = asyncio.create_task(server.stop(self._grace))
            await asyncio.sleep(0)
            if self._on_stop is not None:
                self._on_stop()
            await stopping
            if front is not None:
                await front.close()

    def _interceptors(self) -> list[grpc.aio.ServerInterceptor]:
        if self._allowed is None:
            return []
        try:
            return [_Guard(self._allowed, Authorities(self._files.client_ca))]
        except (OSError, ValueError) as e:
            raise CannotGoOn(f"the clients' authority is needed: {e}") from e

    async def bound(self) -> int:
        """The port, once it is being listened on."""
        await self._bound.wait()
        return self.port

    async def ready(self, is_ready: bool = True) -> None:
        """What health checks are told."""
        self._is_ready = is_ready
        status = health_pb2.HealthCheckResponse.SERVING if is_ready else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in self._names:
            await self._health.set(name, status)


def user_name(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    """The common name of the peer's certificate, or ""."""
    return next((name.decode() for name in context.auth_context().get("x509_common_name", ())), "")


class _Guard(grpc.aio.ServerInterceptor):
    """Refuses calls of users who are not allowed, or whose certificate is worth nothing any more."""

    def __init__(self, allowed: frozenset[str], authorities: Authorities) -> None:
        self._allowed = allowed
        self._authorities = authorities

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        handler = await continuation(details)
        if handler is None or details.method.startswith(OPEN_TO_ALL):
            return handler
        for shape in ("unary_unary", "unary_stream", "stream_unary", "stream_stream"):
            if behaviour := getattr(handler, shape):
                return handler._replace(**{shape: self._checked(behaviour, streams=shape.endswith("stream"))})
        return handler

    def _checked(self, behaviour: Any, *, streams: bool) -> Any:
        async def refuse(context: grpc.aio.ServicerContext[Any, Any]) -> None:
            certificate = next(iter(context.auth_context().get("x509_pem_cert", ())), b"")
            if not certificate or not self._authorities.vouch(certificate, time.time()):
                await context.abort(grpc.StatusCode.UNAUTHENTICATED, "Unauthorized")
            if (name := user_name(context)) not in self._allowed:
                await context.abort(grpc.StatusCode.PERMISSION_DENIED, f'user "{name}" may not call this service')

        async def unary(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            await refuse(context)
            return await behaviour(request, context)

        async def stream(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            await refuse(context)
            async for message in behaviour(request, context):
                yield message

        return stream if streams else unary
