"""Evictions and the disruption budgets that they need the leave of."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from api import meta
from api.errors import InternalError, NotFound, TooManyRequests
from api.types import Pod, PodDisruptionBudget
from apiserver.registry import Registry
from apiserver.registry.bootstrapping import bootstrap
from apiserver.storage.transactions import Store
from apiserver.storage.worlds import World
from machinery.testing import FakeClock
from tests.unit.apiserver.core.test_registry import Groups, about, admission, bind, create, get, new_pod, patch

LABELS = {"metadata": {"labels": {"app": "web"}}}


@pytest_asyncio.fixture
async def registry(world: World, store: Store, clock: FakeClock) -> AsyncIterator[Registry]:
    found = Registry(world, store, Groups(), admission, clock)
    await bootstrap(found, "10.96.0.1", ["192.0.2.1"], 6443)
    yield found


async def pod(registry: Registry, name: str, *, ready: bool = True) -> None:
    await new_pod(registry, name, **LABELS)
    await bind(registry, name, "n1")
    condition = {"type": "Ready", "status": str(ready)}
    change = {"status": {"phase": "Running", "conditions": [condition]}}
    await patch(registry, Pod, name, change, subresource="status")


async def budget(registry: Registry, name: str = "pdb", *, policy: str = "", **status: Any) -> None:
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}
    await create(
        registry, PodDisruptionBudget, name, spec=spec | ({"unhealthyPodEvictionPolicy": policy} if policy else {})
    )
    found = await get(registry, PodDisruptionBudget, name)
    counted = {"observedGeneration": 1, "desiredHealthy": 1, "currentHealthy": 1, "disruptionsAllowed": 0} | status
    version = {"resourceVersion": found.metadata.resourceVersion}
    await patch(registry, PodDisruptionBudget, name, {"metadata": version, "status": counted}, subresource="status")


async def evict(registry: Registry, name: str, **options: Any) -> None:
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}, "deleteOptions": options}
    await registry.create(about(Pod, "create", name, "eviction"), json.dumps(body).encode())


def cause(refused: Any) -> str:
    assert refused.value.message == "Cannot evict pod as it would violate the pod's disruption budget."
    [found] = refused.value.details["causes"]
    assert found["reason"] == "DisruptionBudget"
    return str(found["message"])


async def test_an_eviction_spends_what_the_budget_allows(registry: Registry) -> None:
    await pod(registry, "a")
    await pod(registry, "b")
    await budget(registry, currentHealthy=2, disruptionsAllowed=1)
    await evict(registry, "a")
    going = await get(registry, Pod, "a")
    assert going.metadata.deletionTimestamp
    condition = meta.condition(going, "DisruptionTarget")
    assert condition is not None
    assert (condition.reason, condition.message) == ("EvictionByEvictionAPI", "Eviction API: evicting")
    status = (await get(registry, PodDisruptionBudget, "pdb")).status
    assert (status.disruptionsAllowed, list(status.disruptedPods)) == (0, ["a"])
    with pytest.raises(TooManyRequests) as refused:
        await evict(registry, "b")
    assert cause(refused) == "The disruption budget pdb does not allow evicting pods currently"
    assert not (await get(registry, Pod, "b")).metadata.deletionTimestamp


async def test_a_budget_without_room_refuses(registry: Registry) -> None:
    await pod(registry, "a")
    await budget(registry)
    with pytest.raises(TooManyRequests) as refused:
        await evict(registry, "a")
    assert cause(refused) == "The disruption budget pdb needs 1 healthy pods and has 1 currently"


async def test_a_budget_that_nobody_has_counted_yet_refuses(registry: Registry) -> None:
    await pod(registry, "a")
    await budget(registry, observedGeneration=0)
    with pytest.raises(TooManyRequests) as refused:
        await evict(registry, "a")
    assert cause(refused) == "The disruption budget pdb is still being processed by the server."
    assert refused.value.details["retryAfterSeconds"] == 10


@pytest.mark.parametrize(
    ("policy", "healthy", "goes"), [("", 1, True), ("", 0, False), ("IfHealthyBudget", 0, False), ("AlwaysAllow", 0, True)]
)  # fmt: skip
async def test_whether_an_unhealthy_pod_may_go(registry: Registry, policy: str, healthy: int, goes: bool) -> None:
    await pod(registry, "a", ready=False)
    await budget(registry, policy=policy, currentHealthy=healthy)
    if goes:
        await evict(registry, "a")
    else:
        with pytest.raises(TooManyRequests):
            await evict(registry, "a")
    assert bool((await get(registry, Pod, "a")).metadata.deletionTimestamp) == goes


async def test_a_pending_pod_needs_no_leave(registry: Registry) -> None:
    await new_pod(registry, "a", **LABELS)
    await budget(registry)
    await evict(registry, "a")
    with pytest.raises(NotFound):
        await get(registry, Pod, "a")


async def test_two_budgets_for_one_pod_are_refused(registry: Registry) -> None:
    await pod(registry, "a")
    await budget(registry, "one", disruptionsAllowed=1)
    await budget(registry, "two", disruptionsAllowed=1)
    with pytest.raises(InternalError, match="more than one PodDisruptionBudget"):
        await evict(registry, "a")


async def test_a_dry_run_spends_nothing(registry: Registry) -> None:
    await pod(registry, "a")
    await budget(registry, disruptionsAllowed=1)
    await evict(registry, "a", dryRun=["All"])
    assert not (await get(registry, Pod, "a")).metadata.deletionTimestamp
    assert (await get(registry, PodDisruptionBudget, "pdb")).status.disruptionsAllowed == 1
