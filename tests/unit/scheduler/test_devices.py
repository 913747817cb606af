"""Pods with claims of devices: where they may go, and what becomes of the claims."""

import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from api import errors, meta
from api.meta import Key
from api.resource_claims import FINALIZER
from api.types import (
    AllocatedDeviceStatus,
    AllocationResult,
    Condition,
    OwnerReference,
    Pod,
    PodResourceClaim,
    PodResourceClaimStatus,
    PodSchedulingGroup,
    ResourceSlice,
    ResourceV1ResourceClaim,
)
from machinery.testing import settle
from proto import scheduler_pb2 as pb
from scheduler.configurations import DEFAULT
from scheduler.decisions import Decision, schedule
from scheduler.devices import Devices
from scheduler.queues import State
from scheduler.serving import explanation, simulation
from scheduler.wishes import wish
from tests.unit.scheduler.device_objects import (
    DRIVER,
    allocation,
    alternative,
    claim,
    device,
    device_class,
    first_of,
    labelled,
    request,
    same,
    slice_of,
    user,
    written,
)
from tests.unit.scheduler.objects import World, node, pod
from tests.unit.scheduler.test_gangs import gang, grouping, on_group
from tests.unit.scheduler.test_scheduling import Cluster, Server, running

NOT_HELPFUL = "Preemption is not helpful for scheduling"
LARGE = f'device.attributes["{DRIVER}"].size >= 2'


def world(*slices: ResourceSlice, nodes: int = 2, claims: tuple[ResourceV1ResourceClaim, ...] = ()) -> World:
    made = World(*(node(f"n{number}") for number in range(1, nodes + 1)))
    known(made).set_class(device_class())
    for each in slices:
        known(made).set_slice(each)
    for every in claims:
        known(made).set_claim(every)
    return made


def known(of: World) -> Devices:
    return of.snapshot.with_devices()


def place(of: World, wanted: Pod) -> Decision:
    """Decide, and count what was decided."""
    decision = of.decide(wanted)
    if decision.node:
        of.snapshot.set_pod(wish(wanted), decision.node)
        of.snapshot.promise(decision.choices, decision.grants, decision.node)
    return decision


def given(decision: Decision) -> list[str]:
    return [
        f"{grant.claim.name}={r.pool}/{r.device}"
        for grant in decision.grants
        for r in (grant.allocation.devices.results if grant.allocation.devices is not None else ())
    ]


ONE_EACH = slice_of("a", node="n1"), slice_of("a", node="n2")


def test_a_pod_goes_where_there_is_a_device_for_its_claim() -> None:
    made = world(slice_of("a", node="n2"), nodes=3, claims=(claim(),))
    assert made.rejected(user("claim")) == dict.fromkeys(
        ("n1", "n3"), ("DynamicResources", "cannot allocate all claims")
    )
    decision = made.decide(user("claim"))
    assert (decision.node, given(decision)) == ("n2", ["claim=n2/a"])


def test_no_device_is_decided_on_twice() -> None:
    claims = tuple(claim(f"c{i}") for i in range(4))
    made = world(slice_of("a", "b", node="n1"), slice_of("a", node="n2"), claims=claims)
    decisions = [place(made, user(f"c{i}", name=f"p{i}")) for i in range(4)]
    assert sorted(each for d in decisions for each in given(d)) == sorted(
        f"{d.grants[0].claim.name}={d.node}/{d.grants[0].allocation.devices.results[0].device}"
        for d in decisions[:3]
        if d.grants[0].allocation.devices is not None
    )
    assert len({(d.node, given(d)[0].split("=")[1]) for d in decisions[:3]}) == 3
    assert decisions[3].message == (
        "0/2 nodes are available: 2 cannot allocate all claims. still not schedulable, preemption: 0/2 nodes are "
        f"available: 2 {NOT_HELPFUL}."
    )
    made.snapshot.withdraw((), decisions[0].grants)
    assert place(made, user("c3", name="p3")).node == decisions[0].node


