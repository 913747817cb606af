"""A thin client of etcd's v3 API on gRPC: ranges, transactions, watches, leases, compaction.

https://etcd.io/docs/v3.5/learning/api/
"""

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, suppress
from functools import partial
from types import TracebackType
from typing import Any, Self

from api.errors import ApiError, Timeout, TooLarge, Unavailable
from apiserver.storage.calls import Lost, NotSent, Status
from apiserver.storage.connections import Connection
from apiserver.storage.dialling import Endpoints, Member
from proto import etcd_pb2 as pb

__all__ = ["Compacted", "Endpoints", "Etcd", "LeaseLost"]

CALL_SECONDS = 10.0
# Where another member can be asked. Elections take one to two seconds, which is no reason to give a write up.
WRITE_SECONDS = 3.0
SILENCE_SECONDS = 1.0
"""A member that lives, but answers a call for so long not, may be cut off from the others."""
PATIENCE_SECONDS = 0.6
"""After so long a silence a member is asked for a sign of life, and given up after as long again."""
KV, LEASES, WATCH = "/etcdserverpb.KV/", "/etcdserverpb.Lease/", "/etcdserverpb.Watch/Watch"
# gRPC's numbers: https://grpc.io/docs/guides/status-codes/
INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND, RESOURCE_EXHAUSTED, OUT_OF_RANGE, UNAVAILABLE = 3, 4, 5, 8, 11, 14


class Compacted(Exception):
    """The revision asked for is older than etcd's history; `revision` is the oldest that is left, or 0 if unsaid."""

    def __init__(self, revision: int = 0) -> None:
        super().__init__(f"compacted up to revision {revision}")
        self.revision = revision


class LeaseLost(Exception):
    """The lease under which something should be put has ended."""


