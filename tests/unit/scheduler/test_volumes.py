"""Pods with claims: where they may go, and what becomes of the claims."""

from collections.abc import Sequence
from typing import Any

import pytest

from api import errors, meta, volumes
from api.meta import Key
from api.types import (
    CSIPersistentVolumeSource,
    EphemeralVolumeSource,
    Node,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    ObjectMeta,
    ObjectReference,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimStatus,
    PersistentVolumeClaimVolumeSource,
    PersistentVolumeSpec,
    PersistentVolumeStatus,
    Pod,
    StorageClass,
    TopologySelectorLabelRequirement,
    TopologySelectorTerm,
    Volume,
    VolumeNodeAffinity,
    VolumeResourceRequirements,
)
from machinery.testing import settle
from scheduler.queues import State
from scheduler.storage import Choice
from scheduler.wishes import HOSTNAME, ZONE, wish
from tests.unit.scheduler.objects import World, node, pod
from tests.unit.scheduler.test_scheduling import Cluster, running

NODES = "0/2 nodes are available: "


def claim(name: str = "data", volume: str = "", size: str = "1Gi", **more: Any) -> PersistentVolumeClaim:
    annotations = {volumes.BIND_COMPLETED: "yes"} if volume else {}
    more.setdefault("storageClassName", "late")
    more.setdefault("accessModes", ["ReadWriteOnce"])
    return PersistentVolumeClaim(
        metadata=ObjectMeta(name=name, namespace="default", uid=f"uid-{name}", annotations=annotations),
        spec=PersistentVolumeClaimSpec(
            volumeName=volume, resources=VolumeResourceRequirements(requests={"storage": size}), **more
        ),
        status=PersistentVolumeClaimStatus(phase="Bound" if volume else "Pending"),
    )


def volume(name: str, on: str = "", size: str = "1Gi", labels: Any = None, **more: Any) -> PersistentVolume:
    requirement = NodeSelectorRequirement(key=HOSTNAME, operator="In", values=[on])
    required = NodeSelector(nodeSelectorTerms=[NodeSelectorTerm(matchExpressions=[requirement])])
    more.setdefault("storageClassName", "late")
    return PersistentVolume(
        metadata=ObjectMeta(name=name, labels=labels or {}, uid=f"uid-{name}"),
        spec=PersistentVolumeSpec(
            capacity={"storage": size}, accessModes=["ReadWriteOnce"],
            nodeAffinity=VolumeNodeAffinity(required=required) if on else None, **more,
        ),
        status=PersistentVolumeStatus(phase="Available"),
    )  # fmt: skip


def late(provisioner: str = volumes.LOCAL_DRIVER, **more: Any) -> StorageClass:
    more.setdefault("volumeBindingMode", "WaitForFirstConsumer")
    return StorageClass(metadata=ObjectMeta(name="late"), provisioner=provisioner, **more)


def user(*claims: str, name: str = "pod", **spec: Any) -> Pod:
    mounted = [
        Volume(name=c, persistentVolumeClaim=PersistentVolumeClaimVolumeSource(claimName=c))
        for c in claims or ("data",)
    ]
    return pod(name, volumes=mounted, **spec)


def world(*objects: Any, nodes: Sequence[Node] = (node("n1", zone="a"), node("n2", zone="b"))) -> World:
    found = World(*nodes)
    storage = found.snapshot.storage
    for each in objects:
        match each:
            case PersistentVolumeClaim():
                storage.claims[meta.key(each)] = each
            case PersistentVolume():
                storage.volumes[each.metadata.name] = each
            case StorageClass():
                storage.classes[each.metadata.name] = each
    return found


