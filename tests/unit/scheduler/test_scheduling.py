import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest

from api import errors, meta
from api.meta import Key, key
from api.types import (
    ContainerStatus,
    Namespace,
    ObjectMeta,
    OwnerReference,
    Pod,
    PodCondition,
    PodSchedulingGate,
    ReplicaSet,
    ReplicaSetSpec,
    ResourceRequirements,
    Service,
    ServiceSpec,
)
from api.types import LabelSelector as Selector
from machinery.testing import FakeClock, settle
from proto import scheduler_pb2 as pb
from scheduler.configs import parse
from scheduler.configurations import DEFAULT, Configuration
from scheduler.decisions import explain
from scheduler.following import Following
from scheduler.groups import KINDS, Groups
from scheduler.profiles import Profile
from scheduler.queues import State
from scheduler.scheduling import Scheduler
from scheduler.serving import explanation, simulation
from tests.unit.scheduler.objects import near, node, pod, taint


class Server:
    """Takes bindings and patches as the API server does, and tells the scheduler about them when asked to."""

    def __init__(self) -> None:
        self.bound: dict[Key, str] = {}
        self.conditions: dict[str, Any] = {}
        self.nominated: dict[str, str | None] = {}
        self.deleted: list[str] = []
        self.refusals: list[errors.ApiError] = []
        self.held: asyncio.Event | None = None
        self.told: list[tuple[str, str, str]] = []

    async def create_subresource(self, what: Any, name: str, namespace: str, subresource: str, obj: Any) -> bytes:
        assert (what, subresource, obj.target.kind) == (Pod, "binding", "Node")
        if self.held is not None:
            await self.held.wait()
        if self.refusals:
            raise self.refusals.pop(0)
        self.bound[Key(namespace, name)] = obj.target.name
        return b"{}"

    async def get(self, what: Any, name: str, namespace: str) -> Pod:
        found = pod(name)
        found.spec.nodeName = self.bound.get(Key(namespace, name), "")
        return found

    async def patch(self, what: Any, name: str, namespace: str, patch: Any, *, kind: str, subresource: str) -> None:
        assert (kind, subresource) == ("strategic", "status")
        status = patch["status"]
        for condition in status.get("conditions", ()):
            self.conditions[name] = condition
        if "nominatedNodeName" in status:
            self.nominated[name] = status["nominatedNodeName"]

    async def delete(self, what: Any, name: str, namespace: str, *, uid: str) -> None:
        assert uid == f"uid-{name}"
        if self.refusals:
            raise self.refusals.pop(0)
        self.deleted.append(name)

    def event(self, regarding: Any, kind: str, reason: str, message: str) -> None:
        self.told.append((kind, reason, message))


class Store:
    def __init__(self) -> None:
        self.objects: list[Any] = []

    def get(self, namespace: str, name: str) -> Any:
        return next((o for o in self.objects if key(o) == Key(namespace, name)), None)

    def list(self, namespace: str = "") -> list[Any]:
        return [o for o in self.objects if o.metadata.namespace == namespace]


async def turns() -> AsyncIterator[None]:
    """One of the loop after another."""
    while True:
        yield
        await asyncio.sleep(0)


