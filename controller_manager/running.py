"""One process: the port, the election, and while leading the controllers."""

import asyncio
import logging

from controller_manager.catalogue import CONTROLLERS, enabled
from controller_manager.configs import Config
from controller_manager.contexts import Context
from controller_manager.introspection import SERVICE, Introspection
from machinery import kubeconfigs
from machinery.client import Client, connect
from machinery.clocks import SYSTEM, Clock
from machinery.controllers import Controller
from machinery.leases import Election
from machinery.running import CannotGoOn
from machinery.serving import Server

log = logging.getLogger(__name__)


class Term:
    """The controllers of one term of leadership."""

    def __init__(self, config: Config, client: Client, clock: Clock = SYSTEM) -> None:
        self._context = Context(client, config, clock)
        self.controllers: list[Controller] = enabled(self._context)

    async def run(self) -> None:
        """Reconciles until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._context.run())
            for controller in self.controllers:
                tasks.create_task(controller.run(), name=controller.name)

    async def synced(self) -> None:
        """Returns when every informer knows the world."""
        await self._context.informers.synced()


async def run(config: Config) -> None:
    """The controller manager, until cancelled.  Raises CannotGoOn, or leases.Lost when another one leads now."""
    check_names(config)
    term: Term | None = None

    def controllers() -> list[Controller]:
        return term.controllers if term is not None else []

    try:
        target = kubeconfigs.load(config.kubeconfig).target
    except kubeconfigs.Unusable as e:
        raise CannotGoOn(str(e)) from e
    async with connect(config.kubeconfig) as client, asyncio.TaskGroup() as tasks:
        server = Server(
            config.address, config.tls, Introspection(controllers).register, (SERVICE,), allowed=config.allowed
        )
        serving = [tasks.create_task(server.run())]
        monitoring = None
        if config.metrics_address:
            # Imported only here: HTTP and the format of metrics cost memory that most do not want to spend.
            from controller_manager.monitoring import Monitoring

            monitoring = Monitoring(config, client, target, lambda: term is not None)
            serving.append(tasks.create_task(monitoring.run()))

        async def lead() -> None:
            nonlocal term
            term = Term(config, client)
            if monitoring is not None:
                monitoring.follow(term.controllers)
            await term.run()

        # Standing by is as healthy as leading.
        await server.ready()
        if config.leader_elect:
            await Election(client, config.lease, identity=config.identity, timing=config.timing).run(lead)
        else:
            await lead()
        for task in serving:
            task.cancel()


def check_names(config: Config) -> None:
    """Raises CannotGoOn if `--controllers` names one that does not exist."""
    for name in config.controllers:
        if name != "*" and name.removeprefix("-") not in CONTROLLERS:
            known = ", ".join(CONTROLLERS)
            raise CannotGoOn(f'"{name}" is not in the list of known controllers: {known}')
