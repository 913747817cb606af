"""Replica sets and replication controllers at work."""

from typing import Any

import pytest

from api import errors, meta
from api.types import Pod, ReplicaSet, ReplicationController
from tests.unit.controller_manager.making import make_ready, pod, replica_set, replication_controller
from tests.unit.controller_manager.worlds import World, controllers, rest

BOTH = ("replicaset-controller", "replicationcontroller-controller")


@pytest.mark.parametrize("make", [replica_set, replication_controller])
async def test_as_many_pods_are_created_as_the_spec_says(world: World, make) -> None:
    async with controllers(world, *BOTH):
        owner = await world.create(make(replicas=5))
        await rest()
        pods = world.all(Pod)
        assert len(pods) == 5
        assert all(meta.is_controlled_by(p, owner) for p in pods)
        assert all(p.metadata.generateName == "web-" and p.metadata.labels == {"app": "web"} for p in pods)
        assert sorted(world.events("SuccessfulCreate")) == sorted(f"Created pod: {p.metadata.name}" for p in pods)


async def test_late_informers_never_cause_a_pod_too_many(world: World) -> None:
    async with controllers(world, *BOTH):
        owner = await world.create(replica_set(replicas=7))
        await rest(1)
        world.deaf = True
        await rest()
        owner = world.one(ReplicaSet, "web")
        owner.metadata.annotations["touched"] = "yes"
        await world.update(owner)
        await rest()
        await world.hear_again()
        await rest()
        assert len(world.all(Pod)) == 7


@pytest.mark.parametrize("error", [errors.Unavailable, errors.Timeout])
async def test_pods_of_which_nobody_knew_whether_they_were_created_are_not_created_again(
    world: World, monkeypatch: pytest.MonkeyPatch, error: type[errors.ApiError]
) -> None:
    create, answers = world.create, iter([False, False])

    async def cut_off(obj: Any, **options: Any) -> Any:
        created = await create(obj, **options)
        if isinstance(obj, Pod) and not next(answers, True):
            raise error("the API server closed the stream")
        return created

    monkeypatch.setattr(world, "create", cut_off)
    async with controllers(world, *BOTH):
        world.deaf_to.add("Pod")  # watches come back later than what carries the writes
        await world.create(replica_set(replicas=7))
        await rest(30)
        await world.hear_again()
        await rest()
        assert len(world.all(Pod)) == 7
        assert world.events("SuccessfulDelete") == []


async def test_a_size_is_not_acknowledged_before_all_pods_of_the_former_one_are_seen(world: World) -> None:
    async with controllers(world, *BOTH):
        await rest(1)
        world.deaf_to.add("Pod")
        await world.create(replica_set(replicas=4))
        await rest()
        await world.patch(ReplicaSet, "web", "default", {"spec": {"replicas": 1}})
        await rest()
        status = world.one(ReplicaSet, "web").status
        assert (len(world.all(Pod)), status.replicas, status.observedGeneration) == (4, 0, 1)
        await world.hear_again()
        await rest()
        status = world.one(ReplicaSet, "web").status
        assert (len(world.all(Pod)), status.replicas, status.observedGeneration) == (1, 1, 2)


async def test_a_deleted_pod_is_replaced_under_a_new_name(world: World) -> None:
    async with controllers(world, *BOTH):
        await world.create(replica_set())
        await rest()
        before = {p.metadata.name for p in world.all(Pod)}
        gone = min(before)
        await world.delete(Pod, gone, "default")
        await rest()
        after = {p.metadata.name for p in world.all(Pod)}
        assert len(after) == 3
        assert gone not in after


async def test_scaling_down_deletes_pods_that_are_not_ready_first(world: World) -> None:
    async with controllers(world, *BOTH):
        await world.create(replica_set(replicas=4))
        await rest()
        ready = world.all(Pod)[1:3]
        await make_ready(world, *ready)
        await rest()
        rs = world.one(ReplicaSet, "web")
        rs.spec.replicas = 2
        await world.update(rs)
        await rest()
        assert {p.metadata.name for p in world.all(Pod)} == {p.metadata.name for p in ready}
        assert len(world.events("SuccessfulDelete")) == 2


async def test_a_terminating_pod_is_deleted_only_once(world: World) -> None:
    world.graceful = True
    async with controllers(world, *BOTH):
        await world.create(replica_set(replicas=2))
        await rest()
        rs = world.one(ReplicaSet, "web")
        rs.spec.replicas = 0
        await world.update(rs)
        await rest()
        assert len([w for w in world.writes if w[:2] == ("delete", "Pod")]) == 2
        assert world.one(ReplicaSet, "web").status.terminatingReplicas == 2


