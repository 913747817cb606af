"""Stateful sets at work."""

from typing import Any

import pytest

from api import errors, meta
from api.types import (
    ControllerRevision,
    ObjectMeta,
    PersistentVolumeClaim,
    Pod,
    StatefulSet,
    StatefulSetOrdinals,
    StatefulSetPersistentVolumeClaimRetentionPolicy,
)
from machinery.testing import FakeClock
from tests.unit.controller_manager.making import make_ready, pod, run_pods, stateful_set, template
from tests.unit.controller_manager.worlds import World, controllers, rest

NAME = "statefulset-controller"
CLAIM = PersistentVolumeClaim(metadata=ObjectMeta(name="data"))


@pytest.fixture
def graceful(world: World) -> World:
    """Pods take their time to end, until `finish`."""
    world.graceful = True
    return world


def names(world: World) -> list[str]:
    return sorted(p.metadata.name for p in world.all(Pod))


def images(world: World) -> dict[str, str]:
    return {p.metadata.name: p.spec.containers[0].image for p in world.all(Pod)}


def leaving(world: World) -> list[str]:
    return sorted(p.metadata.name for p in world.all(Pod) if p.metadata.deletionTimestamp)


def status(world: World) -> Any:
    return world.one(StatefulSet, "web").status


async def change(world: World, **spec: Any) -> StatefulSet:
    of = world.one(StatefulSet, "web")
    for name, value in spec.items():
        setattr(of.spec, name, value)
    return await world.update(of)


async def test_pods_are_created_one_after_another_each_when_the_last_is_ready(world: World) -> None:
    async with controllers(world, NAME):
        await world.create(stateful_set())
        await rest()
        assert names(world) == ["web-0"]
        await make_ready(world, world.one(Pod, "web-0"))
        await rest()
        assert names(world) == ["web-0", "web-1"]
        await run_pods(world)
        assert names(world) == ["web-0", "web-1", "web-2"]
        assert world.events("SuccessfulCreate")[0] == "create Pod web-0 in StatefulSet web successful"
        now = status(world)
        assert (now.replicas, now.readyReplicas, now.availableReplicas, now.currentReplicas) == (3, 3, 3, 3)
        assert now.currentRevision == now.updateRevision == world.all(ControllerRevision)[0].metadata.name
        assert (now.collisionCount, now.observedGeneration) == (0, 1)


async def test_a_pod_carries_its_identity(world: World) -> None:
    async with controllers(world, NAME):
        owner = await world.create(stateful_set(replicas=1, ordinals=StatefulSetOrdinals(start=5)))
        await rest()
        [made] = world.all(Pod)
        [revision] = world.all(ControllerRevision)
        assert (made.metadata.name, made.spec.hostname, made.spec.subdomain) == ("web-5", "web-5", "web")
        assert made.metadata.labels == {
            "app": "web", "statefulset.kubernetes.io/pod-name": "web-5", "apps.kubernetes.io/pod-index": "5",
            "controller-revision-hash": revision.metadata.name,
        }  # fmt: skip
        assert meta.is_controlled_by(made, owner)


async def test_in_parallel_all_are_created_and_deleted_at_once(graceful: World) -> None:
    async with controllers(graceful, NAME):
        await graceful.create(stateful_set(policy="Parallel"))
        await rest()
        assert names(graceful) == ["web-0", "web-1", "web-2"]
        await change(graceful, replicas=0)
        await rest()
        assert leaving(graceful) == ["web-0", "web-1", "web-2"]


async def test_scaling_down_takes_the_highest_and_waits_until_it_is_gone(graceful: World) -> None:
    async with controllers(graceful, NAME):
        await graceful.create(stateful_set())
        await run_pods(graceful)
        await change(graceful, replicas=1)
        await rest()
        assert leaving(graceful) == ["web-2"]
        await graceful.finish(Pod, "web-2")
        await rest()
        assert leaving(graceful) == ["web-1"]
        await run_pods(graceful)
        assert names(graceful) == ["web-0"]


