"""Claims, volumes, and what keeps them."""

from typing import Any

import pytest

from api import volumes
from api.types import (
    CSIPersistentVolumeSource,
    EphemeralVolumeSource,
    Event,
    Node,
    NodeCondition,
    NodeStatus,
    ObjectMeta,
    ObjectReference,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimTemplate,
    PersistentVolumeClaimVolumeSource,
    PersistentVolumeSpec,
    Pod,
    PodSpec,
    StorageClass,
    Volume,
    VolumeResourceRequirements,
)
from machinery.testing import FakeClock
from tests.unit.controller_manager.worlds import World, controllers, rest

BINDER = "persistentvolume-binder-controller"


def claim(name: str = "data", size: str = "1Gi", *, annotations: Any = None, **spec: Any) -> PersistentVolumeClaim:
    spec.setdefault("accessModes", ["ReadWriteOnce"])
    spec.setdefault("storageClassName", "")
    return PersistentVolumeClaim(
        metadata=ObjectMeta(name=name, namespace="default", annotations=annotations or {}),
        spec=PersistentVolumeClaimSpec(resources=VolumeResourceRequirements(requests={"storage": size}), **spec),
    )


def volume(name: str, size: str = "1Gi", **spec: Any) -> PersistentVolume:
    spec.setdefault("accessModes", ["ReadWriteOnce"])
    return PersistentVolume(
        metadata=ObjectMeta(name=name), spec=PersistentVolumeSpec(capacity={"storage": size}, **spec)
    )


def storage_class(name: str = "standard", provisioner: str = volumes.LOCAL_DRIVER, **more: Any) -> StorageClass:
    return StorageClass(metadata=ObjectMeta(name=name), provisioner=provisioner, **more)


def ready(name: str) -> Node:
    status = NodeStatus(conditions=[NodeCondition(type="Ready", status="True")])
    return Node(metadata=ObjectMeta(name=name, labels={"kubernetes.io/hostname": name}), status=status)


def user(claim_name: str = "data", node: str = "node1") -> Pod:
    source = PersistentVolumeClaimVolumeSource(claimName=claim_name)
    spec = PodSpec(nodeName=node, volumes=[Volume(name="v", persistentVolumeClaim=source)])
    return Pod(metadata=ObjectMeta(name="user", namespace="default"), spec=spec)


def phase(world: World, what: type[Any], name: str) -> str:
    return str(world.one(what, name).status.phase)


async def test_the_smallest_volume_that_is_large_enough_is_bound(world: World) -> None:
    for name, size in (("small", "500Mi"), ("large", "10Gi"), ("fitting", "2Gi")):
        await world.create(volume(name, size))
    await world.create(claim())
    async with controllers(world, BINDER):
        await rest(30)
        bound = world.one(PersistentVolumeClaim, "data")
        assert (bound.spec.volumeName, bound.status.phase) == ("fitting", "Bound")
        assert bound.status.capacity == {"storage": "2Gi"}
        assert bound.metadata.annotations[volumes.BIND_COMPLETED] == "yes"
        assert world.one(PersistentVolume, "fitting").spec.claimRef.uid == bound.metadata.uid
        assert [phase(world, PersistentVolume, n) for n in ("small", "fitting", "large")] == [
            "Available", "Bound", "Available",
        ]  # fmt: skip


@pytest.mark.parametrize("named", ["", "only"])
async def test_a_claim_that_a_volume_serves_gets_no_class(world: World, named: str) -> None:
    default = storage_class()
    default.metadata.annotations[volumes.DEFAULT_CLASS] = "true"
    await world.create(default)
    available = volume("only")
    available.status.phase = "Available"
    await world.create(available)
    await world.create(claim(storageClassName=None, volumeName=named))
    async with controllers(world, BINDER):
        await rest(30)
        bound = world.one(PersistentVolumeClaim, "data")
        assert (bound.status.phase, bound.spec.volumeName, bound.spec.storageClassName) == ("Bound", "only", None)


@pytest.mark.parametrize(
    ("changes", "bound"),
    [
        ({"accessModes": ["ReadWriteMany"]}, False),
        ({"storageClassName": "fast"}, False),
        ({"volumeMode": "Block"}, False),
        ({"accessModes": ["ReadWriteOnce", "ReadOnlyMany"]}, True),
    ],
)
async def test_a_claim_takes_no_volume_that_is_of_another_kind(world: World, changes: Any, bound: bool) -> None:
    given = {"accessModes": ["ReadWriteOnce", "ReadOnlyMany"]}
    await world.create(volume("v", **given))
    await world.create(claim(**changes))
    async with controllers(world, BINDER):
        await rest(30)
        assert phase(world, PersistentVolumeClaim, "data") == ("Bound" if bound else "Pending")


