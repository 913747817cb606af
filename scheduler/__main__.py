"""`python -m scheduler`: `--help` lists the flags."""

import asyncio
from functools import partial
from random import Random
from typing import Any

from api import errors
from api.types import (
    CSINode,
    DeviceClass,
    Namespace,
    Node,
    PersistentVolume,
    PersistentVolumeClaim,
    Pod,
    PodDisruptionBudget,
    PodGroup,
    ResourceSlice,
    ResourceV1ResourceClaim,
    StorageClass,
)
from machinery import kubeconfigs
from machinery.client import connect
from machinery.events import Recorder
from machinery.informers import Informer
from machinery.leases import Election
from machinery.running import main, together
from machinery.serving import Server
from scheduler.configs import Config, parse
from scheduler.configurations import DEFAULT, load
from scheduler.following import Following
from scheduler.groups import KINDS, Groups
from scheduler.scheduling import Scheduler
from scheduler.serving import SERVICE, Explainer

RETRY_SECONDS = 0.2


async def refreshed(informer: Informer[Any]) -> None:
    while True:
        try:
            return await informer.refresh()
        except errors.ApiError:
            await asyncio.sleep(RETRY_SECONDS)


async def run(config: Config) -> None:
    """Schedule until cancelled.  Raises CannotGoOn, or leases.Lost when another process has taken over."""
    configuration = load(config.file) if config.file is not None else DEFAULT
    leads = config.leader_elect if configuration.leader_elect is None else configuration.leader_elect
    kubeconfig = configuration.kubeconfig or config.kubeconfig
    target = kubeconfigs.load(kubeconfig).target
    async with connect(kubeconfig) as client:
        nodes, pods, namespaces = Informer(client, Node), Informer(client, Pod), Informer(client, Namespace)
        groups = {kind: Informer(client, kind) for kind in KINDS}
        recorders = {profile.name: Recorder(client, profile.name) for profile in configuration.profiles}
        scheduler = Scheduler(client, recorders, Groups(groups), random=Random(), configuration=configuration)
        following = Following(scheduler)
        following.follow(nodes, pods, namespaces)
        claims, volumes = Informer(client, PersistentVolumeClaim), Informer(client, PersistentVolume)
        classes, csi_nodes = Informer(client, StorageClass), Informer(client, CSINode)
        following.follow_storage(claims, volumes, classes, csi_nodes)
        device_claims, slices = Informer(client, ResourceV1ResourceClaim), Informer(client, ResourceSlice)
        device_classes = Informer(client, DeviceClass)
        following.follow_devices(device_claims, device_classes, slices)
        budgets = Informer(client, PodDisruptionBudget)
        following.follow_budgets(budgets)
        pod_groups = [Informer(client, PodGroup)] if "GenericWorkload" in config.gates else []
        for each in pod_groups:
            following.follow_groups(each)
        if configuration.extenders:
            # Imported only here: an HTTP client costs memory that most do not want to spend.
            from scheduler.extenders import Extenders

            scheduler.ask(Extenders(configuration.extenders, partial(nodes.get, ""), scheduler.snapshot.pods))
        explainer = Explainer(scheduler, pods, nodes)
        server = Server(config.address, config.files, explainer.register, (SERVICE,), allowed=config.allowed)
        informers: list[Informer[Any]] = [
            nodes, pods, namespaces, claims, volumes, classes, csi_nodes, device_claims, device_classes, slices,
            budgets, *groups.values(), *pod_groups,
        ]  # fmt: skip

        leading = not leads

        async def lead() -> None:
            nonlocal leading
            leading = True
            # A decision on half of the nodes would crowd those that happened to come first.
            for informer in informers:
                await informer.synced()
            # And one that does not know yet what the one before has bound last, would crowd a node, or give devices to
            # two pods.
            for known in (nodes, pods, device_claims, slices) if leads else ():
                await refreshed(known)
            await scheduler.run()

        async def serve_once_known() -> None:
            for informer in informers:
                await informer.synced()
            await server.ready()

        lease = configuration.lease or config.lease
        work = [
            Election(client, lease, identity=config.identity, timing=configuration.timing or config.timing).run(lead)
            if leads
            else lead()
        ]
        if config.metrics_address:
            # Imported only here: HTTP costs memory that most do not want to spend.
            from scheduler.monitoring import monitor

            synced = [partial(getattr, informer, "has_synced") for informer in informers]
            exposition = scheduler.metrics.exposition
            work.append(
                monitor(
                    config, configuration, exposition, client, target, is_leading=lambda: leading, synced=synced
                ).run()
            )
        told, known = [r.run() for r in recorders.values()], [i.run() for i in informers]
        await together(server.run(), *told, *known, serve_once_known(), *work)


if __name__ == "__main__":
    config = parse()
    main("scheduler", lambda: run(config), verbosity=config.verbosity)