def test_what_is_remembered_of_nodes_is_renewed_when_their_devices_change() -> None:
    made = world(*ONE_EACH, claims=(claim(),))
    assert not made.rejected(user("claim"))
    other = claim("other", allocation=allocation("a", on="n1"))
    known(made).set_claim(other)
    assert [*made.rejected(user("claim"))] == ["n1"]
    known(made).remove_slice(f"{DRIVER}-n2")
    assert [*made.rejected(user("claim"))] == ["n1", "n2"]
    known(made).remove_claim(other)
    assert [*made.rejected(user("claim"))] == ["n2"]
    made.snapshot.set_node(node("n3"))
    known(made).set_slice(slice_of("a", node="n3"))
    made.snapshot.remove_node("n1")
    assert [*made.rejected(user("claim"))] == ["n2"]
    for number in range(4, 40):  # more than there are rows, and in the rows of others
        made.snapshot.set_node(node(f"n{number}"))
    assert len(made.rejected(user("claim"))) == len(made.snapshot) - 1
    known(made).set_class(device_class("gpu", "false"))
    assert len(made.rejected(user("claim"))) == len(made.snapshot)


def test_devices_that_many_nodes_reach_are_found_by_labels() -> None:
    made = World(node("n1", labels={"rack": "a"}), node("n2", labels={"rack": "b"}))
    known(made).set_class(device_class())
    known(made).set_slice(slice_of("net", pool="rack-a", nodeSelector=labelled("rack", "a")))
    known(made).set_claim(claim())
    assert [*made.rejected(user("claim"))] == ["n2"]
    made.snapshot.set_node(node("n2", labels={"rack": "a"}))
    assert not made.rejected(user("claim"))
    decision = place(made, user("claim"))
    assert decision.grants[0].allocation.nodeSelector == labelled("rack", "a")
    known(made).set_claim(claim("second"))
    assert [*made.rejected(user("second"))] == ["n1", "n2"]


def test_a_pod_joins_a_claim_where_it_is_allocated() -> None:
    shared = claim(allocation=allocation("a", on="n2"), users=("first",))
    made = world(*ONE_EACH, claims=(shared,))
    assert made.rejected(user("claim")) == {"n1": ("DynamicResources", "resourceclaim not available on the node")}
    decision = made.decide(user("claim"))
    assert (decision.node, [grant.new for grant in decision.grants]) == ("n2", [False])


@pytest.mark.parametrize(
    ("wanted", "claims", "why"),
    [
        (user("claim"), [], 'could not find ResourceClaim "default/claim"'),
        (
            pod(resourceClaims=[PodResourceClaim(name="x", resourceClaimTemplateName="t")]), [],
            'pod "default/pod": ResourceClaim not created yet',
        ),
        (
            user("claim"), [claim(allocation=allocation("a", on="n1"), users=tuple(f"u{i}" for i in range(256)))],
            "resourceclaim in use",
        ),
        (user("claim"), [claim("claim", request(of="none"))], "request r: device class none does not exist"),
        (
            user("claim"), [claim("claim", first_of("r", alternative("s", of="none")))],
            "request r/s: device class none does not exist",
        ),
    ],
)  # fmt: skip
def test_what_keeps_a_pod_from_every_node_is_said(wanted: Pod, claims: list[ResourceV1ResourceClaim], why: str) -> None:
    decision = world(*ONE_EACH, claims=(*claims,)).decide(wanted)
    assert decision.message == (
        f"0/2 nodes are available: {why}. no new claims to deallocate, preemption: 0/2 nodes are available: "
        f"2 {NOT_HELPFUL}."
    )
    assert decision.rejectors == {"DynamicResources"}


def test_a_claim_that_is_being_deleted_or_belongs_to_another_pod_is_of_no_use() -> None:
    wanted = pod(resourceClaims=[PodResourceClaim(name="x", resourceClaimTemplateName="t")])
    wanted.status.resourceClaimStatuses = [PodResourceClaimStatus(name="x", resourceClaimName="claim")]
    made = claim()
    theirs = world(*ONE_EACH, claims=(made,)).decide(wanted)
    assert "ResourceClaim default/claim was not created for Pod default/pod (Pod is not owner)" in theirs.message
    made.metadata.ownerReferences = [OwnerReference(kind="Pod", name="pod", uid="uid-pod", controller=True)]
    assert world(*ONE_EACH, claims=(made,)).decide(wanted).node
    made.metadata.deletionTimestamp = "2026-01-01T00:00:00Z"
    assert 'resourceclaim "claim" is being deleted' in world(*ONE_EACH, claims=(made,)).decide(wanted).message