def test_a_pod_goes_where_its_volume_is() -> None:
    decision = world(claim(volume="v"), volume("v", on="n2")).decide(user())
    assert (decision.node, decision.choices) == ("n2", ())


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ([], 'persistentvolumeclaim "data" not found.'),
        ([claim(), late(volumeBindingMode="Immediate")], "pod has unbound immediate PersistentVolumeClaims."),
        ([claim(volume="v")], "2 node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)."),
        ([claim(volume="v"), volume("v", on="n9")], "2 node(s) didn't match PersistentVolume's node affinity."),
        (
            [claim(), late("kubernetes.io/no-provisioner")],
            "2 node(s) didn't find available persistent volumes to bind.",
        ),
        (
            [claim(volume="v"), volume("v", labels={ZONE: "c"})],
            "2 node(s) had no available volume zone.",
        ),
    ],
)
def test_a_pod_whose_claims_cannot_be_met_says_why(objects: Any, message: str) -> None:
    decision = world(*objects).decide(user())
    helpless = (
        " no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
    )
    if not message.startswith("2 "):  # it is about the pod, and nothing is said of the nodes
        helpless = " not found"
    assert (decision.node, decision.message) == ("", NODES + message + helpless)


def test_an_ephemeral_claim_is_waited_for() -> None:
    waiting = pod(volumes=[Volume(name="v", ephemeral=EphemeralVolumeSource())])
    why = 'waiting for ephemeral volume controller to create the persistentvolumeclaim "pod-v"'
    assert why in world().decide(waiting).message


def test_a_claim_of_somebody_else_is_no_ephemeral_one() -> None:
    confused = pod(volumes=[Volume(name="v", ephemeral=EphemeralVolumeSource())])
    why = "PVC default/pod-v was not created for pod default/pod (pod is not owner)"
    assert why in world(claim("pod-v")).decide(confused).message


def test_the_smallest_free_volume_of_the_node_is_chosen() -> None:
    given = world(
        claim(), late("kubernetes.io/no-provisioner"),
        volume("large", on="n2", size="9Gi"), volume("small", on="n2", size="2Gi"), volume("tiny", on="n1", size="1Mi"),
    )  # fmt: skip
    decision = given.decide(user())
    assert (decision.node, decision.choices) == ("n2", (Choice(Key("default", "data"), "small"),))


def test_two_claims_of_a_pod_get_two_volumes() -> None:
    nothing_made = late("kubernetes.io/no-provisioner")
    given = world(
        claim("a"), claim("b"), nothing_made, volume("x", on="n1"), volume("y", on="n2"), volume("z", on="n2")
    )
    decision = given.decide(user("a", "b"))
    assert decision.node == "n2"
    assert {c.volume for c in decision.choices} == {"y", "z"}


def test_a_volume_that_another_pod_will_have_is_not_chosen_again() -> None:
    given = world(claim("a"), claim("b"), late("kubernetes.io/no-provisioner"), volume("x", on="n1"))
    first = given.decide(user("a"))
    given.snapshot.storage.reserve(first.choices, first.node)
    assert not given.decide(user("b")).node
    given.snapshot.storage.release(first.choices)
    assert given.decide(user("b")).node == "n1"


def test_a_volume_that_is_reserved_for_a_claim_is_for_no_other() -> None:
    reserved = volume("x", on="n1", claimRef=ObjectReference(namespace="default", name="b"))
    given = world(claim("a"), claim("b"), late("kubernetes.io/no-provisioner"), reserved)
    assert not given.decide(user("a")).node
    assert given.decide(user("b")).node == "n1"


def test_a_volume_can_be_made_where_the_class_says() -> None:
    term = TopologySelectorTerm(matchLabelExpressions=[TopologySelectorLabelRequirement(key=ZONE, values=["b"])])
    decision = world(claim(), late(allowedTopologies=[term])).decide(user())
    assert (decision.node, decision.choices) == ("n2", (Choice(Key("default", "data"), ""),))


def test_pods_that_share_a_claim_go_where_the_first_of_them_goes() -> None:
    given = world(claim(), late())
    first = given.decide(user())
    given.snapshot.storage.reserve(first.choices, first.node)
    assert {given.decide(user(name=f"p{i}")).node for i in range(8)} == {first.node}


