"""A thin client of etcd's v3 API on gRPC: ranges, transactions, watches, leases, compaction.

https://etcd.io/docs/v3.5/learning/api/
"""

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import grpc

from api.errors import ApiError, Timeout, TooLarge, Unavailable
from proto import etcd_pb2 as pb
from proto import etcd_pb2_grpc

CALL_SECONDS = 10.0
# Where another member can be asked. Elections take one to two seconds, which is no reason to give a write up; but a
# frozen machine keeps its connections, and only its silence tells.
WRITE_SECONDS = 3.0
SILENCE_SECONDS = 1.0
OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # gRPC's own back-off grows to two minutes: an API server would sleep through etcd's return.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.enable_http_proxy", 0),
]


class Compacted(Exception):
    """The revision asked for is older than etcd's history; `revision` is the oldest that is left, or 0 if unsaid."""

    def __init__(self, revision: int = 0) -> None:
        super().__init__(f"compacted up to revision {revision}")
        self.revision = revision


class LeaseLost(Exception):
    """The lease under which something should be put has ended."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """`servers` are URLs; the files are read once, at connect."""

    servers: tuple[str, ...]
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


class _Member:
    def __init__(self, url: str, endpoints: Endpoints) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"not the URL of an etcd server: {url!r}")
        target = f"{parts.hostname}:{parts.port or 2379}"
        if parts.scheme == "https":
            files = (endpoints.ca, endpoints.key, endpoints.certificate)
            credentials = grpc.ssl_channel_credentials(*(f.read_bytes() if f else None for f in files))
            self.channel = grpc.aio.secure_channel(target, credentials, options=OPTIONS)
        else:
            self.channel = grpc.aio.insecure_channel(target, options=OPTIONS)
        self.kv: Any = etcd_pb2_grpc.KVStub(self.channel)
        self.lease: Any = etcd_pb2_grpc.LeaseStub(self.channel)
        self.watch: Any = etcd_pb2_grpc.WatchStub(self.channel)
        self.watches: set[Any] = set()

    def connected(self) -> bool:
        return self.channel.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY


class Etcd:
    """Calls go to one member as long as it answers.  Safe to use from many tasks of one loop.

    Every method raises Unavailable when no member answers, Timeout when it is not known whether a write was done.
    """

    def __init__(self, endpoints: Endpoints) -> None:
        self._members = [_Member(url, endpoints) for url in endpoints.servers]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _t: type[BaseException] | None, _e: BaseException | None, _b: TracebackType | None
    ) -> None:
        for member in self._members:
            await member.channel.close()

    async def range(self, key: bytes, end: bytes = b"", *, limit: int = 0, revision: int = 0) -> pb.RangeResponse:
        """Keys in [key, end), or just `key`; at `revision` or, linearizably, now.  Raises Compacted."""
        request = pb.RangeRequest(key=key, range_end=end, limit=limit, revision=revision)
        return await self._call("Range", request)  # type: ignore[no-any-return]

    def is_stale(self, key: bytes) -> bool:
        """Whether the value should be written again although it is what it shall be: see `sealing`."""
        return False

    def unreadable(self, key: bytes) -> str:
        """Why that key, or something below it if it ends in a slash, cannot be read; "" if everything can."""
        return ""

    async def revision(self) -> int:
        """The store's current revision, agreed by a majority."""
        return int((await self.range(b"/registry/.")).header.revision)

    async def transact(
        self, compare: Sequence[pb.Compare], success: Sequence[pb.RequestOp], failure: Sequence[pb.RequestOp] = ()
    ) -> pb.TxnResponse:
        return await self._call("Txn", pb.TxnRequest(compare=compare, success=success, failure=failure))  # type: ignore[no-any-return]

    async def put(self, key: bytes, value: bytes) -> int:
        return int((await self._call("Put", pb.PutRequest(key=key, value=value))).header.revision)

    async def grant(self, seconds: float) -> int:
        """A lease: what is put under it goes after so long."""
        return int((await self._call("LeaseGrant", pb.LeaseGrantRequest(TTL=math.ceil(seconds)), "lease")).ID)

    async def compact(self, revision: int) -> None:
        """Forget what is older. Nothing happens if that was done already."""
        try:
            await self._call("Compact", pb.CompactionRequest(revision=revision))
        except Compacted:
            return

    async def watch(self, key: bytes, end: bytes, start: int) -> AsyncIterator[pb.WatchResponse]:
        """Everything that happens in [key, end) from revision `start` on.  Ends only by an exception."""
        member = self._member()
        call = member.watch.Watch(wait_for_ready=True)
        member.watches.add(call)
        create = pb.WatchCreateRequest(
            key=key, range_end=end, start_revision=start, progress_notify=True, fragment=True
        )
        try:
            await call.write(pb.WatchRequest(create_request=create))
            while (response := await call.read()) is not grpc.aio.EOF:
                if response.canceled:
                    if response.compact_revision:
                        raise Compacted(response.compact_revision)
                    raise Unavailable(f"etcd canceled the watch: {response.cancel_reason}")
                yield response
            raise Unavailable("etcd closed the watch")
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise Unavailable("the etcd member has fallen silent") from None  # the call was cancelled by `_distrust`
        except grpc.aio.AioRpcError as e:
            self._distrust(member)
            raise _translated(e) from e
        finally:
            member.watches.discard(call)
            call.cancel()

    def _member(self) -> _Member:
        if len(self._members) > 1:
            for member in self._members:
                if member.connected():
                    return member
        return self._members[0]

    def _distrust(self, member: _Member) -> None:
        """From now on the others are asked; what is being watched there ends, so that it is watched elsewhere."""
        if len(self._members) == 1 or self._members[0] is not member:
            return
        self._members = [*self._members[1:], member]
        for call in member.watches:
            call.cancel()

    async def _call(self, method: str, request: Any, service: str = "kv") -> Any:
        if len(self._members) == 1:
            return await self._ask(self._member(), method, request, service, CALL_SECONDS)
        if method != "Range":
            return await self._ask(self._member(), method, request, service, WRITE_SECONDS)
        try:
            return await self._ask(self._member(), method, request, service, SILENCE_SECONDS)
        except (Unavailable, Timeout):  # asking twice changes nothing
            return await self._ask(self._member(), method, request, service, CALL_SECONDS)

    async def _ask(self, member: _Member, method: str, request: Any, service: str, seconds: float) -> Any:
        silent = asyncio.get_running_loop().call_later(SILENCE_SECONDS, self._distrust, member)
        try:
            # Waiting for the connection makes a restart of etcd a pause, not an error; nothing was sent by then.
            return await getattr(getattr(member, service), method)(request, timeout=seconds, wait_for_ready=True)
        except grpc.aio.AioRpcError as e:
            if e.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                self._distrust(member)
            raise _translated(e) from e
        finally:
            silent.cancel()


def _translated(e: grpc.aio.AioRpcError) -> ApiError | Compacted | LeaseLost:
    text = e.details() or e.code().name
    match e.code():
        case grpc.StatusCode.OUT_OF_RANGE if "compacted" in text:
            return Compacted()
        case grpc.StatusCode.NOT_FOUND if "lease" in text:
            return LeaseLost()
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return Timeout(f"etcdserver: request timed out: {text}")
        case grpc.StatusCode.INVALID_ARGUMENT if "too large" in text:
            return TooLarge(text)
        case _:
            return Unavailable(text)