class Etcd:
    """Calls go to one member as long as it answers.  Safe to use from many tasks of one loop.

    Every method raises Unavailable when no member answers, Timeout when it is not known whether a write was done.
    """

    def __init__(self, endpoints: Endpoints) -> None:
        self._members = [Member(url, endpoints) for url in endpoints.servers]
        self._alone = len(self._members) == 1
        self._reachable = asyncio.Event()
        self._keeping: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        patience = CALL_SECONDS if self._alone else PATIENCE_SECONDS
        for member in self._members:
            keeping = member.keep(patience, self._reachable.set, partial(self._distrust, member), SILENCE_SECONDS)
            self._keeping.append(asyncio.create_task(keeping))
        return self

    async def __aexit__(
        self, _t: type[BaseException] | None, _e: BaseException | None, _b: TracebackType | None
    ) -> None:
        for task in self._keeping:
            task.cancel()
        for task in self._keeping:
            with suppress(asyncio.CancelledError):
                await task

    async def range(self, key: bytes, end: bytes = b"", *, limit: int = 0, revision: int = 0) -> pb.RangeResponse:
        """Keys in [key, end), or just `key`; at `revision` or, linearizably, now.  Raises Compacted."""
        request = pb.RangeRequest(key=key, range_end=end, limit=limit, revision=revision)
        return pb.RangeResponse.FromString(await self._call(f"{KV}Range", request, again=True))

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
        request = pb.TxnRequest(compare=compare, success=success, failure=failure)
        return pb.TxnResponse.FromString(await self._call(f"{KV}Txn", request))

    async def put(self, key: bytes, value: bytes) -> int:
        answer = await self._call(f"{KV}Put", pb.PutRequest(key=key, value=value))
        return int(pb.PutResponse.FromString(answer).header.revision)

    async def grant(self, seconds: float) -> int:
        """A lease: what is put under it goes after so long."""
        answer = await self._call(f"{LEASES}LeaseGrant", pb.LeaseGrantRequest(TTL=math.ceil(seconds)))
        return int(pb.LeaseGrantResponse.FromString(answer).ID)

    async def compact(self, revision: int) -> None:
        """Forget what is older. Nothing happens if that was done already."""
        with suppress(Compacted):
            await self._call(f"{KV}Compact", pb.CompactionRequest(revision=revision))

    async def watch(self, key: bytes, end: bytes, start: int) -> AsyncIterator[pb.WatchResponse]:
        """Everything that happens in [key, end) from revision `start` on.  Ends only by an exception."""
        create = pb.WatchCreateRequest(
            key=key, range_end=end, start_revision=start, progress_notify=True, fragment=True
        )
        request = pb.WatchRequest(create_request=create).SerializeToString()
        member, connection = await self._reached(asyncio.get_running_loop().time() + CALL_SECONDS)
        try:
            async with aclosing(connection.listen(WATCH, request)) as messages:
                async for message in messages:
                    response = pb.WatchResponse.FromString(message)
                    if response.canceled:
                        if response.compact_revision:
                            raise Compacted(response.compact_revision)
                        raise Unavailable(f"etcd canceled the watch: {response.cancel_reason}")
                    yield response
        except (NotSent, Lost) as e:
            raise Unavailable(f"the watch of etcd is lost: {e}") from e
        except Status as e:
            self._distrust(member)
            raise _translated(e) from e
        raise Unavailable("etcd closed the watch")

    async def _call(self, path: str, request: Any, *, again: bool = False) -> bytes:
        """`again`: asking twice changes nothing."""
        now = asyncio.get_running_loop().time
        content = request.SerializeToString()
        end = now() + (CALL_SECONDS if again or self._alone else WRITE_SECONDS)
        first = again and not self._alone
        while True:
            member, connection = await self._reached(end)
            try:
                async with asyncio.timeout_at(min(end, now() + SILENCE_SECONDS) if first else end):
                    return await connection.ask(path, content)
            except NotSent:
                continue  # nobody has begun it
            except (Lost, TimeoutError) as e:
                self._distrust(member)
                if not again or now() >= end:
                    raise Timeout(f"etcdserver: request timed out: {e}".rstrip(": ")) from e
            except Status as e:
                if not (first and e.code == UNAVAILABLE):
                    raise _translated(e) from e
                self._distrust(member)
            first = False

    async def _reached(self, end: float) -> tuple[Member, Connection]:
        """A member that can be asked.  A restart of etcd is a pause, not an error.  Raises Unavailable."""
        while True:
            for member in self._members:
                if (connection := member.connection) is not None:
                    return member, connection
            self._reachable.clear()
            try:
                async with asyncio.timeout_at(end):
                    await self._reachable.wait()
            except TimeoutError:
                raise Unavailable(f"etcd cannot be reached: {self._members[0].why}") from None

    def _distrust(self, member: Member) -> None:
        """From now on the others are asked; what is being watched there ends, so that it is watched elsewhere."""
        if self._alone or self._members[0] is not member:
            return
        self._members = [*self._members[1:], member]
        if (connection := member.connection) is not None:
            connection.end_listening("the etcd member has fallen silent")


def _translated(e: Status) -> ApiError | Compacted | LeaseLost:
    if e.code == OUT_OF_RANGE and "compacted" in e.text:
        return Compacted()
    if e.code == NOT_FOUND and "lease" in e.text:
        return LeaseLost()
    # etcd says that it is unavailable, too, when it has given up waiting for what it has proposed to the others.
    if e.code == DEADLINE_EXCEEDED or (e.code == UNAVAILABLE and "timed out" in e.text):
        return Timeout(f"etcdserver: request timed out: {e.text}")
    if e.code in (INVALID_ARGUMENT, RESOURCE_EXHAUSTED) and ("too large" in e.text or "larger than max" in e.text):
        return TooLarge(e.text)
    if e.code == RESOURCE_EXHAUSTED:
        return ApiError(e.text)  # out of space: 500 without a reason, as upstream's server makes of it
    return Unavailable(e.text or f"gRPC status {e.code}")
