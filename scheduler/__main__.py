"""`python -m scheduler`: `--help` lists the flags."""

from random import Random
from typing import Any

from api.types import (
    CSINode,
    Namespace,
    Node,
    PersistentVolume,
    PersistentVolumeClaim,
    Pod,
    PodDisruptionBudget,
    StorageClass,
)
from machinery.client import connect
from machinery.events import Recorder
from machinery.informers import Informer
from machinery.leases import Election
from machinery.running import main, together
from machinery.serving import Server
from scheduler.configs import Config, parse
from scheduler.configurations import DEFAULT, load
from scheduler.groups import KINDS, Groups
from scheduler.scheduling import Scheduler
from scheduler.serving import SERVICE, Explainer


async def run(config: Config) -> None:
    """Schedule until cancelled.  Raises leases.Lost when another process has taken over."""
    configuration = load(config.file) if config.file is not None else DEFAULT
    leads = config.leader_elect if configuration.leader_elect is None else configuration.leader_elect
    async with connect(configuration.kubeconfig or config.kubeconfig) as client:
        nodes, pods, namespaces = Informer(client, Node), Informer(client, Pod), Informer(client, Namespace)
        groups = {kind: Informer(client, kind) for kind in KINDS}
        recorders = {profile.name: Recorder(client, profile.name) for profile in configuration.profiles}
        scheduler = Scheduler(client, recorders, Groups(groups), random=Random(), configuration=configuration)
        scheduler.follow(nodes, pods, namespaces)
        claims, volumes = Informer(client, PersistentVolumeClaim), Informer(client, PersistentVolume)
        classes, csi_nodes = Informer(client, StorageClass), Informer(client, CSINode)
        scheduler.follow_storage(claims, volumes, classes, csi_nodes)
        budgets = Informer(client, PodDisruptionBudget)
        scheduler.follow_budgets(budgets)
        explainer = Explainer(scheduler, pods, nodes)
        server = Server(config.address, config.files, explainer.register, (SERVICE,), allowed=config.allowed)
        informers: list[Informer[Any]] = [
            nodes, pods, namespaces, claims, volumes, classes, csi_nodes, budgets, *groups.values(),
        ]  # fmt: skip

        async def lead() -> None:
            # A decision on half of the nodes would crowd those that happened to come first.
            for informer in informers:
                await informer.synced()
            await scheduler.run()

        async def serve_once_known() -> None:
            for informer in informers:
                await informer.synced()
            await server.ready()

        lease = configuration.lease or config.lease
        leading = Election(client, lease, identity=config.identity).run(lead) if leads else lead()
        told, known = [r.run() for r in recorders.values()], [i.run() for i in informers]
        await together(server.run(), *told, *known, serve_once_known(), leading)


if __name__ == "__main__":
    config = parse()
    main("scheduler", lambda: run(config), verbosity=config.verbosity)