async def test_what_others_say_of_a_volume_stays(world: World) -> None:
    await world.create(volume("only"))
    await world.create(claim())
    async with controllers(world, BINDER):
        await rest(30)
        bound = world.one(PersistentVolume, "only")
        bound.status.message = "said by somebody else"
        await world.update_status(bound)
        await rest(30)
        status = world.one(PersistentVolume, "only").status
        assert (status.phase, status.message) == ("Bound", "said by somebody else")


async def test_two_claims_never_get_one_volume(world: World) -> None:
    await world.create(volume("only"))
    await world.create(claim("a"))
    await world.create(claim("b"))
    async with controllers(world, BINDER):
        await rest(30)
        assert sorted(phase(world, PersistentVolumeClaim, n) for n in "ab") == ["Bound", "Pending"]
        assert "no persistent volumes available for this claim and no storage class is set" in world.events(
            "FailedBinding"
        )
        await world.create(volume("another"))
        await rest(30)
        assert [phase(world, PersistentVolumeClaim, n) for n in "ab"] == ["Bound", "Bound"]


async def test_a_claim_that_names_a_volume_gets_that_one_or_none(world: World) -> None:
    await world.create(volume("a", "5Gi"))
    await world.create(volume("b"))
    await world.create(claim("right", volumeName="a"))
    await world.create(claim("greedy", "3Gi", volumeName="b"))
    async with controllers(world, BINDER):
        await rest(30)
        assert world.one(PersistentVolume, "a").spec.claimRef.name == "right"
        assert phase(world, PersistentVolumeClaim, "greedy") == "Pending"
        assert world.events("VolumeMismatch") == ['Cannot bind to requested volume "b": requested PV is too small']


async def test_a_volume_may_be_named_before_it_is_there(world: World) -> None:
    await world.create(claim(volumeName="later", storageClassName="manual"))
    async with controllers(world, BINDER):
        await rest(30)
        assert phase(world, PersistentVolumeClaim, "data") == "Pending"
        await world.create(volume("later", storageClassName="manual"))
        await rest(30)
        assert phase(world, PersistentVolumeClaim, "data") == "Bound"


async def test_a_volume_that_names_a_claim_waits_for_it(world: World) -> None:
    await world.create(volume("reserved", "9Gi", claimRef=ObjectReference(namespace="default", name="data")))
    await world.create(volume("smaller", "1Gi"))
    async with controllers(world, BINDER):
        await rest(20)
        assert phase(world, PersistentVolume, "reserved") == "Available"
        await world.create(claim())
        await rest(30)
        assert world.one(PersistentVolumeClaim, "data").spec.volumeName == "reserved"


async def test_a_claim_is_provided_for_on_the_node_that_was_selected(world: World) -> None:
    await world.create(storage_class(volumeBindingMode="WaitForFirstConsumer"))
    await world.create(ready("node1"))
    await world.create(ready("node2"))
    await world.create(claim(storageClassName="standard"))
    async with controllers(world, BINDER):
        await rest(30)
        assert phase(world, PersistentVolumeClaim, "data") == "Pending"
        assert world.events("WaitForFirstConsumer")
        await world.clock.advance(1)  # events are named by their time
        waiting = world.one(PersistentVolumeClaim, "data")
        waiting.metadata.annotations[volumes.SELECTED_NODE] = "node2"
        await world.update(waiting)
        await rest(40)
        bound = world.one(PersistentVolumeClaim, "data")
        made = world.one(PersistentVolume, f"pvc-{bound.metadata.uid}")
        assert (bound.status.phase, made.status.phase) == ("Bound", "Bound")
        assert made.metadata.labels == {volumes.NODE_LABEL: "node2"}
        assert made.spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].values == ["node2"]
        assert world.events("ProvisioningSucceeded") == [f"Successfully provisioned volume pvc-{bound.metadata.uid}"]


async def test_a_claim_that_waits_for_nobody_is_provided_for_at_once(world: World) -> None:
    await world.create(storage_class())
    await world.create(ready("node1"))
    await world.create(claim(storageClassName="standard"))
    async with controllers(world, BINDER):
        await rest(40)
        assert phase(world, PersistentVolumeClaim, "data") == "Bound"


async def test_a_claim_for_which_no_node_was_ready_is_served_when_one_is(world: World) -> None:
    await world.create(storage_class())
    cordoned = ready("node1")
    cordoned.spec.unschedulable = True
    await world.create(cordoned)
    await world.create(claim(storageClassName="standard"))
    async with controllers(world, BINDER):
        await rest(30)
        assert "no node is ready" in world.events("ProvisioningFailed")[0]
        open_again = world.one(Node, "node1")
        open_again.spec.unschedulable = False
        await world.update(open_again)
        await rest(30)
        assert phase(world, PersistentVolumeClaim, "data") == "Bound"