def test_a_claim_for_one_pod_serves_one() -> None:
    given = world(claim(volume="v", accessModes=["ReadWriteOncePod"]), volume("v"))
    given.put("first", "n1", volumes=user().spec.volumes)
    message = given.decide(user()).message
    assert "ReadWriteOncePod access mode already in-use by another pod" in message
    assert "No preemption victims found" in message
    given.snapshot.remove_pod(Key("default", "first"))
    assert given.decide(user()).node


FULL = "node(s) exceed max volume count"
DRIVER = "csi.example.com"


def attached(name: str, handle: str = "", driver: str = DRIVER) -> list[Any]:
    """A claim of that name that is bound to a volume of its own."""
    source = CSIPersistentVolumeSource(driver=driver, volumeHandle=handle or name)
    return [claim(name, volume=f"v-{name}"), volume(f"v-{name}", csi=source)]


def put(found: World, name: str, on: str, *claims: str) -> None:
    found.snapshot.set_pod(wish(user(*claims, name=name)), on)


def test_a_node_takes_no_more_volumes_of_a_driver_than_its_limit() -> None:
    found = world(*attached("a"), *attached("b"), *attached("c"), *attached("other", driver="other"))
    found.snapshot.storage.limits = {"n1": {DRIVER: 1}, "n2": {DRIVER: 2}}
    put(found, "user-a", "n1", "a")
    assert found.rejected(user("b", name="x")) == {"n1": ("NodeVolumeLimits", FULL)}
    assert found.rejected(user("b", "c", name="x")) == {"n1": ("NodeVolumeLimits", FULL)}
    assert found.rejected(user("a", "b", "c", name="x")).keys() == {"n1", "n2"}
    assert found.rejected(user("other", name="x")) == {}


def test_a_volume_that_is_attached_already_is_not_counted_again() -> None:
    found = world(*attached("a"), *attached("again", handle="a"))
    found.snapshot.storage.limits = {"n1": {DRIVER: 1}}
    put(found, "user-a", "n1", "a")
    assert found.rejected(user("a", name="x")) == {}
    assert found.rejected(user("again", name="x")) == {}


def test_a_volume_that_will_be_made_counts_for_its_driver() -> None:
    found = world(late(DRIVER), claim("made"), *attached("a"))
    found.snapshot.storage.limits = {"n1": {DRIVER: 1}}
    put(found, "user-a", "n1", "a")
    assert found.rejected(user("made", name="x")) == {"n1": ("NodeVolumeLimits", FULL)}


def test_a_pod_with_volumes_makes_others_go_that_have_too_many() -> None:
    found = world(*attached("a"), *attached("b"), nodes=[node("n1")])
    found.snapshot.storage.limits = {"n1": {DRIVER: 1}}
    put(found, "user-a", "n1", "a")
    decision = found.decide(user("b", name="x", priority=1))
    assert decision.preemption.node == "n1"
    assert [v.key.name for v in decision.preemption.victims] == ["user-a"]