async def test_a_matching_orphan_is_adopted_and_counts(world: World) -> None:
    await world.create(pod("stray"))
    async with controllers(world, *BOTH):
        owner = await world.create(replica_set(replicas=2))
        await rest()
        assert len(world.all(Pod)) == 2
        assert meta.is_controlled_by(world.one(Pod, "stray"), owner)


async def test_a_relabelled_pod_is_released_and_replaced(world: World) -> None:
    async with controllers(world, *BOTH):
        owner = await world.create(replica_set(replicas=2))
        await rest()
        freed = world.all(Pod)[0]
        freed.metadata.labels = {"app": "debug"}
        await world.update(freed)
        await rest()
        assert meta.controller_of(world.one(Pod, freed.metadata.name)) is None
        assert len([p for p in world.all(Pod) if meta.is_controlled_by(p, owner)]) == 2


async def test_an_owner_made_anew_does_not_adopt_by_the_memory_of_the_old_one(world: World) -> None:
    async with controllers(world, *BOTH):
        await world.create(replica_set(replicas=0))
        await rest()
        world.deaf = True
        await world.delete(ReplicaSet, "web", "default")
        new = await world.create(replica_set(replicas=1))
        await world.create(pod("stray"))
        await world.hear_again()
        await rest()
        assert meta.controller_of(world.one(Pod, "stray")).uid == new.metadata.uid


async def test_two_controllers_with_one_selector_leave_each_other_alone(world: World) -> None:
    async with controllers(world, *BOTH):
        await world.create(replica_set("a", 2))
        await world.create(replication_controller("b", 3))
        await rest()
        owners = [meta.controller_of(p).name for p in world.all(Pod)]
        assert sorted(owners) == ["a", "a", "b", "b", "b"]


async def test_the_status_counts_pods_by_what_they_are(world: World) -> None:
    async with controllers(world, *BOTH):
        await world.create(replica_set(replicas=3))
        await rest()
        await make_ready(world, *world.all(Pod)[:2])
        await rest()
        status = world.one(ReplicaSet, "web").status
        assert (status.replicas, status.fullyLabeledReplicas, status.readyReplicas, status.availableReplicas) == (
            3,
            3,
            2,
            2,
        )
        assert status.observedGeneration == 1


async def test_a_refused_creation_shows_in_a_condition_until_one_succeeds(world: World) -> None:
    world.refuse("create", "Pod", errors.Forbidden('pods "web-" is forbidden: exceeded quota'))
    async with controllers(world, *BOTH):
        await world.create(replication_controller(replicas=4))
        await rest()
        condition = meta.condition(world.one(ReplicationController, "web"), "ReplicaFailure")
        assert (condition.status, condition.reason) == ("True", "FailedCreate")
        assert condition.message == 'pods "web-" is forbidden: exceeded quota'
        assert world.events("FailedCreate")[0] == 'Error creating: pods "web-" is forbidden: exceeded quota'
        world.refusals.clear()
        await rest()
        assert len(world.all(Pod)) == 4
        assert world.one(ReplicationController, "web").status.conditions == []


async def test_a_namespace_that_is_going_is_no_failure(world: World) -> None:
    details = {"causes": [{"reason": "NamespaceTerminating"}]}
    world.refuse("create", "Pod", errors.Forbidden("it is being terminated", details))
    async with controllers(world, *BOTH) as term:
        await world.create(replica_set())
        await rest()
        assert world.events("FailedCreate") == []
        assert [c.failed for c in term.controllers] == [0, 0]


async def test_an_owner_that_is_being_deleted_creates_nothing(world: World) -> None:
    rs = replica_set()
    rs.metadata.finalizers = ["foregroundDeletion"]
    await world.create(rs)
    await world.delete(ReplicaSet, "web", "default")
    async with controllers(world, *BOTH):
        assert world.all(Pod) == []


async def test_a_settled_world_is_not_written_to(world: World) -> None:
    async with controllers(world, *BOTH) as term:
        await world.create(replica_set())
        await rest()
        before = len(world.writes)
        for controller in term.controllers:
            assert await controller.reconcile_now(meta.Key("default", "web")) == ""
        assert len(world.writes) == before
