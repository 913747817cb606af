"""What every controller is given."""

import asyncio
from dataclasses import dataclass, field

from controller_manager.configs import Config
from controller_manager.custom_kinds import CustomKinds
from controller_manager.informing import Informers
from machinery.client import Client
from machinery.clocks import SYSTEM, Clock
from machinery.events import Recorder


@dataclass
class Context:
    """One term of leadership. Controllers are made from it before `run`, and add what they need while they are made."""

    client: Client
    config: Config
    clock: Clock = SYSTEM
    informers: Informers = field(init=False)
    custom_kinds: CustomKinds = field(init=False)
    _recorders: dict[str, Recorder] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.informers = Informers(self.client, self.clock)
        self.custom_kinds = CustomKinds(self.informers)

    def recorder(self, component: str) -> Recorder:
        """The recorder of a controller's events, which carry `component` as their source."""
        if component not in self._recorders:
            self._recorders[component] = Recorder(self.client, component, clock=self.clock)
        return self._recorders[component]

    async def run(self) -> None:
        """Informers and recorders, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.informers.run())
            for recorder in self._recorders.values():
                tasks.create_task(recorder.run())
