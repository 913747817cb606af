"""An etcd that keeps some resources encrypted: what passes through is plain on this side and sealed on that one.

The watch cache and the transactions know nothing of it; resources without keys cost a look into a dict.
"""

import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from apiserver.storage import keys
from apiserver.storage.ciphers import Ciphers, Keys, Undecipherable
from apiserver.storage.etcd import Endpoints, Etcd
from proto import etcd_pb2 as pb

log = logging.getLogger(__name__)


class SealedEtcd(Etcd):
    def __init__(self, endpoints: Endpoints, ciphers: Ciphers) -> None:
        super().__init__(endpoints)
        self._ciphers = ciphers
        self._unreadable: dict[bytes, str] = {}

    def is_stale(self, key: bytes) -> bool:
        found = self._of(key)
        return found is not None and key in found.stale

    def unreadable(self, key: bytes) -> str:
        if not key.endswith(b"/"):
            return self._unreadable.get(key, "")
        return next((why for each, why in self._unreadable.items() if each.startswith(key)), "")

    async def range(self, key: bytes, end: bytes = b"", *, limit: int = 0, revision: int = 0) -> pb.RangeResponse:
        response = await super().range(key, end, limit=limit, revision=revision)
        self._open(response.kvs)
        return response

    async def transact(
        self, compare: Sequence[pb.Compare], success: Sequence[pb.RequestOp], failure: Sequence[pb.RequestOp] = ()
    ) -> pb.TxnResponse:
        response = await super().transact(compare, [self._sealed(operation) for operation in success], failure)
        if not response.succeeded:
            for each in response.responses:
                self._open(each.response_range.kvs)
        return response

    async def watch(self, key: bytes, end: bytes, start: int) -> AsyncIterator[pb.WatchResponse]:
        async for response in super().watch(key, end, start):
            for event in response.events:
                if event.type == pb.Event.DELETE:
                    self._forget(event.kv.key)
                else:
                    self._open((event.kv,))
            yield response

    def _of(self, key: bytes) -> Keys | None:
        if key.startswith(keys.OWN) or not key.startswith(keys.PREFIX):
            return None
        return self._ciphers[keys.split(key)[0]]

    def _sealed(self, operation: Any) -> Any:
        put = operation.request_put
        if (found := self._of(put.key)) is None or not put.value:
            return operation
        sealed = pb.PutRequest(key=put.key, value=found.seal(put.key, put.value), lease=put.lease)
        return pb.RequestOp(request_put=sealed)

    def _open(self, kvs: Iterable[Any]) -> None:
        """In place. What cannot be opened stays as it is, which is no document, and is remembered."""
        for kv in kvs:
            if (found := self._of(kv.key)) is None:
                continue
            try:
                kv.value = found.open(kv.key, kv.value)
                self._unreadable.pop(kv.key, None)
            except Undecipherable as e:
                why = f'unable to transform key "{kv.key.decode()}": {e}'
                if self._unreadable.get(kv.key) != why:
                    log.error("%s", why)
                self._unreadable[kv.key] = why

    def _forget(self, key: bytes) -> None:
        self._unreadable.pop(key, None)
        if (found := self._of(key)) is not None:
            found.stale.discard(key)
