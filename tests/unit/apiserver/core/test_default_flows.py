"""The default flow schemas and priority levels in the store."""

import asyncio

from api import meta
from api.errors import NotFound
from apiserver.flows import keeping
from apiserver.flows.classifying import LEVELS, SCHEMAS
from apiserver.registry import Registry
from apiserver.requests import DeleteOptions, Request, User
from machinery.testing import FakeClock, settle
from tests.unit.apiserver.core.test_registry import registry  # noqa: F401 - a fixture

ADMIN = User("root", groups=("system:masters",))
OTHER = "workload-low"


async def revision(registry: Registry, kind: keeping.Kind, name: str) -> str:  # noqa: F811
    stored = meta.decode(await registry.get(Request(ADMIN, "get", kind, name=name)), kind.type)
    return str(stored.metadata.resourceVersion)


async def test_they_are_made_once(registry: Registry) -> None:  # noqa: F811
    await keeping.ensure(registry)
    before = await revision(registry, SCHEMAS, "exempt"), await revision(registry, LEVELS, OTHER)
    await registry.objects.fresh()
    await keeping.ensure(registry)
    assert before == (await revision(registry, SCHEMAS, "exempt"), await revision(registry, LEVELS, OTHER))


async def test_what_was_deleted_comes_back_while_the_server_runs(registry: Registry) -> None:  # noqa: F811
    clock = FakeClock()
    await keeping.ensure(registry)
    keeper = asyncio.create_task(keeping.keep(registry, clock))
    await settle()
    for kind, name in ((SCHEMAS, "catch-all"), (LEVELS, OTHER)):
        await registry.delete(Request(ADMIN, "delete", kind, name=name), DeleteOptions())
    await clock.advance(keeping.MAINTAINED)
    async with asyncio.timeout(10):
        for kind, name in ((SCHEMAS, "catch-all"), (LEVELS, OTHER)):
            while not await exists(registry, kind, name):
                await registry.objects.fresh()
    keeper.cancel()
    await asyncio.gather(keeper, return_exceptions=True)


async def exists(registry: Registry, kind: keeping.Kind, name: str) -> bool:  # noqa: F811
    try:
        await registry.get(Request(ADMIN, "get", kind, name=name))
    except NotFound:
        return False
    return True
