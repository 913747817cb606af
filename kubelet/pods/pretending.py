"""Probes and hooks of simulated containers: their addresses lead nowhere, so the engine itself is asked."""

import asyncio

from api.types import Container
from kubelet.pods.handlers import Action, HandlerFailed, Handlers
from kubelet.runtime.simulated import Simulated


class SimulatedHandlers(Handlers):
    """Commands run as everywhere; over the network a healthy container answers, and any other refuses."""

    def __init__(self, runtime: Simulated) -> None:
        super().__init__(runtime)
        self._simulated = runtime

    async def run(self) -> None:
        await asyncio.get_running_loop().create_future()

    async def perform(
        self, action: Action, container: Container, container_id: str, address: str, timeout: float
    ) -> str:
        if action.exec is not None:
            return await super().perform(action, container, container_id, address, timeout)
        if not self._simulated.is_healthy(container_id):
            raise HandlerFailed(f"dial tcp {address}: connect: connection refused")
        return ""