def test_a_pod_whose_template_needs_no_claim_goes_anywhere() -> None:
    wanted = pod(resourceClaims=[PodResourceClaim(name="x", resourceClaimTemplateName="t")])
    wanted.status.resourceClaimStatuses = [PodResourceClaimStatus(name="x")]
    assert World(node("n1")).decide(wanted).node == "n1"


def test_a_claim_that_is_being_allocated_for_another_pod_is_waited_for() -> None:
    made = world(*ONE_EACH, claims=(claim(),))
    assert place(made, user("claim", name="first")).node
    second = made.decide(user("claim", name="second"))
    assert "resource claim default/claim is in the process of being allocated" in second.message


def test_an_error_counts_only_where_the_pod_could_go_otherwise() -> None:
    wanted = claim("claim", request("r", 1, LARGE))
    made = world(slice_of(device("a", {"size": 2}), node="n1"), slice_of("a", node="n2"), claims=(wanted,))
    error = "claim default/claim: selector #0 on device gpu.example.com/n2/a: CEL runtime error: no such key: size"
    failed = made.decide(user("claim"))
    assert (failed.node, failed.preemption.node) == ("", "")
    assert failed.message == f'running "DynamicResources" filter plugin: {error}'
    assert made.decide(user("claim", nodeSelector={"kubernetes.io/hostname": "n1"})).node == "n1"


def test_the_earlier_alternative_is_worth_more() -> None:
    wanted = claim("claim", first_of("r", alternative("large", 1, LARGE), alternative("any")))
    small, large = device("a", {"size": 1}), device("a", {"size": 2})
    made = world(slice_of(small, node="n1"), slice_of(large, node="n2"), claims=(wanted,))
    assert made.scores(user("claim"), "DynamicResources") == {"n1": 174, "n2": 200}
    assert made.decide(user("claim")).node == "n2"
    assert not world(*ONE_EACH, claims=(claim(),)).scores(user("claim"), "DynamicResources")


@pytest.mark.parametrize(
    ("users", "cpu", "given_back"), [((), "1", True), (("pod",), "1", True), (("other",), "1", False), ((), "9", False)]
)
def test_a_claim_that_keeps_its_only_user_from_every_node_is_given_back(
    users: tuple[str, ...], cpu: str, given_back: bool
) -> None:
    made = world(*ONE_EACH, claims=(claim(allocation=allocation("a", on="n1"), users=users),))
    made.put("big", "n1", cpu="4")
    decision = made.decide(user("claim", cpu=cpu))
    assert decision.gives_back == (Key("default", "claim") if given_back else None)
    said = "deallocation of ResourceClaim completed" if given_back else "still not schedulable"
    assert f". {said}, preemption: " in decision.message


def test_pods_without_claims_need_nothing_of_this() -> None:
    made = World(node("n1"))
    assert made.decide(pod()).node == "n1"
    assert made.snapshot.devices is None


class Api(Server):
    """With claims: updates need the newest revision."""

    def __init__(self) -> None:
        super().__init__()
        self.claims: dict[Key, ResourceV1ResourceClaim] = {}
        self.writes: list[str] = []
        self.lost: list[tuple[bool, errors.ApiError]] = []
        """For the next updates: whether they are done, and what is answered."""
        self.follows: Callable[[ResourceV1ResourceClaim, ResourceV1ResourceClaim], None] = lambda old, new: None

    async def update(self, obj: Any, *, subresource: str = "") -> Any:
        done, error = self.lost.pop(0) if self.lost else (True, None)
        if done:
            written = self.store(obj, subresource)
        if error is not None:
            raise error
        return written

    async def update_status(self, obj: Any) -> Any:
        return await self.update(obj, subresource="status")

    def store(self, obj: Any, subresource: str) -> ResourceV1ResourceClaim:
        key = meta.key(obj)
        old = self.claims.get(key)
        if old is None:
            raise errors.not_found("resourceclaims", key.name)
        if old.metadata.resourceVersion != obj.metadata.resourceVersion:
            raise errors.Conflict("the object has been modified")
        new = meta.clone(obj if subresource else old)
        if not subresource:
            new.metadata = meta.clone(obj.metadata)
        new.metadata.resourceVersion = str(int(old.metadata.resourceVersion) + 1)
        self.claims[key] = new
        self.writes.append(f"{key.name}/{subresource}")
        return meta.clone(new)

    async def get(self, what: Any, name: str, namespace: str) -> Any:
        if what is ResourceV1ResourceClaim:
            if Key(namespace, name) not in self.claims:
                raise errors.not_found("resourceclaims", name)
            return meta.clone(self.claims[Key(namespace, name)])
        return await super().get(what, name, namespace)


