"""`python -m scheduler`: `--help` lists the flags."""

from random import Random
from typing import Any

from api.types import Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, StorageClass
from machinery.client import connect
from machinery.events import Recorder
from machinery.informers import Informer
from machinery.leases import Election
from machinery.running import main, together
from machinery.serving import Server
from scheduler.configs import Config, parse
from scheduler.groups import KINDS, Groups
from scheduler.scheduling import NAME, Scheduler
from scheduler.serving import SERVICE, Explainer


async def run(config: Config) -> None:
    """Schedule until cancelled.  Raises leases.Lost when another process has taken over."""
    async with connect(config.kubeconfig) as client:
        nodes, pods, namespaces = Informer(client, Node), Informer(client, Pod), Informer(client, Namespace)
        groups = {kind: Informer(client, kind) for kind in KINDS}
        recorder = Recorder(client, NAME)
        scheduler = Scheduler(client, recorder, Groups(groups), random=Random())
        scheduler.follow(nodes, pods, namespaces)
        claims, volumes = Informer(client, PersistentVolumeClaim), Informer(client, PersistentVolume)
        classes = Informer(client, StorageClass)
        scheduler.follow_storage(claims, volumes, classes)
        explainer = Explainer(scheduler, pods)
        server = Server(config.address, config.files, explainer.register, (SERVICE,), allowed=config.allowed)
        informers: list[Informer[Any]] = [
            nodes, pods, namespaces, claims, volumes, classes, *groups.values(),
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

        leading = Election(client, config.lease, identity=config.identity).run(lead) if config.leader_elect else lead()
        await together(server.run(), recorder.run(), *(i.run() for i in informers), serve_once_known(), leading)


if __name__ == "__main__":
    config = parse()
    main("scheduler", lambda: run(config), verbosity=config.verbosity)
