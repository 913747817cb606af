"""Pod disruption budgets: the counts that evictions are judged by."""

from typing import Any

import pytest

from api import meta, times
from api.meta import Key
from api.types import (
    LabelSelector,
    ObjectMeta,
    Pod,
    PodCondition,
    PodDisruptionBudget,
    PodDisruptionBudgetSpec,
    ReplicaSet,
)  # fmt: skip
from machinery.testing import FakeClock
from tests.unit.controller_manager.making import LABELS, make_ready, pod, replica_set
from tests.unit.controller_manager.worlds import World, controllers, rest

DISRUPTION = "disruption-controller"


def budget(**spec: Any) -> PodDisruptionBudget:
    spec.setdefault("selector", LabelSelector(matchLabels=dict(LABELS)))
    return PodDisruptionBudget(
        metadata=ObjectMeta(name="pdb", namespace="default"), spec=PodDisruptionBudgetSpec(**spec)
    )


async def web(world: World, replicas: int, ready: int) -> list[Pod]:
    owner = await world.create(replica_set(replicas=replicas))
    pods = [await world.create(pod(f"p{n}", owner=owner)) for n in range(replicas)]
    await make_ready(world, *pods[:ready])
    return pods


def status(world: World) -> tuple[int, int, int, int]:
    s = world.one(PodDisruptionBudget, "pdb").status
    return s.currentHealthy, s.desiredHealthy, s.expectedPods, s.disruptionsAllowed


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"minAvailable": 3}, (4, 3, 5, 1)),
        ({"minAvailable": 5}, (4, 5, 5, 0)),
        ({"minAvailable": "50%"}, (4, 3, 5, 1)),
        ({"maxUnavailable": 2}, (4, 3, 5, 1)),
        ({"maxUnavailable": "30%"}, (4, 3, 5, 1)),
        ({"maxUnavailable": 9}, (4, 0, 5, 4)),
        ({"minAvailable": 0, "selector": None}, (0, 0, 0, 0)),
    ],
)  # fmt: skip
async def test_what_a_budget_allows(world: World, spec: dict[str, Any], expected: tuple[int, ...]) -> None:
    await web(world, 5, ready=4)
    async with controllers(world, DISRUPTION):
        await world.create(budget(**spec))
        await rest()
        assert status(world) == expected
        found = world.one(PodDisruptionBudget, "pdb").status
        assert found.observedGeneration == 1
        [condition] = found.conditions
        reason = "SufficientPods" if expected[3] else "InsufficientPods"
        assert (condition.type, condition.status, condition.reason) == (
            "DisruptionAllowed",
            str(expected[3] > 0),
            reason,
        )


async def test_counts_follow_the_pods_and_their_scale(world: World) -> None:
    async with controllers(world, DISRUPTION):
        pods = await web(world, 3, ready=2)
        await world.create(budget(maxUnavailable=1))
        await rest()
        assert status(world) == (2, 2, 3, 0)
        await make_ready(world, pods[2])
        await rest()
        assert status(world) == (3, 2, 3, 1)
        owner = world.one(ReplicaSet, "web")
        owner.spec.replicas = 6
        await world.update(owner)
        await rest()
        assert status(world) == (3, 5, 6, 0)
        world.writes.clear()
        await rest()
        assert world.writes == []


async def test_an_evicted_pod_does_not_count_until_it_should_have_gone(world: World) -> None:
    async with controllers(world, DISRUPTION) as term:
        pods = await web(world, 3, ready=3)
        await world.create(budget(minAvailable=1))
        await rest()
        spent = world.one(PodDisruptionBudget, "pdb")
        spent.status.disruptedPods[pods[0].metadata.name] = times.format(world.clock.now())
        spent.status.disruptionsAllowed = 1
        await world.update_status(spent)
        await rest()
        assert status(world) == (2, 1, 3, 1)
        await world.clock.advance(121)
        term.controllers[0].queue.add(Key("default", "pdb"))
        await rest()
        assert status(world) == (3, 1, 3, 2)
        assert world.one(PodDisruptionBudget, "pdb").status.disruptedPods == {}
        assert world.events("NotDeleted") == ["Pod was expected by PDB default/pdb to be deleted but it wasn't"]


async def test_pods_without_a_scale_are_told_of_and_nothing_is_allowed(world: World) -> None:
    async with controllers(world, DISRUPTION):
        orphan = await world.create(pod("orphan"))
        await make_ready(world, orphan)
        await world.create(budget(maxUnavailable=1))
        await rest()
        assert status(world) == (1, 0, 0, 0)
        selector = (
            "&LabelSelector{MatchLabels:map[string]string{app: web,},MatchExpressions:[]LabelSelectorRequirement{},}"
        )
        assert f"(selector: {selector}) were found to be unmanaged" in world.events("UnmanagedPods")[0]


async def test_a_kind_that_cannot_be_scaled_fails_the_budget_safely(world: World) -> None:
    async with controllers(world, DISRUPTION):
        stray = pod("stray", owner=replica_set(uid="x"))
        stray.metadata.ownerReferences[0].kind, stray.metadata.ownerReferences[0].apiVersion = "Job", "batch/v1"
        await world.create(stray)
        await world.create(budget(maxUnavailable=1))
        await rest()
        [condition] = world.one(PodDisruptionBudget, "pdb").status.conditions
        assert (condition.reason, condition.status) == ("SyncFailed", "False")
        assert condition.message == "jobs.batch does not implement the scale subresource"
        assert not world.one(PodDisruptionBudget, "pdb").status.observedGeneration


async def test_a_pod_whose_controller_is_gone_fails_the_budget_safely(world: World) -> None:
    async with controllers(world, DISRUPTION):
        await make_ready(world, await world.create(pod("stray", owner=replica_set(uid="x"))))
        await world.create(budget(maxUnavailable=1))
        await rest()
        [condition] = world.one(PodDisruptionBudget, "pdb").status.conditions
        assert condition.message == 'found no controllers for pod "stray"'
        assert status(world)[3] == 0


async def test_a_pod_that_was_to_go_and_stayed_is_no_longer_said_to_go(world: World, clock: FakeClock) -> None:
    async with controllers(world, "stale-pod-disruption-controller") as term:
        await world.create(to_go("stays", clock, "EvictionByEvictionAPI"))
        await world.create(to_go("ending", clock, "TerminationByKubelet"))
        await world.create(to_go("ended", clock, "DeletionByPodGC", phase="Failed"))
        await rest()
        assert is_to_go(world, "stays")
        await clock.advance(121)
        for name in ("stays", "ending", "ended"):
            assert await term.controllers[0].reconcile_now(Key("default", name)) == ""
        assert not is_to_go(world, "stays")
        assert (is_to_go(world, "ending"), is_to_go(world, "ended")) == (True, True)
        taken_back = meta.condition(world.one(Pod, "stays"), "DisruptionTarget")
        assert (taken_back.reason, taken_back.message, taken_back.observedGeneration) == ("", "", 1)


def to_go(name: str, clock: FakeClock, reason: str, phase: str = "Running") -> Pod:
    made = pod(name)
    said = PodCondition(
        type="DisruptionTarget", status="True", reason=reason, lastTransitionTime=times.format(clock.now())
    )
    made.status.phase, made.status.conditions = phase, [said]
    return made


def is_to_go(world: World, name: str) -> bool:
    return meta.is_true(world.one(Pod, name), "DisruptionTarget")
