"""The way to a node's kubelet: one gRPC channel for each, kept while it is in use and for a while after; and what the
API server shows of itself at its HTTPS port."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc

from api.errors import InternalError, Unavailable
from api.nodes import kubelet_grpc_port
from api.types import Node
from machinery.channels import SIGNS_OF_LIFE, ClientFiles, FollowingChannel
from proto import node_pb2 as pb
from proto.node_pb2_grpc import NodeStub

IDLE_AFTER = 60.0
"""Seconds after its last use that a channel is closed."""
PINGS, PING_SECONDS = 4, 2.0
OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", 16 * 2**20),
    # A stream whose client does not read has 64 kB here. gRPC would find out how much a line takes that is not waited
    # for, and give megabytes to each of hundreds.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    *SIGNS_OF_LIFE,  # else logs are followed, and commands waited for, on a node that has lost its power
)

log = logging.getLogger(__name__)


class _Channel:
    def __init__(self, channel: FollowingChannel) -> None:
        self.channel = channel
        self.users = 0
        self.closing: asyncio.TimerHandle | None = None


class Kubelets:
    """PEM files: the authority of the kubelets' certificates, and the certificate that they ask the caller for.

    Without files the channels are not encrypted, as tests like it.
    """

    def __init__(
        self, ca: Path | None, certificate: Path | None, key: Path | None, options: Sequence[tuple[str, int]] = OPTIONS
    ) -> None:  # fmt: skip
        self._files = (ca, certificate, key)
        self._options = options
        self._channels: dict[str, _Channel] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def stub(self, node: Node) -> AsyncIterator[NodeStub]:
        """The kubelet's service, for as long as the block lasts.  Raises InternalError if the node tells no address."""
        address = _joined(address_of(node), kubelet_grpc_port(node))
        held = self._channels.get(address)
        kept = held is not None
        if held is None:
            held = self._channels[address] = _Channel(self._open(address))
        if held.closing is not None:
            held.closing.cancel()
            held.closing = None
        held.users += 1
        stub = NodeStub(held.channel)
        try:
            if kept:
                await _ping(stub)
            yield stub
        finally:
            held.users -= 1
            if held.users == 0:
                held.closing = asyncio.get_running_loop().call_later(IDLE_AFTER, self._drop, address)

    def tls(self) -> ssl.SSLContext:
        """For the HTTPS port of a kubelet.  Raises Unavailable."""
        ca, certificate, key = self._files
        try:
            # Only that authority: without a file, all that this machine trusts would do.
            context = ssl.create_default_context(cafile=str(ca) if ca is not None else None)
            if ca is None:
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

    def _open(self, address: str) -> FollowingChannel:
        if self._files[0] is None:
            return FollowingChannel(lambda: grpc.aio.insecure_channel(address, options=self._options))
        try:
            return ClientFiles(*self._files).channel(address, self._options)
        except (OSError, ValueError) as e:
            raise Unavailable(f"cannot read the kubelet client certificate: {e}") from e


async def _ping(kubelet: NodeStub) -> None:
    """Find out whether a connection that was kept still leads to the kubelet. A node that lost its network, or its
    power, could not say that it went, and what is said to it then is lost: a command cannot be said twice.

    A call that fails tells gRPC that the connection is gone, but the next one may begin before gRPC has drawn the
    conclusion: only one that is answered has another connection under it.
    """
    for _ in range(PINGS):
        try:
            await kubelet.Ping(pb.PingRequest(), timeout=PING_SECONDS)  # type: ignore[misc]
        except grpc.aio.AioRpcError as e:
            if e.code() == grpc.StatusCode.UNAVAILABLE:
                continue
            log.debug("a kubelet does not answer as it should: %s", e.details())  # it is slow, or older than the call
        return


def address_of(node: Node) -> str:
    """Raises InternalError."""
    for wanted in ("InternalIP", "Hostname"):
        for address in node.status.addresses:
            if address.type == wanted and address.address:
                return address.address
    raise InternalError(f'no preferred addresses found; known addresses: []: node "{node.metadata.name}"')


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
