"""Pooled connections to servers of the cluster, for aiohttp's client.

A host `NAME.NAMESPACE.svc` is the Service: TLS asks for that name, and the connection goes to one of its endpoints.
Upstream dials the pod's address; an API server need not be in the pod network here, and the kubelet's port forwarding
always reaches the pod.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, TypeVar

from aiohttp import BaseConnector, ClientRequest, ClientTimeout
from aiohttp.client_proto import ResponseHandler

from api.errors import ApiError
from apiserver.nodes.services import Backend, Backends
from apiserver.nodes.tunnels import Tunnels
from apiserver.webhooks import words

KEEP_SECONDS = 60.0
SERVICE_DOMAIN = "svc"
P = TypeVar("P", bound=asyncio.BaseProtocol)


class Unreachable(Exception):
    """No connection could be made; the message says why, in Go's words."""


class Connector(BaseConnector):
    """`tunnels` is closed by whoever made it, after this."""

    def __init__(self, backends: Backends, tunnels: Tunnels, *, limit: int = 0) -> None:
        super().__init__(keepalive_timeout=KEEP_SECONDS, limit=limit)
        self._backends = backends
        self._tunnels = tunnels

    async def _create_connection(self, req: ClientRequest, traces: Any, timeout: ClientTimeout) -> ResponseHandler:
        host, port = req.url.host or "", req.url.port or 443
        tls = req.ssl if isinstance(req.ssl, ssl.SSLContext) else None
        backend = backend_of(self._backends, host, port)
        _, protocol = await dial(self._tunnels, backend, self._factory, tls, host)
        return protocol


def backend_of(backends: Backends, host: str, port: int) -> Backend:
    """Raises Unreachable."""
    match host.split("."):
        case [name, namespace, domain] if domain == SERVICE_DOMAIN:
            try:
                return backends.find(namespace, name, port)
            except ApiError as e:
                raise Unreachable(e.message) from e
    return Backend(host, port)


async def dial(
    tunnels: Tunnels, backend: Backend, factory: Callable[[], P], tls: ssl.SSLContext | None, name: str
) -> tuple[asyncio.Transport, P]:
    """A connection to a backend whose certificate shall be for `name`.  Raises Unreachable."""
    loop = asyncio.get_running_loop()
    naming: dict[str, Any] = {"ssl": tls, "server_hostname": name} if tls is not None else {}
    shown = f"[{backend.address}]" if ":" in backend.address else backend.address
    shown = f"{shown}:{backend.port}"
    if backend.pod is None or backend.node is None:
        try:
            return await loop.create_connection(factory, backend.address, backend.port, **naming)
        except ssl.SSLError as e:
            raise Unreachable(words.of_tls(e, name)) from e
        except OSError as e:
            raise Unreachable(words.of_socket(e, shown)) from e
    tunnel = tunnels.open(backend.node, backend.pod, backend.port)
    try:
        return await loop.create_connection(factory, sock=tunnel.socket, **naming)
    except ssl.SSLCertVerificationError as e:
        raise Unreachable(words.of_tls(e, name)) from e
    except OSError as e:  # the handshake broke off: the kubelet knows why, unless the server itself did it
        told = await tunnel.reason()
        why = words.of_tls(e, name) if isinstance(e, ssl.SSLError) else "EOF"
        raise Unreachable(f"dial tcp {shown}: {told}" if told else why) from e
