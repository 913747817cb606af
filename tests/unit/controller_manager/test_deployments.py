"""Deployments at work, with replica sets."""

from random import Random
from typing import Any

import pytest

from api import meta
from api.types import Deployment, Pod, ReplicaSet
from controller_manager.revisions import HASH_LABEL, REVISION
from machinery.testing import FakeClock
from tests.unit.controller_manager.making import deployment, make_ready, replica_set, run_pods, template
from tests.unit.controller_manager.worlds import World, controllers, rest

BOTH = ("replicaset-controller", "deployment-controller")


async def change(world: World, **spec: Any) -> None:
    d = world.one(Deployment, "web")
    for name, value in spec.items():
        setattr(d.spec, name, value)
    await world.update(d)


def sizes(world: World) -> dict[str, int]:
    """The image of each replica set → its size."""
    return {rs.spec.template.spec.containers[0].image: rs.spec.replicas for rs in world.all(ReplicaSet)}


def progressing(world: World) -> Any:
    return meta.condition(world.one(Deployment, "web"), "Progressing")


async def test_a_new_deployment_gets_a_replica_set_named_by_its_hash(world: World) -> None:
    async with controllers(world, *BOTH):
        d = await world.create(deployment())
        await rest()
        (rs,) = world.all(ReplicaSet)
        name = rs.metadata.labels[HASH_LABEL]
        assert rs.metadata.name == f"web-{name}"
        assert rs.spec.selector.matchLabels == rs.spec.template.metadata.labels == {"app": "web", HASH_LABEL: name}
        assert meta.is_controlled_by(rs, d)
        assert rs.metadata.annotations == {
            REVISION: "1", "deployment.kubernetes.io/desired-replicas": "3", "deployment.kubernetes.io/max-replicas": "4",
        }  # fmt: skip
        assert world.one(Deployment, "web").metadata.annotations[REVISION] == "1"
        assert world.events("ScalingReplicaSet") == [f"Scaled up replica set {rs.metadata.name} from 0 to 3"]
        assert len(world.all(Pod)) == 3


async def test_a_finished_rollout_says_so(world: World) -> None:
    async with controllers(world, *BOTH):
        await world.create(deployment())
        await rest()
        assert progressing(world).reason in ("NewReplicaSetCreated", "ReplicaSetUpdated")
        assert not meta.is_true(world.one(Deployment, "web"), "Available")
        await run_pods(world)
        await rest(30)
        d = world.one(Deployment, "web")
        (rs,) = world.all(ReplicaSet)
        assert (progressing(world).reason, progressing(world).status) == ("NewReplicaSetAvailable", "True")
        assert progressing(world).message == f'ReplicaSet "{rs.metadata.name}" has successfully progressed.'
        available = meta.condition(d, "Available")
        assert (available.status, available.reason) == ("True", "MinimumReplicasAvailable")
        s = d.status
        assert (s.replicas, s.updatedReplicas, s.readyReplicas, s.availableReplicas) == (3, 3, 3, 3)
        assert s.unavailableReplicas == 0
        assert s.observedGeneration == d.metadata.generation


async def test_a_rolling_update_stays_within_its_fences(world: World) -> None:
    async with controllers(world, *BOTH):
        await world.create(deployment(replicas=4, surge=1, unavailable=1))
        await run_pods(world)
        await rest(30)
        await change(world, template=template("image:2"))
        for _ in range(40):
            await rest(2)
            pods = world.all(Pod)
            assert len(pods) <= 5
            assert sum(meta.is_true(p, "Ready") for p in pods) >= 3
            waiting = [p for p in pods if not meta.is_true(p, "Ready")]
            if waiting:
                await make_ready(world, waiting[0])
            elif sizes(world) == {"image:1": 0, "image:2": 4}:
                break
            else:
                await rest(30)
        assert sizes(world) == {"image:1": 0, "image:2": 4}