async def test_the_selection_of_a_node_that_is_gone_is_taken_back(world: World) -> None:
    await world.create(storage_class(volumeBindingMode="WaitForFirstConsumer"))
    await world.create(claim(storageClassName="standard", annotations={volumes.SELECTED_NODE: "gone"}))
    async with controllers(world, BINDER):
        await rest(30)
        waiting = world.one(PersistentVolumeClaim, "data")
        assert volumes.SELECTED_NODE not in waiting.metadata.annotations
        assert world.events("WaitForFirstConsumer")
        await world.create(ready("node1"))
        waiting.metadata.annotations[volumes.SELECTED_NODE] = "node1"
        await world.update(waiting)
        await rest(30)
        assert phase(world, PersistentVolumeClaim, "data") == "Bound"


async def test_claims_of_others_wait_for_their_provisioner(world: World) -> None:
    await world.create(storage_class("theirs", "csi.example.com"))
    await world.create(claim(storageClassName="theirs"))
    await world.create(storage_class("nobodys", "kubernetes.io/no-provisioner"))
    await world.create(claim("lost", storageClassName="nowhere"))
    await world.create(claim("unserved", storageClassName="nobodys"))
    async with controllers(world, BINDER):
        await rest(30)
        waiting = world.one(PersistentVolumeClaim, "data")
        assert waiting.metadata.annotations[volumes.STORAGE_PROVISIONER] == "csi.example.com"
        assert "the external provisioner 'csi.example.com'" in world.events("ExternalProvisioning")[0]
        assert set(world.events("ProvisioningFailed")) == {
            'storageclass.storage.k8s.io "nowhere" not found',
            "no volume plugin matched name: kubernetes.io/no-provisioner",
        }
        made = volume("pvc-1", storageClassName="theirs", claimRef=ObjectReference(
            namespace="default", name="data", uid=waiting.metadata.uid))  # fmt: skip
        await world.create(made)
        await rest(30)
        assert phase(world, PersistentVolumeClaim, "data") == "Bound"


async def test_a_class_that_becomes_the_default_is_given_to_claims_that_named_none(world: World) -> None:
    await world.create(claim(storageClassName=None))
    await world.create(ready("node1"))
    async with controllers(world, BINDER):
        await rest(20)
        default = storage_class()
        default.metadata.annotations[volumes.DEFAULT_CLASS] = "true"
        await world.create(default)
        await rest(40)
        assert world.one(PersistentVolumeClaim, "data").spec.storageClassName == "standard"
        assert phase(world, PersistentVolumeClaim, "data") == "Bound"


@pytest.mark.parametrize(("policy", "left"), [("Delete", []), ("Retain", ["Released"])])
async def test_a_volume_without_its_claim_is_released_and_reclaimed(world: World, policy: str, left: Any) -> None:
    await world.create(storage_class(reclaimPolicy=policy))
    await world.create(ready("node1"))
    await world.create(claim(storageClassName="standard"))
    async with controllers(world, BINDER):
        await rest(40)
        await world.delete(PersistentVolumeClaim, "data", "default")
        await rest(40)
        assert [v.status.phase for v in world.all(PersistentVolume)] == left


async def test_a_volume_that_nobody_can_delete_has_failed(world: World) -> None:
    await world.create(volume("v", persistentVolumeReclaimPolicy="Delete"))
    await world.create(claim())
    async with controllers(world, BINDER):
        await rest(30)
        await world.delete(PersistentVolumeClaim, "data", "default")
        await rest(30)
        assert phase(world, PersistentVolume, "v") == "Failed"
        assert len(world.events("VolumeFailedDelete")) == 1


async def test_a_claim_whose_volume_has_gone_is_lost(world: World) -> None:
    await world.create(volume("v"))
    await world.create(claim())
    async with controllers(world, BINDER):
        await rest(30)
        await world.finish(PersistentVolume, "v", "")
        await rest(30)
        assert phase(world, PersistentVolumeClaim, "data") == "Lost"
        assert world.events("ClaimLost") == ["Bound claim has lost its PersistentVolume. Data on the volume is lost!"]


async def test_a_claim_of_a_directory_grows_when_it_asks_for_more(world: World) -> None:
    await world.create(storage_class())
    await world.create(ready("node1"))
    await world.create(claim(storageClassName="standard"))
    async with controllers(world, BINDER):
        await rest(40)
        more = world.one(PersistentVolumeClaim, "data")
        more.spec.resources.requests["storage"] = "5Gi"
        await world.update(more)
        await rest(40)
        assert world.one(PersistentVolumeClaim, "data").status.capacity == {"storage": "5Gi"}
        assert world.all(PersistentVolume)[0].spec.capacity == {"storage": "5Gi"}
        assert world.events("VolumeResizeSuccessful") == ["Resize volume succeeded"]


