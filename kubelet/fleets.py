"""Many simulated nodes in one process.

Each is a whole kubelet with its own Node, Lease, range of pod addresses, ports and watch of its pods.  What is the same
for all of them they share: the connection to the API server, the view of Services and Nodes, and the engine.

A file named `unreachable` in the root directory takes the engine away from all of them for as long as it is there.
"""

import asyncio
from dataclasses import replace
from pathlib import Path

from kubelet.agents import Agent, Views
from kubelet.certificates.holding import connected
from kubelet.config import Config
from kubelet.runtime.simulated import Engine, Simulated, SimulatedNetwork
from machinery.client import Client
from machinery.clocks import Clock

OUTAGE = "unreachable"


async def run(config: Config, clock: Clock) -> None:
    """Until cancelled."""
    async with connected(config, clock) as client:
        await Fleet(config, client, clock).run()


class Fleet:
    def __init__(self, config: Config, client: Client, clock: Clock) -> None:
        outage = config.root / OUTAGE
        simulation = config.simulation
        self.engine = Engine(
            clock, simulation.latency, missing=set(simulation.missing), reachable=lambda: not outage.exists()
        )
        self._views = Views.of(client, clock)
        self._agents = [self._agent(each, client, clock) for each in members(config)]

    def _agent(self, config: Config, client: Client, clock: Clock) -> Agent:
        config.root.mkdir(parents=True, exist_ok=True)
        runtime = Simulated(config.cluster, config.node, engine=self.engine)
        return Agent(config, client, runtime, SimulatedNetwork(), clock, self._views)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._views.run())
            for agent in self._agents:
                tasks.create_task(agent.run())


def members(config: Config) -> list[Config]:
    """The configuration of each node; one alone keeps its name."""
    if config.simulation.nodes == 1:
        return [config]
    return [
        replace(
            config, node=(name := f"{config.node}-{number}"), root=config.root / name, port=config.port + 2 * number,
            grpc_port=config.grpc_port + 2 * number, images=replace(config.images, records=_of(config.root / name)),
        )
        for number in range(config.simulation.nodes)
    ]  # fmt: skip


def _of(root: Path) -> Path:
    return root / "image_manager"