class Storage:
    """Answers to writes of claims and volumes, and tells the scheduler of them as the binder would."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.prebinding = cluster, cluster.scheduler.bindings.prebinding
        self.patched: list[Any] = []
        self.updated: list[PersistentVolume] = []
        self.refusal: errors.ApiError | None = None
        server: Any = cluster.server
        self._patch = server.patch
        server.patch, server.update = self.patch, self.update

    async def patch(self, what: Any, name: str, namespace: str, patch: Any, **options: Any) -> None:
        if what is Pod:
            await self._patch(what, name, namespace, patch, **options)
            return
        self.patched.append((name, patch["metadata"]["annotations"]))
        changed = meta.clone(self.cluster.scheduler.snapshot.storage.claims[Key(namespace, name)])
        changed.metadata.annotations |= patch["metadata"]["annotations"]
        self.tell(changed)

    async def update(self, obj: PersistentVolume) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.updated.append(obj)

    def tell(self, obj: Any) -> None:
        """Of an object as it is now."""
        on = self.prebinding.on_claim if isinstance(obj, PersistentVolumeClaim) else self.prebinding.on_volume
        on(None, obj)


async def test_a_pod_is_bound_when_its_claim_is() -> None:
    async with running(node("n1")) as cluster:
        storage = Storage(cluster)
        storage.prebinding.on_class(None, late())
        storage.tell(claim())
        cluster.put(user())
        await settle()
        assert storage.patched == [("data", {volumes.SELECTED_NODE: "n1"})]
        assert cluster.bound == {}
        storage.tell(claim(volume="v"))
        await settle()
        assert cluster.bound == {"pod": "n1"}
        assert cluster.scheduler.snapshot.storage.selected == {}


async def test_a_volume_is_given_to_the_claim_before_the_pod_is_bound() -> None:
    async with running(node("n1")) as cluster:
        storage = Storage(cluster)
        storage.prebinding.on_class(None, late("kubernetes.io/no-provisioner"))
        storage.tell(volume("v", on="n1"))
        storage.tell(claim())
        cluster.put(user())
        await settle()
        assert [(v.metadata.name, v.spec.claimRef.uid) for v in storage.updated if v.spec.claimRef] == [
            ("v", "uid-data")
        ]
        storage.tell(claim(volume="v"))
        await settle()
        assert cluster.bound == {"pod": "n1"}


async def test_a_pod_goes_where_its_claim_got_a_volume_and_not_where_it_was_to_get_one() -> None:
    async with running(node("n1"), node("n2")) as cluster:
        storage = Storage(cluster)
        storage.prebinding.on_class(None, late("kubernetes.io/no-provisioner"))
        for name in ("n1", "n2"):
            storage.tell(volume(f"v-{name}", on=name))
        storage.tell(claim())
        cluster.put(user())
        await settle()
        [chosen] = storage.updated
        other = "n2" if chosen.metadata.name == "v-n1" else "n1"
        # So it was chosen by an attempt of which it was not known whether it was written.
        storage.tell(claim(volume=f"v-{other}"))
        await settle()
        await cluster.clock.advance(2)
        await settle()
        assert cluster.bound == {"pod": other}


async def test_a_volume_that_another_scheduler_took_is_given_up() -> None:
    async with running(node("n1")) as cluster:
        storage = Storage(cluster)
        storage.refusal = errors.Conflict("changed")
        storage.prebinding.on_class(None, late("kubernetes.io/no-provisioner"))
        storage.tell(volume("v", on="n1"))
        storage.tell(claim())
        cluster.put(user())
        await settle()
        assert cluster.bound == {}
        assert cluster.scheduler.snapshot.storage.taken == {}
        assert [w.key.name for w in cluster.scheduler.queue.waiting(State.BACKOFF)] == ["pod"]


async def test_a_provisioner_that_takes_the_selection_back_sends_the_pod_back() -> None:
    async with running(node("n1")) as cluster:
        storage = Storage(cluster)
        storage.prebinding.on_class(None, late("csi.example.com"))
        storage.tell(claim())
        cluster.put(user())
        await settle()
        storage.tell(claim())
        await settle()
        assert (
            "Warning",
            "FailedScheduling",
            'binding rejected: provisioning failed for PVC "data"',
        ) in cluster.server.told


async def test_waiting_for_volumes_does_not_keep_others_waiting() -> None:
    async with running(node("n1", pods="300")) as cluster:
        storage = Storage(cluster)
        storage.prebinding.on_class(None, late())
        for i in range(200):
            storage.tell(claim(f"c{i}"))
            cluster.put(user(f"c{i}", name=f"p{i}"))
        cluster.put(pod("plain"))
        for _ in range(20):  # two hundred decisions take a while
            await settle()
        assert cluster.bound == {"plain": "n1"}
