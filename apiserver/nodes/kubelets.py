"""The way to a node's kubelet: one gRPC channel for each, kept while it is in use and for a while after; and what the
API server shows of itself at its HTTPS port."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc

from api.errors import InternalError, Unavailable
from api.nodes import kubelet_grpc_port
from api.types import Node
from proto.node_pb2_grpc import NodeStub

IDLE_AFTER = 60.0
"""Seconds after its last use that a channel is closed."""
_OPTIONS = (
    ("grpc.max_receive_message_length", 16 * 2**20),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


class _Channel:
    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.users = 0
        self.closing: asyncio.TimerHandle | None = None


class Kubelets:
    """PEM files: the authority of the kubelets' certificates, and the certificate that they ask the caller for.

    Without files the channels are not encrypted, as tests like it.
    """

    def __init__(self, ca: Path | None, certificate: Path | None, key: Path | None) -> None:
        self._files = (ca, certificate, key)
        self._channels: dict[str, _Channel] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def stub(self, node: Node) -> AsyncIterator[NodeStub]:
        """The kubelet's service, for as long as the block lasts.  Raises InternalError if the node tells no address."""
        address = _joined(address_of(node), kubelet_grpc_port(node))
        held = self._channels.get(address)
        if held is None:
            held = self._channels[address] = _Channel(self._open(address))
        if held.closing is not None:
            held.closing.cancel()
            held.closing = None
        held.users += 1
        try:
            yield NodeStub(held.channel)
        finally:
            held.users -= 1
            if held.users == 0:
                held.closing = asyncio.get_running_loop().call_later(IDLE_AFTER, self._drop, address)

    def tls(self) -> ssl.SSLContext:
        """For the HTTPS port of a kubelet.  Raises Unavailable."""
        ca, certificate, key = self._files
        context = ssl.create_default_context()
        try:
            if ca is not None:
                context.load_verify_locations(ca)
            else:
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            if certificate is not None:
                context.load_cert_chain(certificate, key)
        except OSError as e:
            raise Unavailable(f"cannot read the kubelet client certificate: {e}") from e
        return context

    async def close(self) -> None:
        for held in self._channels.values():
            if held.closing is not None:
                held.closing.cancel()
            await held.channel.close()
        self._channels.clear()
        await asyncio.gather(*self._closing)

    def _drop(self, address: str) -> None:
        task = asyncio.ensure_future(self._channels.pop(address).channel.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _open(self, address: str) -> grpc.aio.Channel:
        ca, certificate, key = self._files
        if ca is None:
            return grpc.aio.insecure_channel(address, options=_OPTIONS)
        try:
            credentials = grpc.ssl_channel_credentials(
                ca.read_bytes(), key.read_bytes() if key else None, certificate.read_bytes() if certificate else None
            )
        except OSError as e:
            raise Unavailable(f"cannot read the kubelet client certificate: {e}") from e
        return grpc.aio.secure_channel(address, credentials, options=_OPTIONS)


def address_of(node: Node) -> str:
    """Raises InternalError."""
    for wanted in ("InternalIP", "Hostname"):
        for address in node.status.addresses:
            if address.type == wanted and address.address:
                return address.address
    raise InternalError(f'no preferred addresses found; known addresses: []: node "{node.metadata.name}"')


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
