"""HTTPS servers on loopback that stand for webhooks and aggregated API servers, and Services that lead to them."""

import base64
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from machinery.certificates import Authority, Subject
from machinery.testing import free_port

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Https:
    """A server that runs. `ca_bundle` is as a client configuration has it."""

    port: int
    ca_bundle: str


@asynccontextmanager
async def https(directory: Path, handler: Handler, *hosts: str, client_ca: Path | None = None) -> AsyncIterator[Https]:
    """With a certificate of its own authority for the hosts; `client_ca` makes it ask for certificates."""
    authority = Authority.create("test-webhooks")
    tls = _tls(directory, authority, hosts, client_ca)
    app = web.Application(client_max_size=16 * 2**20)
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        port = free_port()
        await web.TCPSite(runner, None, port, ssl_context=tls).start()
        yield Https(port, base64.b64encode(authority.pair.certificate).decode())
    finally:
        await runner.cleanup()


def _tls(directory: Path, authority: Authority, hosts: tuple[str, ...], client_ca: Path | None) -> ssl.SSLContext:
    pair = authority.issue(Subject("server", (), hosts))
    directory.mkdir(parents=True, exist_ok=True)
    certificate, key = directory / "tls.crt", directory / "tls.key"
    certificate.write_bytes(pair.certificate)
    key.write_bytes(pair.key)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    if client_ca is not None:
        tls.load_verify_locations(client_ca)
        tls.verify_mode = ssl.CERT_OPTIONAL
    return tls


def service(name: str, port: int = 443, **selector: str) -> dict[str, Any]:
    ports = [{"name": "https", "port": port, "targetPort": 8443, "protocol": "TCP"}]
    return {"metadata": {"name": name}, "spec": {"ports": ports, "selector": selector or None}}


def own_address() -> str:
    """An address of this machine that an EndpointSlice may hold: not one of the loopback range."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: it only asks which address would be used
        except OSError:
            return "::ffff:127.0.0.1"
        return str(probe.getsockname()[0])


def endpoints(name: str, port: int) -> dict[str, Any]:
    """An EndpointSlice that leads to a port of this machine."""
    address = own_address()
    return {
        "metadata": {"name": f"{name}-1", "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv6" if ":" in address else "IPv4",
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
    }
