"""etcd keeps every revision until it is told not to: this forgets what is older than five to ten minutes.

Of several API servers one does it in each round: the one whose compare-and-put on the shared key comes first (the
others learn the version it left).  The history that stays is what watches resume from and continue tokens read.
"""

import logging
from typing import NoReturn

from api.errors import ApiError
from apiserver.storage import keys
from apiserver.storage.etcd import Etcd
from machinery.clocks import Clock
from proto import etcd_pb2 as pb

INTERVAL = 300.0
log = logging.getLogger(__name__)


class Compactor:
    def __init__(self, etcd: Etcd, clock: Clock) -> None:
        self._etcd = etcd
        self._clock = clock
        self._round = 0
        self._revision = 0

    async def run(self) -> NoReturn:
        while True:
            try:
                await self.compact()
            except ApiError as e:
                log.warning("compaction put off: %s", e)
            await self._clock.sleep(INTERVAL)

    async def compact(self) -> bool:
        """Forget what was the past when this was last called. True if this server did it (and had such a past)."""
        put = pb.PutRequest(key=keys.COMPACTION, value=str(self._revision).encode())
        response = await self._etcd.transact(
            [pb.Compare(target=pb.Compare.VERSION, key=keys.COMPACTION, version=self._round)],
            [pb.RequestOp(request_put=put)],
            [pb.RequestOp(request_range=pb.RangeRequest(key=keys.COMPACTION))],
        )
        past, self._revision = self._revision, response.header.revision
        if not response.succeeded:
            kvs = response.responses[0].response_range.kvs
            self._round = kvs[0].version if kvs else 0
            return False
        self._round += 1
        if not past:
            return False
        await self._etcd.compact(past)
        return True