async def test_an_undo_brings_the_old_replica_set_back_as_a_new_revision(world: World) -> None:
    async with controllers(world, *BOTH):
        await world.create(deployment())
        await run_pods(world)
        await rest(30)
        for image in ("image:2", "image:1"):
            await change(world, template=template(image))
            await run_pods(world)
            await rest(30)
            await run_pods(world)
        by_image = {rs.spec.template.spec.containers[0].image: rs for rs in world.all(ReplicaSet)}
        assert len(by_image) == 2
        assert by_image["image:1"].metadata.annotations[REVISION] == "3"
        assert by_image["image:1"].metadata.annotations["deployment.kubernetes.io/revision-history"] == "1"
        assert by_image["image:2"].metadata.annotations[REVISION] == "2"
        assert world.one(Deployment, "web").metadata.annotations[REVISION] == "3"
        assert sizes(world) == {"image:1": 3, "image:2": 0}


async def test_recreate_starts_nothing_new_before_the_last_old_pod_has_ended(world: World) -> None:
    world.graceful = True
    async with controllers(world, *BOTH):
        await world.create(deployment(strategy="Recreate"))
        await run_pods(world)
        await rest(30)
        await change(world, template=template("image:2"))
        await rest(30)
        assert {p.spec.containers[0].image for p in world.all(Pod)} == {"image:1"}
        old = world.all(Pod)
        assert all(p.metadata.deletionTimestamp for p in old)
        for p in old:
            assert sizes(world) == {"image:1": 0}
            await world.finish(Pod, p.metadata.name)
        await rest(30)
        assert sizes(world) == {"image:1": 0, "image:2": 3}


async def test_pods_that_nobody_has_seen_yet_take_room_too(world: World) -> None:
    async with controllers(world, *BOTH):
        await rest(1)
        world.deaf_to.add("Pod")
        await world.create(deployment(replicas=4, surge=1, unavailable=2))
        await rest()
        await change(world, template=template("image:2"))
        await rest(20)
        assert len(world.all(Pod)) == 5
        assert sizes(world) == {"image:1": 2, "image:2": 1}  # as long as the first may still have four
        await world.hear_again()
        await run_pods(world, 30)
        await rest()
        assert sizes(world) == {"image:1": 0, "image:2": 4}
        assert len(world.all(Pod)) == 4


@pytest.mark.parametrize("strategy", ["RollingUpdate", "Recreate"])
async def test_a_size_that_there_was_no_room_for_and_that_is_taken_back_stops_no_rollout(
    world: World, strategy: str
) -> None:
    async with controllers(world, *BOTH):
        await world.create(deployment(strategy=strategy))
        await run_pods(world)
        await rest(30)
        for rs in world.all(ReplicaSet):
            rs.metadata.annotations["deployment.kubernetes.io/desired-replicas"] = "5"
            await world.update(rs)
        await change(world, template=template("image:2"))
        await run_pods(world, 30)
        await rest(30)
        assert sizes(world) == {"image:1": 0, "image:2": 3}


@pytest.mark.parametrize("seed", range(4))
async def test_no_pod_too_many_ever_exists_however_late_news_are_and_whoever_dies(world: World, seed: int) -> None:
    random, living, most = Random(seed), set[str](), 0
    await world.create(deployment(replicas=4, surge=1, unavailable=2))
    for _ in range(12):  # terms of leadership, each cut short
        async with controllers(world, *BOTH):
            for _ in range(random.randrange(4)):
                world.deaf_to |= {k for k in ("Pod", "ReplicaSet", "Deployment") if random.random() < 0.4}
                size = random.choice((1, 2, 4))
                await change(world, template=template(f"image:{random.randrange(4)}"), replicas=size)
                await rest(random.randrange(3))
                if random.random() < 0.5:
                    await make_ready(world, *world.all(Pod))
                await world.hear_again()
                await rest(random.randrange(4))
    for _, kind, event, document in world.log:
        if kind.name == "Pod":
            gone = event == "DELETED" or document["metadata"].get("deletionTimestamp")
            (living.discard if gone else living.add)(document["metadata"]["uid"])
            most = max(most, len(living))
    assert 4 <= most <= 5