async def test_scaling_down_waits_while_a_pod_that_stays_is_broken(world: World) -> None:
    async with controllers(world, NAME):
        await world.create(stateful_set())
        await run_pods(world)
        await make_ready(world, world.one(Pod, "web-0"), ready=False)
        await change(world, replicas=1)
        await rest()
        assert names(world) == ["web-0", "web-1", "web-2"]
        await make_ready(world, world.one(Pod, "web-0"))
        await rest()
        assert names(world) == ["web-0"]


@pytest.mark.parametrize("policy", ["OrderedReady", "Parallel"])
async def test_a_name_is_not_given_again_while_its_old_pod_may_live(graceful: World, policy: str) -> None:
    async with controllers(graceful, NAME):
        await graceful.create(stateful_set(policy=policy))
        await run_pods(graceful)
        old = graceful.one(Pod, "web-1").metadata.uid
        await graceful.delete(Pod, "web-1", "default")
        await rest()
        assert graceful.one(Pod, "web-1").metadata.uid == old
        await graceful.finish(Pod, "web-1")
        await rest()
        assert graceful.one(Pod, "web-1").metadata.uid != old


async def test_a_failed_pod_is_replaced_and_later_each_time(world: World, clock: FakeClock) -> None:
    async def fail() -> str:
        failed = world.one(Pod, "web-0")
        failed.status.phase = "Failed"
        await world.update_status(failed)
        await rest()
        return failed.metadata.uid

    async with controllers(world, NAME) as term:
        await world.create(stateful_set(replicas=1))
        await rest()
        first = await fail()
        assert world.one(Pod, "web-0").metadata.uid != first
        assert world.events("RecreatingFailedPod") == ["StatefulSet default/web is recreating failed Pod web-0"]
        second = await fail()
        assert world.one(Pod, "web-0").metadata.uid == second
        await clock.advance(1)
        await term.controllers[0].reconcile_now(meta.Key("default", "web"))
        await rest()
        assert world.one(Pod, "web-0").metadata.uid != second


async def test_a_rolling_update_goes_from_the_last_to_the_first_one_by_one(graceful: World) -> None:
    async with controllers(graceful, NAME):
        await graceful.create(stateful_set())
        await run_pods(graceful)
        await change(graceful, template=template("image:2"))
        await rest()
        assert leaving(graceful) == ["web-2"]
        assert status(graceful).updateRevision != status(graceful).currentRevision
        await graceful.finish(Pod, "web-2")
        await rest()
        assert images(graceful) == {"web-0": "image:1", "web-1": "image:1", "web-2": "image:2"}
        assert leaving(graceful) == []  # the new one is not ready yet
        await run_pods(graceful, 20)
        assert set(images(graceful).values()) == {"image:2"}
        now = status(graceful)
        assert (now.updatedReplicas, now.currentReplicas, now.currentRevision) == (3, 3, now.updateRevision)


async def test_a_partition_keeps_the_pods_below_it_even_if_they_are_made_anew(world: World) -> None:
    async with controllers(world, NAME):
        await world.create(stateful_set(partition=2))
        await run_pods(world)
        await change(world, template=template("image:2"))
        await run_pods(world)
        await world.delete(Pod, "web-0", "default")
        await run_pods(world)
        assert images(world) == {"web-0": "image:1", "web-1": "image:1", "web-2": "image:2"}
        now = status(world)
        assert (now.currentReplicas, now.updatedReplicas) == (2, 1)
        assert now.currentRevision != now.updateRevision


async def test_max_unavailable_lets_several_go_at_once(graceful: World) -> None:
    async with controllers(graceful, NAME):
        await graceful.create(stateful_set(replicas=5, unavailable="40%", policy="Parallel"))
        await run_pods(graceful)
        await change(graceful, template=template("image:2"))
        await rest()
        assert leaving(graceful) == ["web-3", "web-4"]


