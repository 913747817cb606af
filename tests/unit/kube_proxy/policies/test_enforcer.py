import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from kube_proxy.nftables import Nftables
from kube_proxy.policies.enforcer import CHECK_SECONDS, COALESCE_SECONDS, Enforcer
from kube_proxy.policies.table import PolicyTable
from machinery.testing import FakeClock, settle
from tests.unit.kube_proxy.policies.clusters import NODE, PODS, Cluster, policy

DENY = "{podSelector: {}}"


class Watched(PolicyTable):
    """Tells when it was written, and what checks have found."""

    def __init__(self, kernel: Nftables) -> None:
        super().__init__(kernel)
        self.done = asyncio.Event()
        self.repairs: list[bool] = []
        self._loop = asyncio.get_running_loop()

    def apply(self, content):  # type: ignore[no-untyped-def]
        found = super().apply(content)
        self._loop.call_soon_threadsafe(self.done.set)
        return found

    def repair(self) -> bool:
        found = super().repair()
        self.repairs.append(found)
        return found

    async def written(self) -> None:
        async with asyncio.timeout(20):
            await self.done.wait()
        self.done.clear()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def passing(clock: FakeClock, holds: Callable[[], bool]) -> None:
    """Lets changes that come together be taken together until something holds."""
    async with asyncio.timeout(20):
        while not holds():
            await settle()
            await clock.advance(COALESCE_SECONDS)


@asynccontextmanager
async def running(cluster: Cluster, kernel: Nftables, clock: FakeClock) -> AsyncIterator[Watched]:
    table = Watched(kernel)
    worlds = (cluster.policies, cluster.namespaces, cluster.pods, cluster.nodes)
    enforcer = Enforcer(*worlds, table, node=NODE, clock=clock)  # type: ignore[arg-type]
    for world in worlds:
        for each in world.list():
            world.drop(each)
            world.put(each)
    task = asyncio.create_task(enforcer.run())
    try:
        yield table
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_pods_are_followed_from_the_first_policy_on_and_leftovers_go_before(
    cluster: Cluster, policy_kernel: Nftables, clock: FakeClock
) -> None:
    policy_kernel.run("table ip kube-policies { chain old { type filter hook forward priority 10; drop; }\n}")
    cluster.policies.complete.set()
    cluster.nodes.complete.set()
    async with running(cluster, policy_kernel, clock) as table:
        await table.written()
        assert "old" not in policy_kernel.structure("kube-policies")
        assert not cluster.pods.followed
        cluster.put(policy("x", DENY))
        await passing(clock, lambda: cluster.pods.followed)
        assert not table.done.is_set(), "half of the pods would be kept from what they are allowed"
        cluster.pods.complete.set()
        cluster.namespaces.complete.set()
        await table.written()
        assert PODS["x/a"] in policy_kernel.listed("kube-policies", "ingress-pods")


async def test_what_was_deleted_by_hand_comes_back_at_the_next_check(
    cluster: Cluster, policy_kernel: Nftables, clock: FakeClock
) -> None:
    for world in (cluster.policies, cluster.namespaces, cluster.pods, cluster.nodes):
        world.complete.set()
    cluster.put(policy("x", DENY))
    async with running(cluster, policy_kernel, clock) as table:
        await table.written()
        policy_kernel.run("delete table ip kube-policies")
        await settle()
        await clock.advance(CHECK_SECONDS)
        await passing(clock, lambda: table.repairs == [True])
    assert PODS["x/a"] in policy_kernel.listed("kube-policies", "ingress-pods")


async def test_stopping_leaves_what_is_forbidden_forbidden(
    cluster: Cluster, policy_kernel: Nftables, clock: FakeClock
) -> None:
    for world in (cluster.policies, cluster.namespaces, cluster.pods, cluster.nodes):
        world.complete.set()
    cluster.put(policy("x", DENY))
    async with running(cluster, policy_kernel, clock) as table:
        await table.written()
    assert PODS["x/a"] in policy_kernel.listed("kube-policies", "ingress-pods")
