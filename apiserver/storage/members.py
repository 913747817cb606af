"""Which API servers there are: each puts its address under a key of its own, which goes soon after it does.

As upstream's lease reconciler of the `kubernetes` Service has it, whose endpoints are these addresses.
"""

from collections.abc import AsyncIterator

from apiserver.storage import keys
from apiserver.storage.etcd import Etcd
from proto import etcd_pb2 as pb

SECONDS = 15.0
"""How long a server that says nothing more still counts."""
_END = keys.API_SERVERS[:-1] + b"0"


class Members:
    """`own` is this server's address; "" tells of none, and nobody is told."""

    def __init__(self, etcd: Etcd, own: str) -> None:
        self._etcd = etcd
        self._own = own

    @property
    def _key(self) -> bytes:
        return keys.API_SERVERS + self._own.encode()

    async def announce(self) -> None:
        """To be said again before `SECONDS` are over."""
        if not self._own:
            return
        # A new lease each time, rather than keeping one alive: nothing has to be found again after etcd lost it.
        lease = await self._etcd.grant(SECONDS)
        put = pb.PutRequest(key=self._key, value=b"", lease=lease)
        await self._etcd.transact([], [pb.RequestOp(request_put=put)])

    async def withdraw(self) -> None:
        delete = pb.DeleteRangeRequest(key=self._key)
        await self._etcd.transact([], [pb.RequestOp(request_delete_range=delete)])

    async def present(self) -> list[str]:
        found = await self._etcd.range(keys.API_SERVERS, _END)
        return [kv.key[len(keys.API_SERVERS) :].decode() for kv in found.kvs]

    async def departures(self) -> AsyncIterator[None]:
        """Whenever one has gone.  Ends only by an exception."""
        start = await self._etcd.revision() + 1
        async for response in self._etcd.watch(keys.API_SERVERS, _END, start):
            if any(event.type == pb.Event.DELETE for event in response.events):
                yield