class Cluster:
    def __init__(self, configuration: Configuration = DEFAULT) -> None:
        self.server, self.clock = Server(), FakeClock()
        self.stores = {kind: Store() for kind in KINDS}
        self.scheduler = Scheduler(
            self.server, dict.fromkeys((p.name for p in configuration.profiles), self.server), Groups(self.stores), random=Random(1), configuration=configuration,
            clock=self.clock,
        )  # type: ignore[arg-type] # fmt: skip
        self.following = Following(self.scheduler)
        self.pods: dict[str, Pod] = {}

    def put(self, new: Pod | None, name: str = "") -> None:
        """Tell of a pod's new revision, or that it is gone."""
        name = new.metadata.name if new is not None else name
        old = self.pods.pop(name, None)
        if new is not None:
            self.pods[name] = new
        self.following.on_pod(old, new)

    def confirm(self, name: str) -> None:
        """Tell of what was bound."""
        changed = meta.clone(self.pods[name])
        changed.spec.nodeName = self.server.bound[key(changed)]
        self.put(changed)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Returns when that is so.  Raises TimeoutError."""
        async with asyncio.timeout(10):
            await anext(turn async for turn in turns() if holds())

    @property
    def bound(self) -> dict[str, str]:
        return {k.name: v for k, v in self.server.bound.items()}


@asynccontextmanager
async def running(*nodes: Any, configuration: Configuration = DEFAULT) -> AsyncIterator[Cluster]:
    cluster = Cluster(configuration)
    for each in nodes:
        cluster.following.on_node(None, each)
    task = asyncio.create_task(cluster.scheduler.run())
    await settle()
    try:
        yield cluster
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_pod_is_bound_and_told_of() -> None:
    async with running(node("n1")) as cluster:
        cluster.put(pod("a"))
        await settle()
        assert cluster.bound == {"a": "n1"}
        assert cluster.server.told == [("Normal", "Scheduled", "Successfully assigned default/a to n1")]
        cluster.confirm("a")
        assert len(cluster.scheduler.queue) == 0
        assert [w.key.name for w in cluster.scheduler.snapshot.pods("n1")] == ["a"]


async def test_decisions_do_not_wait_for_bindings_and_count_what_is_assumed() -> None:
    async with running(node("n1", cpu="2")) as cluster:
        cluster.server.held = asyncio.Event()
        for name in "abc":
            cluster.put(pod(name, cpu="1"))
        await settle()
        assert cluster.bound == {}
        assert [w.key.name for w in cluster.scheduler.queue.waiting(State.UNSCHEDULABLE)] == ["c"]
        cluster.server.held.set()
        await settle()
        assert cluster.bound == {"a": "n1", "b": "n1"}


async def test_a_pod_without_a_place_says_why_and_gets_it_when_there_is_room() -> None:
    async with running(node("n1", cpu="1")) as cluster:
        placed = pod("a", cpu="800m")
        placed.spec.nodeName = "n1"
        cluster.put(placed)
        cluster.put(pod("b", cpu="500m"))
        await settle()
        condition = cluster.server.conditions["b"]
        message = (
            "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available:"
            " 1 No preemption victims found for incoming pod."
        )
        assert (condition.type, condition.status, condition.reason) == ("PodScheduled", "False", "Unschedulable")
        assert condition.message == message
        assert cluster.server.told == [("Warning", "FailedScheduling", message)]
        cluster.put(None, "a")
        await settle()
        await cluster.clock.advance(1)
        assert cluster.bound == {"b": "n1"}


async def test_the_same_condition_is_written_once() -> None:
    async with running(node("n1", cpu="1")) as cluster:
        cluster.put(pod("a", cpu="2"))
        await settle()
        known = meta.clone(cluster.pods["a"])
        known.status.conditions = [cluster.server.conditions.pop("a")]
        cluster.put(known)
        cluster.following.on_node(None, node("n2", cpu="1", taints=[]))
        cluster.following.on_node(node("n2", cpu="1"), None)
        await settle()
        await cluster.clock.advance(1)
        assert len(cluster.server.told) == 2
        assert cluster.server.conditions == {}


@pytest.mark.parametrize("error", [errors.Conflict("taken"), errors.TooManyRequests("later")])
async def test_a_binding_that_fails_is_taken_back_and_tried_again(error: errors.ApiError) -> None:
    async with running(node("n1", cpu="1")) as cluster:
        cluster.server.refusals = [error]
        cluster.put(pod("a", cpu="1"))
        await settle()
        assert cluster.bound == {}
        assert not [*cluster.scheduler.snapshot.pods("n1")]
        await cluster.clock.advance(1)
        assert cluster.bound == {"a": "n1"}


@pytest.mark.parametrize("error", [errors.Unavailable("gone"), errors.Timeout("who knows")])
async def test_a_binding_that_may_have_been_done_keeps_its_room_and_is_asked_for_again(error: errors.ApiError) -> None:
    async with running(node("n1", cpu="1")) as cluster:
        cluster.server.refusals = [error, error]
        cluster.put(pod("a", cpu="1"))
        cluster.put(pod("b", cpu="1"))
        await settle()
        assert cluster.bound == {}
        assert [w.key.name for w in cluster.scheduler.queue.waiting(State.UNSCHEDULABLE)] == ["b"]
        await cluster.clock.advance(1)
        assert cluster.bound == {"a": "n1"}


async def test_a_binding_that_seemed_to_fail_but_was_stored_is_believed() -> None:
    async with running(node("n1", cpu="1"), node("n2", cpu="1")) as cluster:
        cluster.server.refusals = [errors.Unavailable("who knows"), errors.Conflict("already assigned")]
        cluster.put(pod("a", cpu="1"))
        await settle()
        (decided,) = (n for n in ("n1", "n2") if [*cluster.scheduler.snapshot.pods(n)])
        cluster.server.bound[Key("default", "a")] = decided
        await cluster.clock.advance(1)
        assert cluster.scheduler.snapshot.node_of(Key("default", "a")) == decided
        assert ("Normal", "Scheduled", f"Successfully assigned default/a to {decided}") in cluster.server.told


async def test_a_binding_that_another_made_meanwhile_is_taken_back() -> None:
    async with running(node("n1", cpu="1")) as cluster:
        cluster.server.refusals = [errors.Unavailable("who knows"), errors.Conflict("already assigned")]
        cluster.put(pod("a", cpu="1"))
        await settle()
        cluster.server.bound[Key("default", "a")] = "n2"
        await cluster.clock.advance(1)
        assert not [*cluster.scheduler.snapshot.pods("n1")]


async def test_a_scheduler_that_ends_waits_for_the_bindings_that_it_has_sent() -> None:
    cluster = Cluster()
    cluster.following.on_node(None, node("n1"))
    cluster.server.held = asyncio.Event()
    cluster.put(pod("a"))
    running = asyncio.create_task(cluster.scheduler.run())
    await settle()
    running.cancel()
    await settle()
    assert not running.done()
    cluster.server.held.set()
    await asyncio.wait([running])
    assert cluster.bound == {"a": "n1"}


async def test_a_pod_deleted_while_it_is_bound_leaves_nothing() -> None:
    async with running(node("n1")) as cluster:
        cluster.server.held = asyncio.Event()
        cluster.put(pod("a"))
        await settle()
        cluster.put(None, "a")
        cluster.server.refusals = [errors.NotFound('pods "a" not found')]
        cluster.server.held.set()
        await settle()
        assert len(cluster.scheduler.queue) == 0
        assert not [*cluster.scheduler.snapshot.pods("n1")]


async def test_finished_pods_leave_room() -> None:
    async with running(node("n1", cpu="1")) as cluster:
        done = pod("a", cpu="1")
        done.spec.nodeName = "n1"
        cluster.put(done)
        done = meta.clone(done)
        done.status.phase = "Succeeded"
        cluster.put(done)
        cluster.put(pod("b", cpu="1"))
        await settle()
        assert cluster.bound == {"b": "n1"}


def resized(known: Pod, cpu: str, has: str, reason: str = "") -> Pod:
    """It is to have `cpu` now; its kubelet says that it has the other amount, and why it waits."""
    changed = meta.clone(known)
    changed.spec.containers[0].resources.requests["cpu"] = cpu
    amount = {"cpu": has}
    changed.status.containerStatuses = [
        ContainerStatus(name="main", resources=ResourceRequirements(requests=amount), allocatedResources=amount)
    ]
    changed.status.conditions = [PodCondition(type="PodResizePending", status="True", reason=reason)] if reason else []
    return changed


async def test_a_pod_that_shrinks_leaves_room_when_its_node_has_made_it_smaller() -> None:
    async with running(node("n1", cpu="1")) as cluster:
        large = low("a")
        cluster.put(large)
        cluster.put(resized(large, "500m", has="1"))
        cluster.put(pod("b", cpu="500m"))
        await settle()
        assert cluster.bound == {}
        cluster.put(resized(large, "500m", has="500m"))
        await cluster.until(lambda: cluster.bound == {"b": "n1"})


async def test_a_resize_that_can_never_be_takes_no_room() -> None:
    async with running(node("n1", cpu="1")) as cluster:
        small = low("a", cpu="500m")
        cluster.put(small)
        cluster.put(resized(small, "8", has="500m"))
        cluster.put(pod("b", cpu="500m"))
        await settle()
        assert cluster.bound == {}
        cluster.put(resized(small, "8", has="500m", reason="Infeasible"))
        await cluster.until(lambda: cluster.bound == {"b": "n1"})


def low(name: str, cpu: str = "1", **spec: Any) -> Pod:
    placed = pod(name, cpu=cpu, priority=1, **spec)
    placed.spec.nodeName = "n1"
    return placed


def dying(known: Pod) -> Pod:
    changed = meta.clone(known)
    changed.metadata.deletionTimestamp = "2026-01-01T00:00:00Z"
    changed.status.conditions = [
        PodCondition(type="DisruptionTarget", status="True", reason="PreemptionByScheduler")
    ]  # fmt: skip
    return changed


def high(name: str, priority: int = 9) -> Pod:
    return pod(name, cpu="1", priority=priority, schedulerName="default-scheduler")


async def test_a_victim_is_told_why_and_goes_and_the_pod_comes_when_it_is_gone() -> None:
    async with running(node("n1", cpu="1")) as cluster:
        cluster.put(low("victim"))
        cluster.put(high("a"))
        await settle()
        told = cluster.server.conditions["victim"]
        assert (told.type, told.status, told.reason) == ("DisruptionTarget", "True", "PreemptionByScheduler")
        assert told.message == "default-scheduler: preempting to accommodate a higher priority pod"
        assert (cluster.server.deleted, cluster.server.nominated) == (["victim"], {"a": "n1"})
        assert cluster.server.told == [
            ("Warning", "FailedScheduling", "0/1 nodes are available: 1 Insufficient cpu."),
            ("Normal", "Preempted", "Preempted by pod uid-a on node n1"),
        ]
        cluster.put(dying(cluster.pods["victim"]))
        await cluster.clock.advance(60)
        assert cluster.bound == {}
        cluster.put(None, "victim")
        await cluster.clock.advance(60)
        assert cluster.bound == {"a": "n1"}
        assert cluster.server.deleted == ["victim"]
        assert not cluster.scheduler.snapshot.nominations.node_of(Key("default", "a"))


async def test_two_pods_that_need_the_same_victim_delete_it_once() -> None:
    async with running(node("n1", cpu="2")) as cluster:
        cluster.put(low("victim", "2"))
        cluster.put(high("a"))
        cluster.put(high("b"))
        await settle()
        assert cluster.server.nominated == {"a": "n1", "b": "n1"}
        assert cluster.server.deleted == ["victim"]
        cluster.put(None, "victim")
        await cluster.clock.advance(1)
        assert cluster.bound == {"a": "n1", "b": "n1"}


async def test_a_higher_pod_takes_the_nomination_from_a_lower_one() -> None:
    async with running(node("n1", cpu="1")) as cluster:
        cluster.put(low("victim"))
        cluster.put(high("a", 5))
        await settle()
        waiting = meta.clone(cluster.pods["a"])
        waiting.status.nominatedNodeName = "n1"
        cluster.put(waiting)
        cluster.put(dying(cluster.pods["victim"]))
        cluster.put(high("b", 7))
        await settle()
        assert cluster.server.nominated == {"a": None, "b": "n1"}
        assert cluster.server.deleted == ["victim"]
        cluster.put(None, "victim")
        await cluster.clock.advance(60)
        assert cluster.bound == {"b": "n1"}


async def test_a_preemption_that_fails_is_tried_again() -> None:
    async with running(node("n1", cpu="1")) as cluster:
        cluster.server.refusals = [errors.Unavailable("gone")]
        cluster.put(low("victim"))
        cluster.put(high("a"))
        await settle()
        assert cluster.server.deleted == []
        await cluster.clock.advance(1)
        assert cluster.server.deleted == ["victim"]


async def test_a_nomination_survives_the_scheduler_and_ends_with_the_pod() -> None:
    async with running(node("n1", cpu="1")) as cluster:
        nominee = high("a")
        nominee.spec.schedulingGates = [PodSchedulingGate(name="g")]
        nominee.status.nominatedNodeName = "n1"
        cluster.put(nominee)
        cluster.put(high("b", 5))
        await settle()
        assert cluster.bound == {}
        cluster.put(None, "a")
        await cluster.clock.advance(1)
        assert cluster.bound == {"b": "n1"}


async def test_a_nomination_that_has_become_hopeless_is_taken_back() -> None:
    async with running(node("n1", cpu="1"), node("n2", cpu="1")) as cluster:
        cluster.put(low("victim"))
        full = low("full")
        full.spec.nodeName, full.spec.priority = "n2", 100
        cluster.put(full)
        cluster.put(high("a"))
        await settle()
        waiting = meta.clone(cluster.pods["a"])
        waiting.status.nominatedNodeName = "n1"
        cluster.put(waiting)
        cluster.following.on_node(node("n1", cpu="1"), None)
        cluster.following.on_node(None, node("n3", cpu="500m"))
        await cluster.clock.advance(1)
        assert cluster.server.nominated == {"a": None}


async def test_a_thousand_pods_that_fit_nowhere_are_left_alone_until_something_could_help() -> None:
    async with running(node("n1", cpu="4"), node("n2", labels={"kind": "x"}, cpu="4")) as cluster:
        for number in range(1000):
            wanted = (pod(cpu="9"), pod(affinity=near("nobody")), pod(nodeSelector={"kind": "y"}), pod(cpu="3"))[
                number % 4
            ]
            wanted.metadata.name = f"p{number}"
            if number % 4 == 3:
                wanted.spec.nodeSelector = {"kind": "x"}  # the first of them fits, no other does
            cluster.put(wanted)
        await cluster.until(lambda: len(cluster.scheduler.queue.waiting(State.UNSCHEDULABLE)) == 999)

        def attempts() -> int:
            return sum(w.attempts for w in cluster.scheduler.queue.waiting(*State))

        before = attempts()
        for number in range(50):
            name = f"other{number}"
            cluster.put(pod(name, cpu="1m", nodeName="n1"))
            cluster.put(pod(name, cpu="1m", nodeName="n1", labels={"a": "b"}))
            cluster.put(None, name)
        await settle()
        assert attempts() == before
        cluster.put(pod("friend", nodeName="n1", labels={"app": "nobody"}))
        await cluster.until(lambda: len(cluster.bound) > 100)


async def test_what_no_node_could_hold_is_not_tried_again_when_pods_go() -> None:
    async with running(node("n1", cpu="1")) as cluster:
        cluster.put(low("a"))
        for i in range(10):
            cluster.put(pod(f"big-{i}", cpu="2"))
        await settle()
        cluster.put(None, "a")
        await cluster.clock.advance(60)
        assert {w.attempts for w in cluster.scheduler.queue.waiting(State.UNSCHEDULABLE)} == {1}
        cluster.following.on_node(None, node("n2", cpu="2"))
        await cluster.clock.advance(1)
        assert len(cluster.bound) == 1


async def test_attempts_and_what_waits_are_counted() -> None:
    async with running(node("n1", cpu="1")) as cluster:
        cluster.put(low("victim"))
        cluster.put(high("a"))
        cluster.put(pod("b", cpu="9"))
        cluster.put(pod("c", schedulingGates=[PodSchedulingGate(name="g")]))
        await settle()
        cluster.put(None, "victim")
        await cluster.clock.advance(1)
        _, body = cluster.scheduler.metrics.exposition.render()
        shown = body.decode()
        for line in (
            'scheduler_schedule_attempts_total{profile="default-scheduler",result="scheduled"} 1.0',
            'scheduler_scheduling_attempt_duration_seconds_count{profile="default-scheduler",result="scheduled"} 1.0',
            'scheduler_pending_pods{queue="unschedulable"} 1.0',
            'scheduler_pending_pods{queue="gated"} 1.0',
            'scheduler_queue_incoming_pods_total{event="PodAdd",queue="active"} 2.0',
            'scheduler_queue_incoming_pods_total{event="AssignedPodDelete",queue="backoff"} 1.0',
            "scheduler_preemption_attempts_total 2.0",
            "scheduler_preemption_victims_sum 1.0",
            "scheduler_pod_scheduling_attempts_sum 2.0",
            'scheduler_goroutines{operation="binding"} 0.0',
            'scheduler_plugin_evaluation_total{extension_point="Filter",plugin="NodePorts",profile="default-scheduler"} 3.0',
        ):
            assert line in shown


async def test_every_tenth_decision_times_its_plug_ins_and_comes_to_the_same() -> None:
    async with running(*(node(f"n{number}", cpu="1") for number in range(19))) as cluster:
        for number in range(20):
            cluster.put(pod(f"p{number}", cpu="1", schedulerName="default-scheduler"))
        await settle(300)
        assert len({*cluster.bound.values()}) == 19
        shown = cluster.scheduler.metrics.exposition.render()[1].decode()
        name = "scheduler_plugin_execution_duration_seconds_count"
        # The tenth saw nodes that were full, the twentieth no others.
        assert f'{name}{{extension_point="Filter",plugin="NodeResourcesFit",status="Unschedulable"}} 2.0' in shown
        assert f'{name}{{extension_point="Filter",plugin="NodePorts",status="Success"}} 2.0' in shown
        assert f'{name}{{extension_point="Score",plugin="NodeResourcesFit",status="Success"}} 1.0' in shown


async def test_a_simulation_answers_and_leaves_everything_as_it_was() -> None:
    cluster = Cluster()
    nodes = [node("n1", cpu="1"), node("n2", cpu="1", taints=[taint("x")])]
    for each in nodes:
        cluster.following.on_node(None, each)
    cluster.put(low("victim"))
    probe = cluster.scheduler.wish_of(pod("probe", cpu="1"))
    before = explain(cluster.scheduler.snapshot, probe)
    pods = [meta.encode(each) for each in (high("a"), pod("b", cpu="3"), cluster.pods["victim"], pod("d", cpu="3"))]
    added = [meta.encode(node("n2", cpu="4")), meta.encode(node("n3", cpu="500m"))]
    request = pb.SimulateRequest(pods=pods, nodes=added, without=["n1"])
    found = (await simulation(cluster.scheduler, lambda: nodes, request)).placements
    assert [p.node for p in found] == ["n2", "n2", "", ""]
    assert found[3].message.startswith("0/2 nodes are available: 2 Insufficient cpu.")
    assert found[3].preemption.node == ""
    [alone] = (await simulation(cluster.scheduler, lambda: nodes, pb.SimulateRequest(pods=pods[:1]))).placements
    assert (alone.node, alone.preemption.node) == ("", "n1")
    assert [v.name for v in alone.preemption.victims] == ["victim"]
    assert explain(cluster.scheduler.snapshot, probe) == before
    assert cluster.scheduler.snapshot.node_of(Key("default", "victim")) == "n1"
    assert len(cluster.scheduler.snapshot) == 2


async def test_a_gated_pod_is_told_so_and_scheduled_when_the_gate_goes() -> None:
    async with running(node("n1")) as cluster:
        cluster.put(pod("a", schedulingGates=[PodSchedulingGate(name="g")]))
        await settle()
        assert cluster.server.conditions["a"].reason == "SchedulingGated"
        assert cluster.bound == {}
        cluster.put(pod("a"))
        await settle()
        assert cluster.bound == {"a": "n1"}


async def test_each_profile_takes_the_pods_that_name_it() -> None:
    first, second = Profile("first", preempts=False), Profile("second")
    configuration = Configuration((first, second))
    async with running(node("n1", cpu="1"), configuration=configuration) as cluster:
        cluster.put(low("victim"))
        for name in ("first", "second", "default-scheduler"):
            wanted = high(name)
            wanted.spec.schedulerName = name
            cluster.put(wanted)
        await settle()
        assert cluster.server.nominated == {"second": "n1"}
        assert cluster.server.conditions["victim"].message.startswith("second: preempting")
        cluster.put(None, "first")
        cluster.put(None, "victim")
        await settle()
        assert cluster.bound == {"second": "n1"}


async def test_pods_of_other_schedulers_and_dying_ones_are_left_alone() -> None:
    async with running(node("n1")) as cluster:
        cluster.put(pod("a", schedulerName="mine"))
        dying = pod("b")
        dying.metadata.deletionTimestamp = "2026-01-01T00:00:00Z"
        cluster.put(dying)
        await settle()
        assert cluster.bound == {}
        assert len(cluster.scheduler.queue) == 0


async def test_a_restarted_scheduler_takes_up_what_is_pending() -> None:
    async with running(node("n1", cpu="2")) as cluster:
        cluster.put(pod("a", cpu="1"))
        await settle()
        cluster.confirm("a")
        known = [*cluster.pods.values(), pod("b", cpu="1"), pod("c", cpu="1")]
    async with running(node("n1", cpu="2")) as another:
        for each in known:
            another.put(each)
        await settle()
        assert another.bound == {"b": "n1"}


async def test_replicas_spread_by_the_selectors_of_their_owner_and_service() -> None:
    async with running(*(node(f"n{i}") for i in range(3))) as cluster:
        owner = ReplicaSet(
            metadata=ObjectMeta(name="web", namespace="default", uid="rs"),
            spec=ReplicaSetSpec(selector=Selector(matchLabels={"app": "web"})),
        )
        cluster.stores[ReplicaSet].objects.append(owner)
        service = Service(
            metadata=ObjectMeta(name="web", namespace="default"), spec=ServiceSpec(selector={"tier": "front"})
        )
        cluster.stores[Service].objects.append(service)
        reference = OwnerReference(apiVersion="apps/v1", kind="ReplicaSet", name="web", uid="rs", controller=True)
        for i in range(6):
            replica = pod(f"p{i}", labels={"app": "web", "tier": "front"})
            replica.metadata.ownerReferences = [reference]
            cluster.put(replica)
        await settle(200)
        assert sorted(cluster.bound.values()) == ["n0", "n0", "n1", "n1", "n2", "n2"]
        assert cluster.scheduler.wish_of(replica).spreads[0].selector.matches({"app": "web", "tier": "front"})
        assert not cluster.scheduler.wish_of(replica).spreads[0].selector.matches({"app": "web"})


async def test_an_explanation_names_the_filter_or_the_scores_and_changes_nothing() -> None:
    async with running(node("n1", cpu="1"), node("n2", cpu="4")) as cluster:
        cluster.put(pod("a", cpu="2"))
        await settle()
        cluster.confirm("a")
        found = await explanation(cluster.scheduler, cluster.pods["a"])
        assert (found.node, found.bound, found.message) == ("n2", True, "")
        rejected, feasible = found.verdicts
        assert (rejected.node, rejected.rejected_by, rejected.reason) == ("n1", "NodeResourcesFit", "Insufficient cpu")
        assert feasible.total == sum(feasible.scores.values()) > 0
        assert cluster.scheduler.snapshot.node_of(Key("default", "a")) == "n2"
        nowhere = await explanation(cluster.scheduler, pod("big", cpu="9"))
        assert (nowhere.node, nowhere.bound) == ("", False)
        assert nowhere.message.startswith("0/2 nodes are available: 2 Insufficient cpu.")


async def test_namespaces_are_known_by_their_labels() -> None:
    async with running(node("n1")) as cluster:
        team = Namespace(metadata=ObjectMeta(name="team", labels={"a": "b"}))
        cluster.following.on_namespace(None, team)
        assert cluster.scheduler.snapshot.namespaces == {"team": {"a": "b"}}
        cluster.following.on_namespace(team, None)
        assert cluster.scheduler.snapshot.namespaces == {}


def test_flags_become_one_config() -> None:
    config = parse(["--leader-elect=false", "--secure-port=1", "--bind-address=127.0.0.1", "--tls-cert-file=c"])
    assert (config.leader_elect, config.address, str(config.files.certificate)) == (False, "127.0.0.1:1", "c")
