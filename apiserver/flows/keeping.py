"""Makes the default flow schemas and priority levels, and keeps the statuses of all flow schemas."""

import asyncio
import logging
from contextlib import suppress
from typing import Any

import msgspec

from api import meta, times
from api.errors import AlreadyExists, ApiError, Conflict
from api.kinds import Kind
from api.types import FlowSchema
from apiserver.authorization import SELF
from apiserver.flows import defaults
from apiserver.flows.classifying import LEVELS, SCHEMAS
from apiserver.registry import Registry
from apiserver.requests import Request, User, WatchOptions
from machinery.clocks import Clock

USER = User(SELF, groups=("system:masters",))
MANAGER = "api-priority-and-fairness-config-consumer-v1"
PAUSE = 1.0
MAINTAINED = 60.0
"""Seconds from one look at the defaults to the next: upstream's. Not whenever they change: two servers of different
releases, that want different ones, would never rest."""
log = logging.getLogger(__name__)


async def ensure(registry: Registry) -> None:
    """Make what is missing, and restore the specs of those that are kept up.  Safe from several servers at once."""
    for wanted in (*defaults.priority_levels(), *defaults.flow_schemas()):
        await _ensure(registry, wanted)


async def _ensure(registry: Registry, wanted: Any) -> None:
    kind, name = meta.kind_of(wanted), wanted.metadata.name
    present = registry.objects.get_cached(kind, "", name)
    request = Request(USER, "create", kind, field_manager="api-priority-and-fairness-config-producer-v1")
    with suppress(AlreadyExists, Conflict):  # another API server does it now
        if present is None:
            await registry.create(request, meta.encode(wanted))
            return
        kept = name in defaults.MANDATORY or present.metadata.annotations.get(defaults.AUTOUPDATE) == "true"
        if kept and meta.encode(present.spec) != meta.encode(wanted.spec):
            restored = meta.clone(present)
            restored.spec = wanted.spec
            await registry.update(request.at(verb="update", name=name), meta.encode(restored))


async def keep(registry: Registry, clock: Clock) -> None:
    """Until cancelled."""
    async with asyncio.TaskGroup() as tasks:
        for kind in (SCHEMAS, LEVELS):
            tasks.create_task(_follow(registry, clock, kind))
        tasks.create_task(_maintain(registry, clock))


async def _maintain(registry: Registry, clock: Clock) -> None:
    while True:
        await clock.sleep(MAINTAINED)
        try:
            await registry.objects.fresh()
            await ensure(registry)
        except ApiError as e:
            log.warning("cannot keep the default flow schemas and priority levels: %s", e)


async def _follow(registry: Registry, clock: Clock, kind: Kind) -> None:
    while True:
        try:
            async for _ in await registry.watch(Request(USER, "watch", kind), WatchOptions()):
                await _statuses(registry, clock)
        except ApiError as e:
            log.warning("cannot keep the statuses of flow schemas: %s", e)
        await clock.sleep(PAUSE)


async def _statuses(registry: Registry, clock: Clock) -> None:
    """Raises ApiError."""
    await registry.objects.fresh()  # the priority level is mostly made right before
    levels = {level.metadata.name for level in registry.objects.list_cached(LEVELS)}
    for schema in registry.objects.list_cached(SCHEMAS):
        reference = schema.spec.priorityLevelConfiguration
        name = reference.name if reference is not None else ""
        told = _condition(name, name in levels)
        if any(all(getattr(c, key) == value for key, value in told.items()) for c in schema.status.conditions):
            continue
        condition = told | {"lastTransitionTime": times.format(clock.now())}
        await _tell(registry, schema, condition)


def _condition(name: str, exists: bool) -> dict[str, str]:
    what = f'This FlowSchema references the PriorityLevelConfiguration object named "{name}"'
    if exists:
        return {"type": "Dangling", "status": "False", "reason": "Found", "message": f"{what} and it exists"}
    return {
        "type": "Dangling", "status": "True", "reason": "NotFound", "message": f"{what} but there is no such object",
    }  # fmt: skip


async def _tell(registry: Registry, schema: FlowSchema, condition: dict[str, str]) -> None:
    patch = {"metadata": {"uid": schema.metadata.uid}, "status": {"conditions": [condition]}}
    request = Request(
        USER, "patch", SCHEMAS, name=schema.metadata.name, subresource="status", field_manager=MANAGER
    )  # fmt: skip
    try:
        await registry.patch(request, msgspec.json.encode(patch), "strategic")
    except ApiError as e:
        log.info("the status of flow schema %s is not told: %s", schema.metadata.name, e)
