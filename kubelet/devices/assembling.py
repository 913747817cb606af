"""The parts about devices put together."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path

from prometheus_client.registry import Collector

from api.types import ResourceV1ResourceClaim
from kubelet.config import Config
from kubelet.devices.drivers import Drivers
from kubelet.devices.metrics import Metrics
from kubelet.devices.preparing import Prepared
from kubelet.devices.records import Records
from kubelet.devices.registering import Registry
from kubelet.devices.slices import Sweeper
from kubelet.runtime.interfaces import Spec
from machinery.client import Client
from machinery.clocks import Clock

REGISTRY, PLUGINS, STATE = "plugins_registry", "plugins", "dra_manager_state"


class Assembled:
    """`on_change` is called when a driver has come, gone or been lost.

    A simulated node looks for drivers from its first pod with claims on, or if it has had some: a thousand nodes would
    be a thousand watches for nothing.
    """

    def __init__(self, config: Config, client: Client, clock: Clock, machine: Path | None, *, simulated: bool) -> None:
        """`machine` is where this process sees the machine's root directory, None if it does not."""
        self.on_change: Callable[[], None] = lambda: None
        self._root = config.root
        self._lazy = simulated
        self._paths = config.host_paths
        metrics, drivers = Metrics(clock), Drivers()
        self.collectors: list[Collector] = metrics.collectors

        async def claim(namespace: str, name: str) -> ResourceV1ResourceClaim:
            return await client.get(ResourceV1ResourceClaim, name, namespace)

        def inject(spec: Spec, names: list[str]) -> Spec:
            from kubelet.devices.cdi import Library  # a quarter of a megabyte that only devices need

            return Library(config.devices.cdi, self._paths, machine).inject(spec, names)

        state = Records(config.root / STATE)
        self.prepared = Prepared(claim, drivers, state, None if simulated else inject, metrics, clock)
        self._registry = Registry(config.root / REGISTRY, drivers, metrics, clock, self._paths.real)
        self._sweeper = Sweeper(client, config.node, drivers.usable, clock)
        drivers.on_change = self._changed

    def _changed(self, driver: str) -> None:
        self._sweeper.changed(driver)
        self.on_change()

    async def run(self, complete: Callable[[], Awaitable[None]], known: Callable[[], Collection[str]]) -> None:
        """Until cancelled.  `known` says which pods this node has, by uid, once `complete` has returned."""
        had_some = not self._lazy or (self._root / REGISTRY).exists()
        if not had_some:
            await self.prepared.asked.wait()
        self._make_directories()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sweeper.run(at_first=had_some))
            tasks.create_task(self._registry.run())
            await complete()
            tasks.create_task(self.prepared.run(known))

    def _make_directories(self) -> None:
        """What drivers' pods mount must be there."""
        moved = [] if self._lazy else [Path(place) for _, place in self._paths.moved]
        for place in (self._root / REGISTRY, self._root / PLUGINS, *moved):
            place.mkdir(parents=True, exist_ok=True)
