"""The pages that tell what the node and its pods use."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace

from aiohttp import web
from prometheus_client.metrics_core import Metric

from api import times
from api.types import Pod
from kubelet.nodes.machines import Machine
from kubelet.usage.cgroups import boot_time, most_processes
from kubelet.usage.container_samples import container_samples
from kubelet.usage.disks import Disks
from kubelet.usage.looking import ContainerUse, Look, Looking, PodUse
from kubelet.usage.resource_samples import resource_samples
from kubelet.usage.summaries import About, summary
from kubelet.web.pages import document
from machinery.metrics import rendered


class Measures:
    """`pods` are those assigned to the node."""

    def __init__(
        self, node: str, machine: Machine, looking: Looking, disks: Disks, pods: Callable[[], Iterable[Pod]]
    ) -> None:  # fmt: skip
        self._node = node
        self._machine = machine
        self._looking = looking
        self._disks = disks
        self._pods = pods

    async def summary(self, request: web.BaseRequest) -> web.Response:
        """https://kubernetes.io/docs/reference/instrumentation/node-metrics/#summary-api-source"""
        only = request.query.get("only_cpu_and_memory") == "true"
        before, after = await self._looking.two_looks()
        pods = {p.metadata.uid: p for p in self._pods()}
        about = About(
            node=self._node, started=boot_time(), max_processes=most_processes(), files=self._disks.node(),
            images=0 if only else await self._disks.images(),
            pods={uid: times.parse(p.status.startTime) for uid, p in pods.items() if p.status.startTime},
        )  # fmt: skip
        if not only:
            after = await self._with_disks(after, pods)
        return document(summary(before, after, about, only_cpu_and_memory=only))

    async def resource(self, request: web.BaseRequest) -> web.Response:
        look = await self._looking.look()
        return await _shown(request, resource_samples(look))

    async def cadvisor(self, request: web.BaseRequest) -> web.Response:
        look = await self._looking.look()
        return await _shown(request, container_samples(look, self._machine))

    async def _with_disks(self, look: Look, pods: dict[str, Pod]) -> Look:
        return replace(look, pods=tuple(await asyncio.gather(*(self._filled(p, pods.get(p.uid)) for p in look.pods))))

    async def _filled(self, use: PodUse, pod: Pod | None) -> PodUse:
        volumes = await self._disks.volumes(pod) if pod is not None else []
        containers = await asyncio.gather(*map(self._layered, use.containers))
        return replace(use, volumes=tuple(volumes), containers=tuple(containers))

    async def _layered(self, use: ContainerUse) -> ContainerUse:
        return replace(use, layer=await self._disks.layer(use.record))


async def _shown(request: web.BaseRequest, families: Iterable[Metric]) -> web.Response:
    # Thousands of lines: meanwhile others have their turn.
    media, body = await asyncio.to_thread(rendered, families, request.headers.get("Accept", ""))
    return web.Response(body=body, headers={"Content-Type": media})