async def test_on_delete_updates_only_what_others_delete(world: World) -> None:
    async with controllers(world, NAME):
        await world.create(stateful_set(strategy="OnDelete"))
        await run_pods(world)
        await change(world, template=template("image:2"))
        await run_pods(world)
        assert set(images(world).values()) == {"image:1"}
        await world.delete(Pod, "web-1", "default")
        await run_pods(world)
        assert images(world) == {"web-0": "image:1", "web-1": "image:2", "web-2": "image:1"}


async def test_a_broken_update_stops_until_its_pod_is_deleted(world: World) -> None:
    async with controllers(world, NAME):
        await world.create(stateful_set())
        await run_pods(world)
        await change(world, template=template("broken"))
        await rest()
        assert images(world)["web-2"] == "broken"
        await change(world, template=template("image:1"))
        await rest()
        assert images(world)["web-2"] == "broken"
        await world.delete(Pod, "web-2", "default")
        await rest()
        assert images(world)["web-2"] == "image:1"


async def test_in_parallel_a_broken_update_is_taken_back_at_once(world: World) -> None:
    async with controllers(world, NAME):
        await world.create(stateful_set(policy="Parallel"))
        await run_pods(world)
        await change(world, template=template("broken"))
        await rest()
        assert sorted(images(world).values()) == ["broken", "image:1", "image:1"]
        await change(world, template=template("image:1"))
        await rest()
        assert set(images(world).values()) == {"image:1"}


async def test_an_old_template_makes_its_revision_the_newest_again(world: World) -> None:
    async with controllers(world, NAME):
        await world.create(stateful_set())
        await rest()
        await change(world, template=template("image:2"))
        await rest()
        await change(world, template=template("image:1"))
        await rest()
        numbers = {
            r.data["spec"]["template"]["spec"]["containers"][0]["image"]: r.revision
            for r in world.all(ControllerRevision)
        }
        assert numbers == {"image:1": 3, "image:2": 2}


async def test_old_revisions_go_but_never_one_in_use(world: World) -> None:
    async with controllers(world, NAME):
        await world.create(stateful_set(revisionHistoryLimit=1, partition=2))
        await run_pods(world)
        for tag in range(2, 6):
            await change(world, template=template(f"image:{tag}"))
            await run_pods(world, 4)
        assert sorted(r.revision for r in world.all(ControllerRevision)) == [1, 4, 5]


async def test_min_ready_seconds_hold_the_next_pod_back(world: World, clock: FakeClock) -> None:
    async with controllers(world, NAME) as term:
        await world.create(stateful_set(minReadySeconds=10))
        await rest()
        await make_ready(world, world.one(Pod, "web-0"))
        await rest()
        assert names(world) == ["web-0"]
        assert (status(world).readyReplicas, status(world).availableReplicas) == (1, 0)
        await clock.advance(10)
        await term.controllers[0].reconcile_now(meta.Key("default", "web"))
        await rest()
        assert names(world) == ["web-0", "web-1"]


async def test_each_pod_gets_claims_of_its_own_and_finds_them_again(world: World) -> None:
    async with controllers(world, NAME):
        await world.create(stateful_set(replicas=1, volumeClaimTemplates=[CLAIM]))
        await run_pods(world)
        claim = world.one(PersistentVolumeClaim, "data-web-0")
        assert claim.metadata.labels == {"app": "web"}
        [volume] = world.one(Pod, "web-0").spec.volumes
        assert (volume.name, volume.persistentVolumeClaim.claimName) == ("data", "data-web-0")
        assert "create Claim data-web-0 Pod web-0 in StatefulSet web success" in world.events("SuccessfulCreate")
        await world.delete(Pod, "web-0", "default")
        await run_pods(world)
        assert world.one(PersistentVolumeClaim, "data-web-0").metadata.uid == claim.metadata.uid


