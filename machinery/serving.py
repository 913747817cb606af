"""A component's own gRPC port: TLS, client certificates of the cluster's authority, health and reflection.

Health is https://github.com/grpc/grpc/blob/master/doc/health-checking.md: "" and every service answer SERVING once
`ready(True)` was said.
"""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from machinery.running import CannotGoOn

MESSAGE_LIMIT = 16 * 2**20
OPEN_TO_ALL = ("/grpc.health.v1.Health/", "/grpc.reflection.")


@dataclass(frozen=True, slots=True)
class Files:
    """PEM files: one's own certificate and key, and the authority that clients' certificates must come from."""

    certificate: Path
    key: Path
    client_ca: Path

    def credentials(self, *, mutual: bool = True) -> grpc.ServerCredentials:
        """Not `mutual`: clients are not asked for a certificate. gRPC's Python cannot ask and do without an answer."""
        try:
            pair = (self.key.read_bytes(), self.certificate.read_bytes())
            if not mutual:
                return grpc.ssl_server_credentials([pair])
            return grpc.ssl_server_credentials([pair], self.client_ca.read_bytes(), require_client_auth=True)
        except OSError as e:
            raise CannotGoOn(f"the serving certificate is needed: {e}") from e


class Server:
    """`register` adds the services to the server; `allowed` are the user names (certificate CNs) that may call them.

    Health and reflection answer to every client of the cluster's authority.
    """

    def __init__(
        self, address: str, files: Files, register: Callable[[grpc.aio.Server], None],
        service_names: Collection[str] = (), *, allowed: Collection[str] | None = None,
        share_port: bool = False, open_address: str = "",
    ) -> None:  # fmt: skip
        """On `open_address` nobody is asked for a certificate: `register`ed services must look at something else."""
        self.address = address
        self._open_address = open_address
        self.port = 0
        self._files = files
        self._register = register
        self._names = ("", *service_names)
        self._health = health.aio.HealthServicer()
        interceptors = [_Guard(frozenset(allowed))] if allowed is not None else []
        self._interceptors = interceptors
        self._bound = asyncio.Event()
        self._is_ready = False
        self._share_port = share_port

    async def run(self) -> None:
        """Serve until cancelled; calls under way get a second to end."""
        server = grpc.aio.server(
            interceptors=self._interceptors,
            options=(
                ("grpc.max_receive_message_length", MESSAGE_LIMIT),
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
            if self._open_address:
                server.add_secure_port(self._open_address, self._files.credentials(mutual=False))
        except RuntimeError as e:
            raise CannotGoOn(f"cannot listen on {self.address}: {e}") from e
        await server.start()
        await self.ready(self._is_ready)
        self._bound.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await server.stop(1)

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
    """Refuses calls of users who are not allowed."""

    def __init__(self, allowed: frozenset[str]) -> None:
        self._allowed = allowed

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