async def test_a_paused_deployment_rolls_nothing_but_scales(world: World) -> None:
    async with controllers(world, *BOTH):
        await world.create(deployment())
        await run_pods(world)
        await rest(30)
        await change(world, paused=True, template=template("image:2"))
        await rest(30)
        assert sizes(world) == {"image:1": 3}
        assert (progressing(world).reason, progressing(world).status) == ("DeploymentPaused", "Unknown")
        await change(world, replicas=5)
        await rest(30)
        assert sizes(world) == {"image:1": 5}
        await change(world, paused=False)
        await run_pods(world, 20)
        await rest(30)
        await run_pods(world)
        assert sizes(world) == {"image:1": 0, "image:2": 5}


async def test_a_rollout_that_does_not_move_is_called_stuck(world: World, clock: FakeClock) -> None:
    async with controllers(world, *BOTH) as term:
        await world.create(deployment(progressDeadlineSeconds=60))
        await rest(30)
        await clock.advance(62)
        deployments = next(c for c in term.controllers if c.name == "deployment-controller")
        assert await deployments.reconcile_now(meta.Key("default", "web")) == ""
        assert (progressing(world).status, progressing(world).reason) == ("False", "ProgressDeadlineExceeded")
        (rs,) = world.all(ReplicaSet)
        assert progressing(world).message == f'ReplicaSet "{rs.metadata.name}" has timed out progressing.'


async def test_old_revisions_beyond_the_limit_are_deleted(world: World) -> None:
    async with controllers(world, *BOTH):
        await world.create(deployment(replicas=1, revisionHistoryLimit=1))
        for n in range(1, 5):
            if n > 1:
                await change(world, template=template(f"image:{n}"))
            await run_pods(world)
            await rest(30)
            await run_pods(world)
        await rest(30)
        assert sizes(world) == {"image:3": 0, "image:4": 1}


async def test_a_matching_orphan_replica_set_is_adopted_as_the_present_one(world: World) -> None:
    rs = replica_set("old", 3)
    rs.metadata.labels = {"app": "web"}
    await world.create(rs)
    async with controllers(world, *BOTH):
        d = await world.create(deployment())
        await rest(30)
        (adopted,) = world.all(ReplicaSet)
        assert meta.is_controlled_by(adopted, d)
        assert progressing(world).reason in ("FoundNewReplicaSet", "ReplicaSetUpdated")


async def test_a_name_taken_by_another_template_is_avoided(world: World) -> None:
    async with controllers(world, *BOTH):
        await world.create(deployment())
        await rest()
        (first,) = world.all(ReplicaSet)
        await world.delete(Deployment, "web", "default")
        await world.delete(ReplicaSet, first.metadata.name, "default")
        taken = replica_set(first.metadata.name, 0, template=template("other:1"))
        taken.metadata.labels = {"app": "other"}
        await world.create(taken)
        await world.create(deployment())
        await rest(30)
        d = world.one(Deployment, "web")
        assert d.status.collisionCount == 1
        assert len([rs for rs in world.all(ReplicaSet) if meta.is_controlled_by(rs, d)]) == 1


async def test_scaling_in_the_middle_of_a_rollout_is_shared_out(world: World) -> None:
    async with controllers(world, *BOTH):
        await world.create(deployment(replicas=10, surge=3, unavailable=2))
        await run_pods(world)
        await rest(30)
        await change(world, template=template("broken:1"))
        await rest(30)
        assert sizes(world) == {"image:1": 8, "broken:1": 5}
        await change(world, replicas=15)
        await rest(30)
        assert sizes(world) == {"image:1": 11, "broken:1": 7}
