"""Volumes of drivers that attach: wished for where pods use them, given up where none does any more."""

from typing import Any

import pytest

from api import volumes
from api.types import (
    CSIDriver,
    CSIDriverSpec,
    CSIPersistentVolumeSource,
    Node,
    ObjectMeta,
    ObjectReference,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimVolumeSource,
    PersistentVolumeSpec,
    Pod,
    PodSpec,
    Taint,
    Volume,
    VolumeAttachment,
)
from tests.unit.controller_manager.making import node
from tests.unit.controller_manager.worlds import World, controllers, rest

NAME = "persistentvolume-attach-detach-controller"
DRIVER = "csi.example.com"


async def disk(world: World, *, driver: str = DRIVER, mode: str = "ReadWriteOnce") -> None:
    csi = CSIPersistentVolumeSource(driver=driver, volumeHandle="h")
    await world.create(PersistentVolume(metadata=ObjectMeta(name="v"), spec=PersistentVolumeSpec(
        csi=csi, accessModes=[mode])))  # fmt: skip
    spec = PersistentVolumeClaimSpec(volumeName="v")
    await world.create(PersistentVolumeClaim(metadata=ObjectMeta(name="data", namespace="default"), spec=spec))


def user(name: str, on: str) -> Pod:
    source = PersistentVolumeClaimVolumeSource(claimName="data")
    spec = PodSpec(nodeName=on, volumes=[Volume(name="v", persistentVolumeClaim=source)])
    return Pod(metadata=ObjectMeta(name=name, namespace="default"), spec=spec)


def places(world: World) -> list[str]:
    return sorted(a.spec.nodeName for a in world.all(VolumeAttachment))


async def test_a_pods_volume_is_attached_to_its_node_and_detached_when_it_has_gone(world: World) -> None:
    await disk(world)
    await world.create(node("node1"))
    async with controllers(world, NAME):
        await world.create(user("p", "node1"))
        await rest()
        [made] = world.all(VolumeAttachment)
        assert (made.spec.attacher, made.spec.nodeName, made.spec.source.persistentVolumeName) == (
            DRIVER, "node1", "v"
        )  # fmt: skip
        assert made.metadata.name == "csi-2d542d676792f3feaef015ed3ab9bd840f35307bedebfe27e71e5e7df413261c"
        assert world.one(Node, "node1").status.volumesAttached == []
        made.status.attached = True
        await world.update_status(made)
        await rest()
        assert [v.name for v in world.one(Node, "node1").status.volumesAttached] == [f"kubernetes.io/csi/{DRIVER}^h"]
        assert world.events("SuccessfulAttachVolume") == ['AttachVolume.Attach succeeded for volume "v" ']
        await world.delete(Pod, "p", "default")
        await rest()
        assert places(world) == []
        assert world.one(Node, "node1").status.volumesAttached == []


async def test_a_volume_that_is_seen_after_its_claim_is_attached_too(world: World) -> None:
    spec = PersistentVolumeClaimSpec(volumeName="v")
    await world.create(PersistentVolumeClaim(metadata=ObjectMeta(name="data", namespace="default"), spec=spec))
    await world.create(node("node1"))
    await world.create(user("p", "node1"))
    async with controllers(world, NAME):
        await rest()
        assert places(world) == []
        csi = CSIPersistentVolumeSource(driver=DRIVER, volumeHandle="h")
        reference = ObjectReference(namespace="default", name="data")
        kept = PersistentVolumeSpec(csi=csi, accessModes=["ReadWriteOnce"], claimRef=reference)
        await world.create(PersistentVolume(metadata=ObjectMeta(name="v"), spec=kept))
        await rest()
        assert places(world) == ["node1"]


@pytest.mark.parametrize("driver", [volumes.LOCAL_DRIVER, "files.example.com"])
async def test_drivers_that_do_not_attach_get_nothing(world: World, driver: str) -> None:
    await disk(world, driver=driver)
    await world.create(CSIDriver(metadata=ObjectMeta(name="files.example.com"), spec=CSIDriverSpec(
        attachRequired=False)))  # fmt: skip
    await world.create(node("node1"))
    await world.create(user("p", "node1"))
    async with controllers(world, NAME):
        await rest()
        assert places(world) == []


@pytest.mark.parametrize(("mode", "expected"), [("ReadWriteOnce", ["node1"]), ("ReadWriteMany", ["node1", "node2"])])
async def test_a_volume_for_one_node_waits_until_the_other_has_given_it_up(
    world: World, mode: str, expected: list[str]
) -> None:
    await disk(world, mode=mode)
    for name in ("node1", "node2"):
        await world.create(node(name))
    async with controllers(world, NAME):
        await world.create(user("first", "node1"))
        await rest()
        await world.create(user("second", "node2"))
        await rest()
        assert places(world) == expected
        assert bool(world.events("FailedAttachVolume")) == (mode == "ReadWriteOnce")
        await world.delete(Pod, "first", "default")
        await rest()
        assert places(world) == ["node2"]


async def test_what_is_still_mounted_is_detached_only_from_a_node_out_of_service(world: World) -> None:
    await disk(world)
    lost: Any = node("node1", ready="Unknown")
    await world.create(lost)
    async with controllers(world, NAME):
        await world.create(user("p", "node1"))
        await rest()
        lost = world.one(Node, "node1")
        lost.status.volumesInUse = [f"kubernetes.io/csi/{DRIVER}^h"]
        await world.update_status(lost)
        await world.delete(Pod, "p", "default")
        await rest()
        assert places(world) == ["node1"]
        lost = world.one(Node, "node1")
        lost.spec.taints = [Taint(key="node.kubernetes.io/out-of-service", effect="NoExecute")]
        await world.update(lost)
        await rest()
        assert places(world) == []
