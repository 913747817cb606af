"""What the controller manager tells those who watch it."""

from collections.abc import Callable, Sequence

from controller_manager.configs import Config
from machinery.client import Client
from machinery.controllers import Controller
from machinery.measuring import Queues, leadership, requests
from machinery.metrics import Exposition
from machinery.monitoring import Monitor


class Monitoring:
    def __init__(self, config: Config, client: Client, server: str, is_leading: Callable[[], bool]) -> None:
        """`server` is the API server's address."""
        self._queues = Queues()
        exposition = Exposition([*self._queues.collectors, requests(client, server)])
        if config.leader_elect:
            exposition.add(leadership(config.lease, is_leading))
        self._monitor = Monitor(config.metrics_address, config.tls, exposition, allowed=config.allowed)

    def follow(self, controllers: Sequence[Controller]) -> None:
        """These are at work now."""
        self._queues.follow(controllers)

    async def run(self) -> None:
        """Answer until cancelled."""
        await self._monitor.run()
