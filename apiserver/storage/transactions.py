"""Writes: each is one etcd transaction, compared on the mod revision of the object's key.

Documents are stored without resourceVersion, since that is the revision which the transaction makes.

`claims` are names of which there is one only (an address of the service range, a node port).  They are created and
deleted in the transaction of the object that holds them, so two objects never hold one, and nothing leaks.

What a leader writes is compared on its Lease, too (`tenures`): every method that writes raises Conflict if another one
leads by then.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from time import perf_counter
from typing import NamedTuple

from api.errors import Conflict, InternalError
from apiserver.storage import keys, tenures
from apiserver.storage.etcd import Etcd, LeaseLost
from apiserver.storage.leases import Leases
from proto import etcd_pb2 as pb

_NEVER = -1  # no revision of anything; 0 is that of what is not there
Observe = Callable[[float, tuple[str, str]], None]


Claims = Mapping[str, bytes] | Collection[str]
"""Names, and what shall be written under each; by default the key of the object that holds it."""


class Stored(NamedTuple):
    value: bytes
    revision: int


class Changed(Exception):
    """The key is not at the expected revision. `current` is what stands there now; None: nothing."""

    def __init__(self, current: Stored | None) -> None:
        super().__init__("the key is at another revision")
        self.current = current


class ClaimTaken(Exception):
    """The object could have been written, but `claim` belongs to another one."""

    def __init__(self, claim: str, holder: str) -> None:
        super().__init__(f"{claim} is held by {holder}")
        self.claim = claim
        self.holder = holder


class Store:
    """Reads and writes of single keys, past the cache."""

    def __init__(self, etcd: Etcd, leases: Leases | None = None, observe: Observe | None = None) -> None:
        """`observe` is told of every question and write: (seconds, (operation, resource))."""
        self._observe = observe
        self._etcd = etcd
        self._leases = leases
        self._tenures: dict[bytes, tuple[tenures.Tenure, int]] = {}
        """A Lease's key → of which tenure it told when it was last looked at, and its revision then."""

    def is_stale(self, key: bytes) -> bool:
        """Whether writing the present value again is worth it: with another key than the one it was written with."""
        return self._etcd.is_stale(key)

    def check_readable(self, key: bytes) -> None:
        """Raises InternalError if no encryption key opens what is there (or below, if it ends in a slash)."""
        if why := self._etcd.unreadable(key):
            raise InternalError(f"Internal error occurred: {why}")

    async def get(self, key: bytes) -> Stored | None:
        """The latest value, agreed by a majority."""
        began = perf_counter()
        found = _stored((await self._etcd.range(key)).kvs)
        self._note(began, "get", key)
        return found

    def _note(self, began: float, operation: str, key: bytes) -> None:
        if self._observe is not None:
            self._observe(perf_counter() - began, (operation, keys.split(key)[0]))

    async def create(self, key: bytes, value: bytes, claims: Claims = ()) -> int:
        """The new revision.  Raises Changed if the key exists, ClaimTaken."""
        return await self._put(key, value, 0, claims, ())

    async def update(
        self, key: bytes, value: bytes, expected: int, claims: Claims = (), released: Collection[str] = ()
    ) -> int:
        """The new revision.  Raises Changed, ClaimTaken."""
        return await self._put(key, value, expected, claims, released)

    async def update_together(self, values: Sequence[tuple[bytes, bytes, int]]) -> int:
        """Several (key, value, expected revision) in one transaction, all or none.  Raises Changed for the first of
        those that are at another revision."""
        compare = [_at_revision(key, expected) for key, _, expected in values]
        success = [pb.RequestOp(request_put=pb.PutRequest(key=key, value=value)) for key, value, _ in values]
        response = await self._transact(compare, success, [_read(key) for key, _, _ in values])
        if response.succeeded:
            return int(response.header.revision)
        found = [_stored(r.response_range.kvs) for r in response.responses]
        expectations = (expected for _, _, expected in values)
        raise Changed(next((s for s, e in zip(found, expectations, strict=True) if s is None or s.revision != e), None))

    async def delete(self, key: bytes, expected: int, released: Collection[str] = ()) -> int:
        """The revision of the deletion.  Raises Changed."""
        gone = pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key))
        return await self._write(key, expected, gone, (), released)

    async def _put(self, key: bytes, value: bytes, expected: int, claims: Claims, released: Collection[str]) -> int:
        leases = self._leases
        if leases is None or not leases.concern(key):
            put = pb.RequestOp(request_put=pb.PutRequest(key=key, value=value))
            return await self._write(key, expected, put, claims, released)
        try:
            leased = pb.PutRequest(key=key, value=value, lease=await leases.current())
            return await self._write(key, expected, pb.RequestOp(request_put=leased), claims, released)
        except LeaseLost:  # a day of sleep, or an etcd that was restored
            leased = pb.PutRequest(key=key, value=value, lease=await leases.renewed())
            return await self._write(key, expected, pb.RequestOp(request_put=leased), claims, released)

    async def _write(
        self, key: bytes, expected: int, write: pb.RequestOp, claims: Claims, released: Collection[str]
    ) -> int:
        compare = [_at_revision(key, expected)]
        success, failure = [write], [_read(key)]
        for claim in claims:
            at = keys.claim(claim)
            compare.append(_at_revision(at, 0))
            value = claims[claim] if isinstance(claims, Mapping) else key
            success.append(pb.RequestOp(request_put=pb.PutRequest(key=at, value=value)))
            failure.append(_read(at))
        success += [
            pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=keys.claim(claim))) for claim in released
        ]
        began = perf_counter()
        response = await self._transact(compare, success, failure)
        operation = "create" if not expected else "update" if write.HasField("request_put") else "delete"
        self._note(began, operation, key)
        if response.succeeded:
            return int(response.header.revision)
        found = [_stored(r.response_range.kvs) for r in response.responses]
        if (found[0].revision if found[0] else 0) == expected:
            for claim, holder in zip(claims, found[1:], strict=True):
                if holder is not None:
                    raise ClaimTaken(claim, holder.value.decode())
        raise Changed(found[0])

    async def _transact(
        self, compare: Sequence[pb.Compare], success: Sequence[pb.RequestOp], failure: Sequence[pb.RequestOp]
    ) -> pb.TxnResponse:
        """Of a leader only while it leads.  Raises Conflict."""
        tenure = tenures.CURRENT.get()
        if tenure is None:
            return await self._etcd.transact(compare, success, failure)
        while True:
            told, revision = self._tenures.get(tenure.lease, (None, _NEVER))
            known = revision if told == tenure else _NEVER
            response = await self._etcd.transact(
                [*compare, _at_revision(tenure.lease, known)], success, [*failure, _read(tenure.lease)]
            )
            if response.succeeded:
                return response
            lease = _stored(response.responses.pop().response_range.kvs)
            if lease is None or not tenures.holds(tenure, lease.value):
                raise Conflict("what was asked for is of a time as the leader that is over")
            if lease.revision == known:
                return response
            self._tenures[tenure.lease] = tenure, lease.revision  # renewed, or seen for the first time


def _at_revision(key: bytes, revision: int) -> pb.Compare:
    return pb.Compare(result=pb.Compare.EQUAL, target=pb.Compare.MOD, key=key, mod_revision=revision)


def _read(key: bytes) -> pb.RequestOp:
    return pb.RequestOp(request_range=pb.RangeRequest(key=key))


def _stored(kvs: Sequence[pb.KeyValue]) -> Stored | None:
    return Stored(kvs[0].value, kvs[0].mod_revision) if kvs else None
