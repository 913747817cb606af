"""The APIServices of what is served here: made by the server itself, and made again if somebody deletes them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, NoReturn

from api import kinds, meta, times
from api.errors import AlreadyExists, ApiError, Conflict, NotFound
from api.types import APIService, APIServiceCondition, APIServiceSpec, CustomResourceDefinition, ObjectMeta
from apiserver.aggregation.routes import API_SERVICES
from apiserver.authorization import SELF
from apiserver.catalogue import Catalogue
from apiserver.registry import Registry
from apiserver.requests import DeleteOptions, Request, User
from apiserver.storage.tables import EVERYTHING
from apiserver.storage.worlds import World
from machinery.clocks import Clock

CRDS = kinds.of(CustomResourceDefinition)
USER = User(SELF, groups=("system:masters",))
LABEL = "kube-aggregator.kubernetes.io/automanaged"
ON_START, ALWAYS = "onstart", "true"
"""Of built-in groups, and of those that come and go with their definitions."""
AGAIN_SECONDS = 1.0
CUSTOM = (1000, 100)
_GROUPS = {
    "": 18000, "apps": 17800, "events.k8s.io": 17750, "authentication.k8s.io": 17700, "authorization.k8s.io": 17600,
    "autoscaling": 17500, "batch": 17400, "certificates.k8s.io": 17300, "networking.k8s.io": 17200, "policy": 17100,
    "rbac.authorization.k8s.io": 17000, "storage.k8s.io": 16800, "apiextensions.k8s.io": 16700,
    "admissionregistration.k8s.io": 16700, "scheduling.k8s.io": 16600, "coordination.k8s.io": 16500,
    "node.k8s.io": 16300, "discovery.k8s.io": 16200, "resource.k8s.io": 16200, "flowcontrol.apiserver.k8s.io": 16100,
}  # fmt: skip
_VERSIONS = {("", "v1"): 1, ("autoscaling", "v2"): 30, ("flowcontrol.apiserver.k8s.io", "v1"): 21}
_USUAL = 15
log = logging.getLogger(__name__)


class Registrar:
    """`settled` returns when the catalogue shows what was stored before."""

    def __init__(
        self,
        world: World,
        registry: Registry,
        catalogue: Catalogue,
        settled: Callable[[], Awaitable[None]],
        clock: Clock,
    ) -> None:
        self._world = world
        self._settled = settled
        self._registry = registry
        self._catalogue = catalogue
        self._clock = clock

    async def run(self) -> NoReturn:
        """Safe to run in several API servers at once."""
        changed = asyncio.Event()
        changed.set()
        async with asyncio.TaskGroup() as tasks:
            for kind in (CRDS, API_SERVICES):
                tasks.create_task(self._listen(kind, changed))
            while True:
                await changed.wait()
                changed.clear()
                try:
                    await self.ensure()
                except ApiError as e:
                    log.warning("API services: %s", e)
                    await self._clock.sleep(AGAIN_SECONDS)
                    changed.set()
        raise AssertionError("neither of these returns")

    async def _listen(self, kind: kinds.Kind, changed: asyncio.Event) -> NoReturn:
        while True:
            with self._world.watcher(kind, "", EVERYTHING, bookmarks=False) as watcher:
                while await watcher.take():
                    changed.set()

    async def ensure(self) -> None:
        await self._settled()
        wanted = {service.metadata.name: service for service in self._wanted()}
        present = {s.metadata.name: s for s in self._registry.objects.list_cached(API_SERVICES)}
        for name, service in wanted.items():
            with suppress(AlreadyExists, Conflict, NotFound):  # another API server does the same
                if name not in present:
                    await self._registry.create(_request("create", ""), meta.encode(service))
                    await self._set_available(name)
                elif present[name].spec.service is None and not meta.is_true(present[name], "Available"):
                    await self._set_available(name)
        for name, service in present.items():
            if name not in wanted and service.metadata.labels.get(LABEL) == ALWAYS:
                with suppress(NotFound, Conflict):
                    await self._registry.delete(_request("delete", name), DeleteOptions(uid=service.metadata.uid))

    def _wanted(self) -> list[APIService]:
        customs = {(k.group, k.version) for k in self._catalogue.customs()}
        built_in = {(k.group, k.version) for k in self._catalogue.built_in() if k.group in _GROUPS}
        return [
            *(_service(*gv, ON_START) for gv in sorted(built_in)),
            *(_service(*gv, ALWAYS) for gv in sorted(customs)),
        ]

    async def _set_available(self, name: str) -> None:
        document = await self._registry.get(_request("get", name))
        service = meta.decode(document, APIService)
        condition = available("True", "Local", "Local APIServices are always available", self._clock)
        if meta.set_condition(service.status.conditions, condition):
            await self._registry.update(_request("update", name, "status"), meta.encode(service))


def _service(group: str, version: str, managed: str) -> APIService:
    if managed == ALWAYS:
        of_group, of_version = CUSTOM
    else:
        of_group, of_version = _GROUPS[group], _VERSIONS.get((group, version), _USUAL)
    return APIService(
        metadata=ObjectMeta(name=f"{version}.{group}", labels={LABEL: managed}),
        spec=APIServiceSpec(
            group=group, version=version, groupPriorityMinimum=of_group, versionPriority=of_version
        ),
    )  # fmt: skip


def available(status: str, reason: str, message: str, clock: Clock) -> APIServiceCondition:
    return APIServiceCondition(
        type="Available", status=status, reason=reason, message=message,
        lastTransitionTime=times.format(clock.now()),
    )  # fmt: skip


def _request(verb: str, name: str, subresource: str = "") -> Request:
    return Request(USER, verb, API_SERVICES, name=name, subresource=subresource, field_manager="apiserver")


async def tell(registry: Registry, name: str, condition: Any) -> None:
    """Put the condition into the APIService's status, if it says anything new."""
    with suppress(NotFound, Conflict):
        service = meta.decode(await registry.get(_request("get", name)), APIService)
        if meta.set_condition(service.status.conditions, condition):
            await registry.update(_request("update", name, "status"), meta.encode(service))
