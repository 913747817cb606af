"""gRPC channels to the API server, also ones that follow the files of their credentials.

A channel of gRPC keeps the certificate and the authority that it was made with for ever: after a rotation it would
knock with what nobody believes any more.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc

from machinery import kubeconfigs
from machinery.kubeconfigs import Access
from machinery.pairs import matching
from machinery.rereading import Reread

SIGNS_OF_LIFE: tuple[tuple[str, int], ...] = (
    # A connection may be lost without a word.  Of its own gRPC asks twice for a sign of life while a client only
    # listens, and never again; and it waits a minute for the answer, whatever the time-out of keepalives is.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
)
ENDS_STREAMS = ("wherry-ends-streams", "true")
"""What a client says when it begins a pipeline: that it will end it after a last message. Those of release 0.1.0 do not
say it, and do not end it."""
TENURE = "wherry-tenure"
"""What a leader says when it begins a pipeline: NAMESPACE/NAME/HOLDER (quoted as in a URL) of the Lease under which
it leads. The API server does its writes, but for those of Leases and Events, only while the Lease is so held."""
OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", 256 * 2**20),
    ("grpc.max_send_message_length", 16 * 2**20),
    # The default back-off grows to two minutes: a restarted API server must be found within a second.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    *SIGNS_OF_LIFE,
)


def channel(access: Access) -> grpc.aio.Channel:
    """A channel to `access.server` with mutual TLS, or with TLS and a bearer token."""
    credentials = grpc.ssl_channel_credentials(access.ca, access.key or None, access.certificate or None)
    if access.token_file is not None:
        told = grpc.metadata_call_credentials(_TokenFile(access.token_file))
        credentials = grpc.composite_channel_credentials(credentials, told)
    elif access.token:
        credentials = grpc.composite_channel_credentials(credentials, grpc.access_token_call_credentials(access.token))
    return grpc.aio.secure_channel(access.target, credentials, OPTIONS)


def following(kubeconfig: Path | Access, pair: Path | None = None) -> "FollowingChannel":
    """A channel for whoever the kubeconfig, or the pair beside it (`kubeconfigs.load`), says at the time of a call.

    Raises kubeconfigs.Unusable, OSError.
    """
    if isinstance(kubeconfig, Access):
        return FollowingChannel(lambda: channel(kubeconfig))
    files = (*kubeconfigs.files(kubeconfig), pair)
    return FollowingChannel(lambda: channel(kubeconfigs.load(kubeconfig, pair)), *files)


@dataclass(frozen=True, slots=True)
class ClientFiles:
    """PEM files: the authority of whom one calls (None: one that this machine trusts), and what one shows (None:
    nothing)."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def channel(self, target: str, options: Sequence[tuple[str, int]]) -> "FollowingChannel":
        """Raises OSError, ValueError."""

        def opened() -> grpc.aio.Channel:
            ca = self.ca.read_bytes() if self.ca is not None else None
            credentials = grpc.ssl_channel_credentials(ca)
            if self.certificate is not None and self.key is not None:
                pair = matching(self.certificate, self.key)
                credentials = grpc.ssl_channel_credentials(ca, pair.key, pair.certificate)
            return grpc.aio.secure_channel(target, credentials, options=options)

        return FollowingChannel(opened, self.ca, self.certificate, self.key)


class FollowingChannel(grpc.aio.Channel):
    """As stubs use a channel. Each call begins on the channel that `opened` made of the files as they are by then;
    calls that go on keep the one on which they began, which is closed when the last of them ends.

    Raises what `opened` does.
    """

    def __init__(self, opened: Callable[[], grpc.aio.Channel], *files: Path | None) -> None:
        self._current = Reread(lambda: _Held(opened()), *files)
        self._held = self._current()
        self._old: list[_Held] = []

    def unary_unary(self, *method: Any, **more: Any) -> Any:
        return self._multicallable("unary_unary", method, more)

    def unary_stream(self, *method: Any, **more: Any) -> Any:
        return self._multicallable("unary_stream", method, more)

    def stream_unary(self, *method: Any, **more: Any) -> Any:
        return self._multicallable("stream_unary", method, more)

    def stream_stream(self, *method: Any, **more: Any) -> Any:
        return self._multicallable("stream_stream", method, more)

    def _multicallable(self, shape: str, method: tuple[Any, ...], more: dict[str, Any]) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            held = self._latest()
            return held.begin(held.multicallable(shape, method, more)(*arguments, **options))

        return call

    @property
    def generation(self) -> object:
        """Another one after the credentials have changed."""
        return self._latest()

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._latest().channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._latest().channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._latest().channel.channel_ready()

    async def close(self, grace: float | None = None) -> None:
        for held in (*self._old, self._held):
            await held.close(grace)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _t: type[BaseException] | None, _e: BaseException | None, _b: TracebackType | None
    ) -> None:
        await self.close()

    def _latest(self) -> "_Held":
        latest = self._current()
        if latest is not self._held:
            self._old = [held for held in (*self._old, self._held) if not held.retire()]
            self._held = latest
        return latest


class _Held:
    """A channel, and how many calls go on on it."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self._calls = 0
        self._retired = False
        self._closing: asyncio.Task[None] | None = None
        self._known: dict[str, Any] = {}

    def multicallable(self, shape: str, method: tuple[Any, ...], more: dict[str, Any]) -> Any:
        """Made once: it costs more than a call."""
        path = method[0]
        if path not in self._known:
            self._known[path] = getattr(self.channel, shape)(*method, **more)
        return self._known[path]

    def begin(self, call: Any) -> Any:
        self._calls += 1
        call.add_done_callback(self._ended)
        return call

    def _ended(self, call: Any) -> None:
        self._calls -= 1
        self._close_if_unused()

    def retire(self) -> bool:
        """No more calls begin on it. Whether it was closed."""
        self._retired = True
        self._close_if_unused()
        return self._closing is not None and self._closing.done()

    def _close_if_unused(self) -> None:
        if self._retired and not self._calls and self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self.channel.close())

    async def close(self, grace: float | None) -> None:
        await (self._closing or self.channel.close(grace))


class _TokenFile(grpc.AuthMetadataPlugin):
    """The token as it stands in its file when a call begins."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, context: grpc.AuthMetadataContext, callback: grpc.AuthMetadataPluginCallback) -> None:
        try:
            token = self._path.read_text().strip()
        except OSError as e:
            callback((), e)
        else:
            callback((("authorization", f"Bearer {token}"),), None)