@pytest.mark.parametrize(("driver", "kind"), [("csi.example.com", "Normal"), ("", "Warning")])
async def test_of_other_drivers_volumes_it_is_said_that_they_wait_to_be_grown(
    world: World, clock: FakeClock, driver: str, kind: str
) -> None:
    csi = CSIPersistentVolumeSource(driver=driver, volumeHandle="v") if driver else None
    await world.create(volume("v", csi=csi))
    await world.create(claim())
    async with controllers(world, BINDER, "persistentvolume-expander-controller"):
        await rest()
        assert phase(world, PersistentVolumeClaim, "data") == "Bound"
        assert not world.events("ExternalExpanding")
        await clock.advance(1)
        await world.patch(PersistentVolumeClaim, "data", "default", {"spec": {"resources": {"requests": {
            "storage": "2Gi"}}}})  # fmt: skip
        await rest()
        [told] = [e for e in world.all(Event) if e.reason == "ExternalExpanding"]
        assert (told.type, told.message) == (kind, "waiting for an external controller to expand this PVC")


async def test_a_binder_that_comes_back_finishes_what_was_begun(world: World) -> None:
    """Whatever of the four writes had been made when the process died."""
    kept = await world.create(claim())
    reference = ObjectReference(namespace="default", name="data", uid=kept.metadata.uid)
    await world.create(volume("half", claimRef=reference))
    await world.create(volume("free"))
    async with controllers(world, BINDER):
        await rest(30)
        assert world.one(PersistentVolumeClaim, "data").spec.volumeName == "half"
        assert phase(world, PersistentVolume, "free") == "Available"


async def test_nothing_is_written_when_all_is_bound(world: World) -> None:
    await world.create(volume("v"))
    await world.create(claim())
    async with controllers(world, BINDER):
        await rest(30)
    world.writes.clear()
    async with controllers(world, BINDER):
        await rest(30)
    assert world.writes == []


async def test_a_claim_stays_while_a_pod_uses_it(world: World) -> None:
    await world.create(claim())
    await world.create(user())
    async with controllers(world, "persistentvolumeclaim-protection-controller"):
        await rest(20)
        await world.delete(PersistentVolumeClaim, "data", "default")
        await rest(20)
        assert world.one(PersistentVolumeClaim, "data").metadata.deletionTimestamp
        await world.finish(Pod, "user")
        await rest(30)
        assert world.all(PersistentVolumeClaim) == []


async def test_a_volume_stays_while_it_is_bound(world: World) -> None:
    await world.create(volume("v"))
    await world.create(claim())
    async with controllers(world, "persistentvolume-protection-controller", BINDER):
        await rest(30)
        await world.delete(PersistentVolume, "v")
        await rest(20)
        assert phase(world, PersistentVolume, "v") == "Bound"
        await world.delete(PersistentVolumeClaim, "data", "default")
        await rest(30)
        assert world.all(PersistentVolume) == []


async def test_a_pod_gets_the_claims_of_its_ephemeral_volumes_and_nobody_elses(world: World) -> None:
    template = PersistentVolumeClaimTemplate(
        metadata=ObjectMeta(labels={"a": "b"}), spec=claim(storageClassName="standard").spec
    )
    ephemeral = [Volume(name=n, ephemeral=EphemeralVolumeSource(volumeClaimTemplate=template)) for n in ("x", "y")]
    await world.create(claim("user-y"))
    pod = user()
    pod.spec.volumes = ephemeral
    await world.create(pod)
    async with controllers(world, "ephemeral-volume-controller"):
        await rest(30)
        made = world.one(PersistentVolumeClaim, "user-x")
        assert (made.metadata.labels, made.spec.storageClassName) == ({"a": "b"}, "standard")
        assert made.metadata.ownerReferences[0].kind == "Pod"
        assert "was not created for pod default/user (pod is not owner)" in world.events("FailedBinding")[0]
        for name in ("user-x", "user-y"):  # its own, by mistake, and the one that was in its way
            await world.delete(PersistentVolumeClaim, name, "default")
            await rest(30)
            assert world.one(PersistentVolumeClaim, name).metadata.ownerReferences[0].kind == "Pod"


async def test_a_cluster_without_a_class_gets_one(world: World) -> None:
    async with controllers(world, "default-storage-class-controller"):
        await rest(20)
        assert world.one(StorageClass, "standard").metadata.annotations[volumes.DEFAULT_CLASS] == "true"


async def test_a_cluster_with_classes_gets_no_other(world: World) -> None:
    await world.create(storage_class("mine", "csi.example.com"))
    async with controllers(world, "default-storage-class-controller"):
        await rest(20)
        assert [c.metadata.name for c in world.all(StorageClass)] == ["mine"]