async def test_the_retention_policy_says_who_owns_the_claims(graceful: World) -> None:
    world = graceful

    def owners(name: str) -> list[tuple[str, str]]:
        return [(r.kind, r.name) for r in world.one(PersistentVolumeClaim, name).metadata.ownerReferences]

    policy = StatefulSetPersistentVolumeClaimRetentionPolicy(whenDeleted="Delete", whenScaled="Delete")
    async with controllers(world, NAME):
        made = stateful_set(
            replicas=2, volumeClaimTemplates=[CLAIM], persistentVolumeClaimRetentionPolicy=policy, policy="Parallel"
        )
        await world.create(made)
        await run_pods(world)
        assert owners("data-web-1") == [("StatefulSet", "web")]
        await change(world, replicas=1)
        await rest()
        assert owners("data-web-1") == [("Pod", "web-1")]
        await world.finish(Pod, "web-1")
        await change(world, replicas=2)
        await rest()
        assert names(world) == ["web-0"]  # the old claim is about to be collected
        await world.finish(PersistentVolumeClaim, "data-web-1")
        await rest()
        assert names(world) == ["web-0", "web-1"]
        retained = StatefulSetPersistentVolumeClaimRetentionPolicy(whenDeleted="Retain", whenScaled="Retain")
        await change(world, persistentVolumeClaimRetentionPolicy=retained)
        await rest()
        assert owners("data-web-0") == owners("data-web-1") == []


async def test_orphans_of_its_names_are_adopted_and_strangers_released(world: World) -> None:
    async with controllers(world, NAME):
        await world.create(pod("web-0", ready=True))
        await world.create(pod("other-0", ready=True))
        owner = await world.create(stateful_set(replicas=1))
        await rest()
        adopted = world.one(Pod, "web-0")
        assert meta.is_controlled_by(adopted, owner)
        assert meta.controller_of(world.one(Pod, "other-0")) is None
        adopted.metadata.labels = {"app": "else"}
        await world.update(adopted)
        await rest()
        assert meta.controller_of(world.one(Pod, "web-0")) is None
        assert names(world) == ["other-0", "web-0"]
        await world.delete(Pod, "web-0", "default")
        await rest()
        assert meta.is_controlled_by(world.one(Pod, "web-0"), owner)


async def test_late_informers_never_cause_a_step_too_many(graceful: World) -> None:
    async with controllers(graceful, NAME) as term:
        await graceful.create(stateful_set(replicas=4))
        await run_pods(graceful)
        await change(graceful, template=template("image:2"))
        await rest(1)
        graceful.deaf = True
        for _ in range(3):
            await term.controllers[0].reconcile_now(meta.Key("default", "web"))
        assert leaving(graceful) == ["web-3"]
        await graceful.hear_again()
        await run_pods(graceful, 20)
        assert set(images(graceful).values()) == {"image:2"}


async def test_a_refused_pod_is_told_and_tried_again(world: World) -> None:
    world.refuse("create", "Pod", errors.Forbidden('pods "web-0" is forbidden: exceeded quota'))
    async with controllers(world, NAME):
        await world.create(stateful_set())
        await rest()
        said = 'create Pod web-0 in StatefulSet web failed error: pods "web-0" is forbidden: exceeded quota'
        assert world.events("FailedCreate")[0] == said
        world.refusals.clear()
        await rest()
        assert names(world) == ["web-0"]


async def test_a_settled_set_is_not_written_to(world: World) -> None:
    async with controllers(world, NAME) as term:
        await world.create(stateful_set(volumeClaimTemplates=[CLAIM]))
        await run_pods(world)
        before = len(world.writes)
        assert await term.controllers[0].reconcile_now(meta.Key("default", "web")) == ""
        assert len(world.writes) == before


async def test_a_new_term_goes_on_in_the_middle_of_an_update(graceful: World) -> None:
    async with controllers(graceful, NAME):
        await graceful.create(stateful_set())
        await run_pods(graceful)
        await change(graceful, template=template("image:2"))
        await rest()
    for _ in range(30):
        async with controllers(graceful, NAME):
            await run_pods(graceful, 1)
        assert len(leaving(graceful)) <= 1
    assert set(images(graceful).values()) == {"image:2"}
    assert names(graceful) == ["web-0", "web-1", "web-2"]