class Managed:
    """A scheduler that runs, with an API server that has claims."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.api = cluster, Api()
        scheduler = cluster.scheduler
        self.granting = scheduler.bindings.granting
        for part in (scheduler.bindings, scheduler.writes, scheduler.preempting, self.granting):
            part._client = self.api  # type: ignore[assignment]
        self.granting.on_class(None, device_class())

    def put(self, new: ResourceV1ResourceClaim) -> None:
        old = self.api.claims.get(meta.key(new))
        self.api.claims[meta.key(new)] = new
        self.granting.on_claim(old, new)

    def offer(self, *slices: ResourceSlice) -> None:
        for each in slices:
            self.granting.on_slice(None, each)

    def claim(self, name: str = "claim") -> ResourceV1ResourceClaim:
        return self.api.claims[Key("default", name)]

    def devices_of(self, name: str = "claim") -> list[str]:
        allocation = self.claim(name).status.allocation
        return [r.device for r in allocation.devices.results] if allocation and allocation.devices else []

    def users_of(self, name: str = "claim") -> list[str]:
        return [u.name for u in self.claim(name).status.reservedFor]

    @property
    def bound(self) -> dict[str, str]:
        return {k.name: v for k, v in self.api.bound.items()}

    def waiting(self, name: str) -> Any:
        return self.cluster.scheduler.queue.find(Key("default", name))


async def test_a_claim_is_protected_allocated_and_reserved_before_its_pod_is_bound() -> None:
    async with running(node("n1")) as cluster:
        managed = Managed(cluster)
        managed.offer(slice_of("a", node="n1"))
        managed.put(claim())
        cluster.put(user("claim"))
        await settle()
        assert managed.bound == {"pod": "n1"}
        assert managed.api.writes == ["claim/", "claim/status"]
        assert managed.claim().metadata.finalizers == [FINALIZER]
        assert (managed.devices_of(), managed.users_of()) == (["a"], ["pod"])
        devices = cluster.scheduler.snapshot.devices
        assert devices is not None
        assert not devices.pending


async def test_a_second_pod_is_added_to_a_claim() -> None:
    async with running(node("n1")) as cluster:
        managed = Managed(cluster)
        managed.put(claim(allocation=allocation("a", on="n1"), users=("first",)))
        cluster.put(user("claim"))
        await settle()
        assert (managed.bound, managed.users_of()) == ({"pod": "n1"}, ["first", "pod"])
        assert managed.api.writes == ["claim/status"]


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("at", [0, 1])
async def test_what_nobody_answered_for_is_asked_for_until_it_is_known(done: bool, at: int) -> None:
    async with running(node("n1")) as cluster:
        managed = Managed(cluster)
        managed.offer(slice_of("a", node="n1"))
        managed.put(claim())
        managed.put(claim("second"))
        managed.api.lost = [(True, None)] * at + [(done, errors.Timeout("who knows"))]  # type: ignore[list-item]
        cluster.put(user("claim"))
        await settle()
        assert not managed.bound
        cluster.put(user("second", name="late"))
        await settle()
        assert "cannot allocate all claims" in managed.waiting("late").message  # the device may be given yet
        await cluster.clock.advance(1)
        assert managed.bound == {"pod": "n1"}
        assert (managed.devices_of(), managed.users_of()) == (["a"], ["pod"])


async def test_a_claim_that_was_changed_meanwhile_is_read_again() -> None:
    async with running(node("n1")) as cluster:
        managed = Managed(cluster)
        managed.offer(slice_of("a", node="n1"))
        managed.put(claim())
        managed.api.claims[Key("default", "claim")] = written(claim(), None)  # of which the informer has not told
        cluster.put(user("claim"))
        await settle()
        assert (managed.bound, managed.users_of()) == ({"pod": "n1"}, ["pod"])


async def test_who_finds_a_claim_allocated_otherwise_goes_back_and_keeps_nothing() -> None:
    async with running(node("n1")) as cluster:
        managed = Managed(cluster)
        managed.offer(slice_of("a", "b", node="n1"))
        managed.put(claim())
        theirs = written(claim(), allocation("b", on="n1"), "other")
        managed.api.claims[Key("default", "claim")] = theirs
        cluster.put(user("claim"))
        await settle()
        assert not managed.bound
        assert managed.waiting("pod").message == (
            "binding rejected: claim default/claim got allocated elsewhere in the meantime"
        )
        devices = cluster.scheduler.snapshot.devices
        assert devices is not None
        assert not devices.pending
        await cluster.clock.advance(1)
        assert (managed.bound, managed.users_of()) == ({"pod": "n1"}, ["other", "pod"])


async def test_a_pod_that_is_not_bound_leaves_its_claims_free_of_it() -> None:
    async with running(node("n1")) as cluster:
        managed = Managed(cluster)
        managed.offer(slice_of("a", node="n1"))
        managed.put(claim())
        managed.api.refusals = [errors.Forbidden("no")]
        cluster.put(user("claim"))
        await settle()
        assert not managed.bound
        assert (managed.devices_of(), managed.users_of()) == (["a"], [])
        await cluster.clock.advance(1)
        assert (managed.bound, managed.users_of()) == ({"pod": "n1"}, ["pod"])


async def test_a_pod_that_is_tried_again_does_not_lose_what_it_gets_now() -> None:
    async with running(node("n1")) as cluster:
        managed = Managed(cluster)
        managed.offer(slice_of("a", node="n1"))
        managed.put(claim())
        done: Any = [(True, None), (True, None)]
        managed.api.lost = [*done, *[(False, errors.Unavailable("not now"))] * 6]
        managed.api.refusals = [errors.Forbidden("no")]
        cluster.put(user("claim"))
        for _ in range(15):
            await settle()
            await cluster.clock.advance(0.1)
        assert (managed.bound, managed.users_of()) == ({"pod": "n1"}, ["pod"])


async def test_a_pod_that_another_has_bound_keeps_its_claims() -> None:
    async with running(node("n1")) as cluster:
        managed = Managed(cluster)
        managed.offer(slice_of("a", node="n1"))
        managed.put(claim())
        managed.api.refusals = [errors.Conflict("is already assigned")]
        managed.api.bound[Key("default", "pod")] = "n1"
        cluster.put(user("claim"))
        await settle()
        assert managed.users_of() == ["pod"]


async def test_a_claim_of_no_use_is_given_back_and_allocated_elsewhere() -> None:
    async with running(node("n1", unschedulable=True), node("n2")) as cluster:
        managed = Managed(cluster)
        managed.offer(*ONE_EACH)
        managed.put(claim(allocation=allocation("a", on="n1")))
        cluster.put(user("claim"))
        await settle()
        assert managed.claim().status.allocation is None
        cluster.scheduler.bindings.granting.on_claim(claim(allocation=allocation("a", on="n1")), managed.claim())
        await cluster.clock.advance(1)
        assert managed.bound == {"pod": "n2"}


async def test_a_pod_is_not_tried_before_its_claims_are_made() -> None:
    async with running(node("n1")) as cluster:
        managed = Managed(cluster)
        managed.offer(slice_of("a", node="n1"))
        wanted = pod(resourceClaims=[PodResourceClaim(name="x", resourceClaimTemplateName="t")])
        cluster.put(wanted)
        await settle()
        assert managed.waiting("pod").state is State.GATED
        assert cluster.scheduler.holds_up(wanted) == 'pod "default/pod": ResourceClaim not created yet'
        named = meta.clone(wanted)
        named.status.resourceClaimStatuses = [PodResourceClaimStatus(name="x", resourceClaimName="claim")]
        cluster.put(named)
        await settle()
        assert managed.waiting("pod").state is State.GATED
        made = claim()
        made.metadata.ownerReferences = [OwnerReference(kind="Pod", name="pod", uid="uid-pod", controller=True)]
        managed.put(made)
        await settle()
        assert managed.bound == {"pod": "n1"}


async def test_only_what_may_help_wakes_a_pod() -> None:
    async with running(node("n1")) as cluster:
        managed = Managed(cluster)
        managed.offer(slice_of("a", node="n1"))
        managed.put(claim())
        busy = claim("busy", allocation=allocation("a", on="n1"), users=("other",))
        managed.put(busy)
        cluster.put(user("claim"))
        await settle()
        assert managed.waiting("pod").state is State.UNSCHEDULABLE
        managed.put(claim("unrelated"))
        managed.put(written(busy, busy.status.allocation, "other", "another"))
        managed.granting.on_slice(slice_of("a", node="n1"), slice_of("a", node="n1"))
        assert managed.waiting("pod").state is State.UNSCHEDULABLE
        managed.put(written(managed.claim("busy"), None))
        await cluster.clock.advance(1)
        assert managed.bound == {"pod": "n1"}


@pytest.mark.parametrize("helps", ["slice", "class", "claim"])
async def test_what_is_new_wakes_the_pods_that_want_devices(helps: str) -> None:
    async with running(node("n1")) as cluster:
        managed = Managed(cluster)
        wanted = claim("claim", request(of="late" if helps == "class" else "gpu"))
        if helps == "claim":
            wanted.status.allocation = allocation("z", on="gone")
            wanted.status.reservedFor = claim(users=("other",)).status.reservedFor
        managed.put(wanted)
        if helps != "slice":
            managed.offer(slice_of("a", node="n1"))
        cluster.put(user("claim"))
        await settle()
        assert not managed.bound
        match helps:
            case "slice":
                managed.offer(slice_of("a", node="n1"))
            case "class":
                managed.granting.on_class(None, device_class("late"))
            case _:
                managed.put(written(wanted, allocation("z", on="n1"), "other"))
        await cluster.clock.advance(1)
        assert managed.bound == {"pod": "n1"}


async def test_a_claim_that_was_written_is_not_forgotten_for_what_the_informer_says_late() -> None:
    async with running(node("n1")) as cluster:
        managed = Managed(cluster)
        managed.offer(slice_of("a", node="n1"))
        managed.put(claim())
        cluster.put(user("claim"))
        await settle()
        protected = written(claim(), None)
        managed.granting.on_claim(claim(), protected)
        managed.put(claim("second"))
        cluster.put(user("second", name="late"))
        await settle()
        assert managed.bound == {"pod": "n1"}


async def test_explanations_and_simulations_know_devices() -> None:
    async with running(node("n1"), node("n2")) as cluster:
        managed = Managed(cluster)
        managed.offer(slice_of("a", node="n1"))
        managed.put(claim())
        managed.put(claim("second"))
        explained = await explanation(cluster.scheduler, user("claim"))
        assert explained.node == "n1"
        assert [(v.node, v.reason) for v in explained.verdicts if v.rejected_by] == [
            ("n2", "cannot allocate all claims")
        ]
        pods = [meta.encode(user("claim", name="p1")), meta.encode(user("second", name="p2"))]
        found = await simulation(cluster.scheduler, list, pb.SimulateRequest(pods=pods))
        assert [p.node for p in found.placements] == ["n1", ""]
        devices = cluster.scheduler.snapshot.devices
        assert devices is not None
        assert (devices.pending, managed.api.writes) == ({}, [])


def test_a_share_of_a_device_has_an_id_of_its_own() -> None:
    shared = slice_of(device("a", None, {"memory": "8Gi"}, allowMultipleAllocations=True), node="n1")
    claims = tuple(claim(f"c{i}", request(asks={"memory": "3Gi"})) for i in range(3))
    made = world(shared, claims=claims)
    decisions = [place(made, user(f"c{i}", name=f"p{i}")) for i in range(3)]
    assert [d.node for d in decisions] == ["n1", "n1", ""]
    ids = {r.shareID for d in decisions[:2] for r in _results(d.grants[0].allocation)}
    assert len(ids) == 2
    made.snapshot.withdraw((), decisions[0].grants)
    assert place(made, user("c2", name="p2")).node == "n1"


def _results(allocation: AllocationResult) -> Any:
    return allocation.devices.results if allocation.devices is not None else []


def test_claims_of_one_pod_are_allocated_together() -> None:
    pair = claim("pair", request(count=2), constraints=[same("numa")])
    numa = slice_of(*(device(f"d{i}", {"numa": i // 2}) for i in range(4)), node="n1")
    made = world(numa, claims=(claim("one"), pair))
    assert given(made.decide(user("one", "pair"))) == ["one=n1/d0", "pair=n1/d2", "pair=n1/d3"]


def test_decisions_for_the_same_wish_use_what_is_remembered() -> None:
    made = world(*ONE_EACH, claims=(claim("c1"), claim("c2")))
    assert schedule(made.snapshot, wish(user("c1")), made._random).node
    assert schedule(made.snapshot, wish(user("c2")), made._random).node
    assert len(known(made).remembered) == 1


def told(of: ResourceV1ResourceClaim, **conditions: str) -> ResourceV1ResourceClaim:
    """The claim, when its driver has told that of its device."""
    new = written(of, of.status.allocation)
    new.status.reservedFor = of.status.reservedFor
    result = _results(of.status.allocation)[0]
    new.status.devices = [
        AllocatedDeviceStatus(
            driver=result.driver, pool=result.pool, device=result.device,
            conditions=[Condition(type=t, status=s, reason="Test", message="so") for t, s in conditions.items()],
        )
    ]  # fmt: skip
    return new


@asynccontextmanager
async def preparing(seconds: float = 600) -> AsyncIterator[tuple[Cluster, Managed]]:
    """A pod whose device is being prepared."""
    configuration = replace(DEFAULT, profiles=(replace(DEFAULT.profiles[0], device_seconds=seconds),))
    async with running(node("n1"), configuration=configuration) as cluster:
        managed = Managed(cluster)
        slow = device("a", bindingConditions=["Attached"], bindingFailureConditions=["Failed"])
        managed.offer(slice_of(slow, node="n1"))
        managed.put(claim())
        cluster.put(user("claim"))
        await settle()
        assert not managed.bound
        assert cluster.server.told[0] == (
            "Normal", "BindingConditionsPending", "waiting for binding conditions for device on node n1"
        )  # fmt: skip
        assert managed.devices_of() == ["a"]
        yield cluster, managed


async def test_a_pod_is_bound_when_its_devices_are_prepared() -> None:
    async with preparing() as (cluster, managed):
        assert not cluster.scheduler.bindings.under_way  # a scheduler that ends does not wait for that
        managed.put(told(managed.claim(), Attached="False"))
        await settle()
        assert not managed.bound
        managed.put(told(managed.claim(), Attached="True"))
        await settle()
        assert managed.bound == {"pod": "n1"}


async def test_devices_that_cannot_be_prepared_are_given_back() -> None:
    async with preparing() as (cluster, managed):
        managed.put(told(managed.claim(), Failed="True"))
        await settle()
        why = 'claim claim binding failed: reason=Test, message="so"'
        assert managed.waiting("pod").message == f"binding rejected: {why}"
        assert managed.users_of() == []
        await cluster.clock.advance(1)
        assert ". deallocation of ResourceClaim completed, " in managed.waiting("pod").message
        assert (managed.claim().status.allocation, managed.claim().status.devices) == (None, [])


async def test_devices_that_are_not_prepared_in_time_are_given_back() -> None:
    async with preparing(seconds=0) as (cluster, managed):
        assert managed.waiting("pod").message == "binding rejected: device binding timeout"
        await cluster.clock.advance(1)
        assert ". deallocation of ResourceClaim completed, " in managed.waiting("pod").message
        assert managed.claim().status.allocation is None
        managed.granting.on_claim(None, managed.claim())
        devices = cluster.scheduler.snapshot.devices
        assert devices is not None
        assert not devices.expired


async def test_a_gang_gets_devices_for_all_of_its_pods_or_none() -> None:
    async with grouping(node("n1"), node("n2")) as cluster:
        managed = Managed(cluster)
        managed.offer(slice_of("a", node="n1"), slice_of("a", node="n2"))
        on_group(cluster, None, gang(3))
        group = PodSchedulingGroup(podGroupName="gang")
        for number in range(3):
            managed.put(claim(f"c{number}"))
            cluster.put(user(f"c{number}", name=f"p{number}", schedulingGroup=group))
        await settle()
        devices = cluster.scheduler.snapshot.devices
        assert devices is not None
        assert (managed.bound, managed.api.writes, devices.pending) == ({}, [], {})
        managed.offer(slice_of("b", node="n1", pool="more"))
        await cluster.clock.advance(1)
        assert [*managed.bound] == ["p0", "p1", "p2"]
        assert sorted(managed.bound.values()) == ["n1", "n1", "n2"]
        assert not devices.pending


async def test_pods_of_a_gang_share_a_claim_that_is_allocated_with_them() -> None:
    async with grouping(node("n1"), node("n2")) as cluster:
        managed = Managed(cluster)
        managed.offer(slice_of("a", node="n2"))
        on_group(cluster, None, gang(3))
        group = PodSchedulingGroup(podGroupName="gang")
        managed.put(claim())
        for number in range(3):
            cluster.put(user("claim", name=f"p{number}", schedulingGroup=group))
        await settle()
        assert managed.bound == {"p0": "n2", "p1": "n2", "p2": "n2"}
        assert (managed.devices_of(), sorted(managed.users_of())) == (["a"], ["p0", "p1", "p2"])
        devices = cluster.scheduler.snapshot.devices
        assert devices is not None
        assert not devices.pending


async def test_simulated_pods_share_a_claim() -> None:
    async with running(node("n1"), node("n2")) as cluster:
        managed = Managed(cluster)
        managed.offer(slice_of("a", node="n1"))
        managed.put(claim())
        pods = [meta.encode(user("claim", name=f"p{number}")) for number in range(2)]
        found = await simulation(cluster.scheduler, list, pb.SimulateRequest(pods=pods))
        assert [p.node for p in found.placements] == ["n1", "n1"]
        devices = cluster.scheduler.snapshot.devices
        assert devices is not None
        assert not devices.pending


def test_nobody_who_has_no_devices_pays_for_them() -> None:
    """What allocates, and the language of selectors, are imported with the first claim."""
    code = "import sys, scheduler.__main__; print([m for m in sys.modules if m in sys.argv[1:]])"
    modules = "scheduler.devices", "scheduler.allocating", "scheduler.resource_claims", "machinery.cel"
    done = subprocess.run([sys.executable, "-c", code, *modules], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def any_slice(random: Random) -> ResourceSlice:
    """Local, of a rack, of all nodes, or device by device; alone or one of two in its pool."""
    node, rack = f"n{random.randrange(4)}", random.choice("ab")
    name = random.choice(["s1", "s2", "s3", "s4", "s5"])
    more: dict[str, Any] = random.choice(
        [
            {"node": node, "pool": node},
            {"node": node, "pool": "mixed", "count": 2},
            {"pool": "mixed", "nodeSelector": labelled("rack", rack), "count": 2},
            {"pool": f"rack-{rack}", "nodeSelector": labelled("rack", rack)},
            {"pool": "all", "allNodes": True, "generation": random.choice([1, 2])},
        ]
    )
    if random.random() < 0.2:
        devices = device("a", nodeName=node), device("b", nodeSelector=labelled("rack", rack))
        return slice_of(*devices, pool="each", name=name, perDeviceNodeSelection=True)
    return slice_of("a", "b", name=name, **more)


@pytest.mark.parametrize("seed", range(30))
def test_what_is_remembered_is_what_would_be_found_anew(seed: int) -> None:
    random = Random(seed)
    made, slices, held, nodes = world(nodes=0), {}, {}, {}
    wanted = {name: claim(name, request(count=count)) for name, count in (("one", 1), ("three", 3))}
    for each in wanted.values():
        known(made).set_claim(each)
    for _ in range(60):
        name = f"n{random.randrange(4)}"
        match random.randrange(6):
            case 0 | 1:
                new = any_slice(random)
                slices[new.metadata.name] = new
                known(made).set_slice(new)
            case 2 if slices:
                gone = random.choice(sorted(slices))
                del slices[gone]
                known(made).remove_slice(gone)
            case 3:
                pool = random.choice([name, "mixed", "rack-a", "rack-b", "all", "each"])
                other = claim(f"held-{random.randrange(3)}", allocation=allocation(random.choice("ab"), pool=pool))
                held[other.metadata.name] = other
                known(made).set_claim(other)
            case 4 if held:
                known(made).remove_claim(held.pop(random.choice(sorted(held))))
            case _ if name in nodes and random.random() < 0.3:
                del nodes[name]
                made.snapshot.remove_node(name)
            case _:
                nodes[name] = node(name, labels={"rack": random.choice("ab")})
                made.snapshot.set_node(nodes[name])
        fresh = World(*nodes.values())
        known(fresh).set_class(device_class())
        for each in (*slices.values(),):
            known(fresh).set_slice(each)
        for every in (*wanted.values(), *held.values()):
            known(fresh).set_claim(every)
        for which in random.sample(sorted(wanted), random.randrange(3)):
            assert made.rejected(user(which)) == fresh.rejected(user(which))
