"""The asking for certificates put together."""

import asyncio
from collections.abc import Callable
from functools import partial

from api.types import Node
from kubelet.certificates import asking, counting, subjects
from kubelet.certificates.holding import Held
from kubelet.certificates.rotating import Rotation
from kubelet.certificates.stores import Store
from kubelet.config import Config
from machinery.certificates import Subject
from machinery.client import Client
from machinery.clocks import Clock
from machinery.serving import Files


class Asked(Held):
    """One certificate, or both, of the kubelet's own asking.  Raises CannotGoOn."""

    def __init__(self, config: Config, client: Client, node: Callable[[], Node | None], clock: Clock) -> None:
        super().__init__(config)
        settings = config.certificates
        self._calling = self._serving = None
        if settings.renews_client:
            wanted = partial(subjects.of_client, config.node)
            self._calling = Rotation(
                client, asking.CLIENT, Store(settings.client), wanted, clock, bootstrap=settings.bootstrap
            )
            self.collectors = [*self.collectors, *counting.of_client(self._calling, clock)]
        if settings.renews_server:
            wanted_to_serve = partial(_of_server, config.node, node)
            self._serving = Rotation(client, asking.SERVING, Store(settings.server), wanted_to_serve, clock)
            self.collectors = [*self.collectors, *counting.of_server(self._serving, clock)]
            self.files = Files(settings.server, settings.server, config.client_ca, to_come=True)

    def look_again(self) -> None:
        if self._serving is not None:
            self._serving.look_again()

    async def to_serve(self) -> None:
        if self._serving is not None:
            await self._serving.there()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for rotation in filter(None, (self._calling, self._serving)):
                tasks.create_task(rotation.run())


def _of_server(name: str, node: Callable[[], Node | None]) -> Subject | None:
    found = node()
    return subjects.of_server(name, found.status.addresses) if found is not None else None
