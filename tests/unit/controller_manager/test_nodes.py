"""Nodes: their address ranges, their silence, and what becomes of their pods."""

import asyncio
from ipaddress import ip_network
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import errors, meta, times
from api.meta import Key
from api.types import Lease, LeaseSpec, Node, ObjectMeta, Pod, Taint, Toleration
from controller_manager.cidrs import Parts
from controller_manager.node_health import (
    NOT_READY,
    UNREACHABLE,
    ZONE,
    Eviction,
    tolerates,
    toleration_time,
    wanted_taints,
    zone_of,
)
from controller_manager.node_zones import Disruption, Zones, disruption
from machinery.testing import FakeClock
from tests.unit.controller_manager.making import NOW, make_ready, node, pod
from tests.unit.controller_manager.worlds import World, controllers, rest

RATES = {"rate": 0.1, "secondary_rate": 0.01, "large": 50, "threshold": 0.55}

# Address ranges


@given(st.lists(st.booleans(), max_size=60))
def test_no_two_holders_have_one_part(takes: list[bool]) -> None:
    parts, held = Parts(ip_network("10.0.0.0/28"), 31), dict[str, str]()
    for n, take in enumerate(takes):
        if take:
            part = parts.take(str(n))
            assert (part is None) == (len(held) == 8)
            if part is not None:
                assert part not in held.values()
                held[str(n)] = part
        elif held:
            holder, part = held.popitem()
            parts.release(part, holder)


def test_a_part_that_two_hold_is_free_only_when_both_are_gone() -> None:
    parts = Parts(ip_network("10.0.0.0/30"), 31)
    parts.hold("10.0.0.0/31", "a")
    parts.hold("10.0.0.0/31", "b")
    parts.release("10.0.0.0/31", "a")
    assert parts.take("c") == "10.0.0.2/31"
    assert parts.take("d") is None
    parts.release("10.0.0.0/31", "b")
    assert parts.take("d") == "10.0.0.0/31"


async def test_each_node_gets_a_range_and_keeps_it_over_a_restart(world: World) -> None:
    await world.create(node("a", cidr="10.244.0.0/24"))
    await world.create(node("b"))
    async with controllers(world, "node-ipam-controller"):
        await rest()
    await world.create(node("c"))
    async with controllers(world, "node-ipam-controller"):
        await rest()
        assert {n.metadata.name: n.spec.podCIDR for n in world.all(Node)} == {
            "a": "10.244.0.0/24", "b": "10.244.1.0/24", "c": "10.244.2.0/24",
        }  # fmt: skip
        assert world.one(Node, "c").spec.podCIDRs == ["10.244.2.0/24"]


async def test_a_node_that_found_no_range_gets_the_next_free_one(world: World) -> None:
    async with controllers(world, "node-ipam-controller", node_cidr_mask_size=17):
        for name in "abc":
            await world.create(node(name))
        await rest()
        assert world.one(Node, "c").spec.podCIDR == ""
        assert world.events("CIDRNotAvailable") == ["Node c status is now: CIDRNotAvailable"]
        await world.delete(Node, "a")
        await rest()
        assert world.one(Node, "c").spec.podCIDR == "10.244.0.0/17"


# How long kubelets may keep what they have read


async def test_nodes_say_how_long_their_kubelets_may_keep_what_they_read(world: World) -> None:
    def said() -> set[str]:
        return {n.metadata.annotations["node.alpha.kubernetes.io/ttl"] for n in world.all(Node)}

    for n in range(100):
        await world.create(node(f"n{n}"))
    async with controllers(world, "ttl-controller"):
        await rest()
        assert said() == {"0"}
        await world.create(node("n100"))
        await rest()
        assert said() == {"15"}
        for n in range(90, 101):
            await world.delete(Node, f"n{n}")
        await rest()
        assert said() == {"15"}
        await world.delete(Node, "n89")
        await rest()
        assert said() == {"0"}


# Health


def test_taints_follow_the_conditions_and_leave_those_of_others() -> None:
    n = node(ready="False")
    n.spec.taints = [Taint(key="mine", effect="NoExecute")]
    n.spec.unschedulable = True
    taints = wanted_taints(n, Eviction.BEGIN, NOW)
    assert [(t.key, t.effect) for t in taints] == [
        ("mine", "NoExecute"), (NOT_READY, "NoSchedule"), ("node.kubernetes.io/unschedulable", "NoSchedule"),
        (NOT_READY, "NoExecute"),
    ]  # fmt: skip
    n.spec.taints = taints
    n.status.conditions[0].status = "True"
    n.spec.unschedulable = None
    assert [t.key for t in wanted_taints(n, Eviction.BEGIN, NOW)] == ["mine"]


def test_a_taint_keeps_its_time_until_the_trouble_changes() -> None:
    n = node(ready="False")
    n.spec.taints = wanted_taints(n, Eviction.BEGIN, NOW)
    assert wanted_taints(n, Eviction.KEEP, NOW + 100) == n.spec.taints
    n.status.conditions[0].status = "Unknown"
    (execute,) = [t for t in wanted_taints(n, Eviction.KEEP, NOW + 100) if t.effect == "NoExecute"]
    assert (execute.key, execute.timeAdded) == (UNREACHABLE, times.format(NOW + 100))


@pytest.mark.parametrize(
    ("bad", "good", "expected"),
    [(0, 3, Disruption.NONE), (1, 2, Disruption.NONE), (3, 2, Disruption.PARTIAL), (3, 0, Disruption.FULL)],
)
def test_a_zone_is_disrupted_when_most_of_it_is_silent(bad: int, good: int, expected: Disruption) -> None:
    assert disruption(bad, bad + good, 0.55) is expected


def test_nobody_is_evicted_when_nobody_is_heard() -> None:
    zones = Zones(**RATES)
    for n in range(3):
        zones.put(node(f"n{n}", ready="Unknown"))
    assert zones.rate(":") is None
    assert zones.put(node("well"))
    assert zones.rate(":") == 0
    assert zones.remove("n0")
    assert zones.rate(":") == 0.1


def test_what_zones_say_depends_on_how_nodes_are_and_not_on_how_they_came_to_be_so() -> None:
    random = Random(1)
    zones, nodes = Zones(**RATES), dict[str, Node]()
    for _ in range(300):
        name = f"n{random.randrange(60)}"
        if random.random() < 0.2:
            nodes.pop(name, None)
            zones.remove(name)
        else:
            nodes[name] = node(name, ready=random.choice(["True", "Unknown", "False"]))
            nodes[name].metadata.labels = {ZONE: random.choice("abc")}
            zones.put(nodes[name])
        anew = Zones(**RATES)
        for each in nodes.values():
            anew.put(each)
        assert zones.unwell == anew.unwell
        assert all(zones.rate(zone_of(each)) == anew.rate(zone_of(each)) for each in nodes.values())


def test_zones_tell_when_a_rate_changes_and_only_then() -> None:
    zones = Zones(**RATES)
    assert zones.put(node("a"))
    assert not zones.put(node("a"))
    assert not zones.put(node("b"))
    assert not zones.put(node("b", ready="False"))
    assert zones.put(node("a", ready="Unknown"))


@pytest.mark.parametrize(
    ("toleration", "expected"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "k", "operator": "Exists"}, True),
        ({"key": "k", "value": "v"}, True),
        ({"key": "k", "value": "w"}, False),
        ({"key": "k", "operator": "Exists", "effect": "NoSchedule"}, False),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_a_toleration_fits_by_key_value_and_effect(toleration: dict[str, Any], expected: bool) -> None:
    assert tolerates(Toleration(**toleration), Taint(key="k", value="v", effect="NoExecute")) is expected


def test_the_shortest_toleration_counts() -> None:
    a, b = Taint(key="a", effect="NoExecute"), Taint(key="b", effect="NoExecute")
    p = pod(
        tolerations=[
            Toleration(key="a", operator="Exists", tolerationSeconds=300),
            Toleration(key="b", operator="Exists", tolerationSeconds=60),
        ]
    )
    assert toleration_time(p, [a, b]) == 60
    assert toleration_time(p, [a]) == 300
    assert toleration_time(p, [a, Taint(key="c", effect="NoExecute")]) == 0
    assert toleration_time(pod(tolerations=[Toleration(operator="Exists")]), [a, b]) is None


def test_of_two_tolerations_that_fit_a_taint_the_first_counts() -> None:
    always = Toleration(operator="Exists")
    for_a_while = Toleration(key="a", operator="Exists", tolerationSeconds=60)
    a = Taint(key="a", effect="NoExecute")
    assert toleration_time(pod(tolerations=[always, for_a_while]), [a]) is None
    assert toleration_time(pod(tolerations=[for_a_while, always]), [a]) == 60


async def beat(world: World, name: str) -> None:
    at = times.format_micro(world.clock.now())
    try:
        lease = await world.get(Lease, name, "kube-node-lease")
    except errors.NotFound:
        lease = await world.create(
            Lease(metadata=ObjectMeta(name=name, namespace="kube-node-lease"), spec=LeaseSpec(holderIdentity=name))
        )
    lease.spec.renewTime = at
    await world.update(lease)
    await rest()


async def test_a_silent_node_is_marked_tainted_and_leaves_the_services(world: World, clock: FakeClock) -> None:
    for name in ("node1", "node2"):
        await world.create(node(name))
    await world.create(pod("p", node="node1"))
    await make_ready(world, world.one(Pod, "p"))
    async with controllers(world, "node-lifecycle-controller") as term:
        (controller,) = term.controllers
        for _ in range(3):
            await clock.advance(15)
            await beat(world, "node2")
        for name in ("node1", "node2"):
            assert await controller.reconcile_now(Key("", name)) == ""
        await rest()
        silent, well = world.one(Node, "node1"), world.one(Node, "node2")
        ready = meta.condition(silent, "Ready")
        assert (ready.status, ready.reason, ready.message) == (
            "Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.",
        )  # fmt: skip
        assert meta.condition(silent, "MemoryPressure").reason == "NodeStatusNeverUpdated"
        assert {(t.key, t.effect) for t in silent.spec.taints} == {
            (UNREACHABLE, "NoSchedule"),
            (UNREACHABLE, "NoExecute"),
        }
        assert meta.is_true(well, "Ready")
        assert well.spec.taints == []
        assert not meta.is_true(world.one(Pod, "p"), "Ready")

        silent.status.conditions = node("node1").status.conditions
        await world.update_status(silent)
        await rest()
        assert world.one(Node, "node1").spec.taints == []


async def test_a_node_that_is_heard_is_left_alone(world: World, clock: FakeClock) -> None:
    await world.create(node("node1"))
    async with controllers(world, "node-lifecycle-controller") as term:
        for _ in range(10):
            await clock.advance(10)
            await beat(world, "node1")
        assert await term.controllers[0].reconcile_now(Key("", "node1")) == ""
        assert meta.is_true(world.one(Node, "node1"), "Ready")


async def test_a_node_that_never_said_anything_gets_more_time(world: World, clock: FakeClock) -> None:
    await world.create(node("node1", ready=None))
    async with controllers(world, "node-lifecycle-controller") as term:
        await clock.advance(50)
        await term.controllers[0].reconcile_now(Key("", "node1"))
        assert world.one(Node, "node1").status.conditions == []
        await clock.advance(15)
        await term.controllers[0].reconcile_now(Key("", "node1"))
        ready = meta.condition(world.one(Node, "node1"), "Ready")
        assert (ready.status, ready.message) == ("Unknown", "Kubelet never posted node status.")


# Evictions


def tainted(at: float = NOW) -> Node:
    n = node()
    n.spec.taints = [Taint(key=UNREACHABLE, effect="NoExecute", timeAdded=times.format(at))]
    return n


async def test_pods_are_evicted_when_their_toleration_is_over(world: World, clock: FakeClock) -> None:
    patience = Toleration(key=UNREACHABLE, operator="Exists", effect="NoExecute", tolerationSeconds=300)
    await world.create(pod("patient", tolerations=[patience]))
    await world.create(pod("eternal", tolerations=[Toleration(operator="Exists")]))
    await world.create(pod("none"))
    await world.create(pod("elsewhere", node="node2"))
    await world.create(node("node2"))
    async with controllers(world, "taint-eviction-controller") as term:
        await world.create(tainted())
        await rest()
        assert {p.metadata.name for p in world.all(Pod)} == {"patient", "eternal", "elsewhere"}
        assert "Marking for deletion Pod default/none" in world.events("TaintManagerEviction")
        await clock.advance(299)
        await term.controllers[0].reconcile_now(Key("default", "patient"))
        assert len(world.all(Pod)) == 3
        await clock.advance(2)
        await term.controllers[0].reconcile_now(Key("default", "patient"))
        await rest()
        assert {p.metadata.name for p in world.all(Pod)} == {"eternal", "elsewhere"}


@pytest.mark.parametrize("jump", [400, -400])
async def test_a_clock_that_is_set_evicts_neither_sooner_nor_later(
    world: World, clock: FakeClock, jump: int
) -> None:  # fmt: skip
    patience = Toleration(key=UNREACHABLE, operator="Exists", effect="NoExecute", tolerationSeconds=300)
    await world.create(pod("patient", tolerations=[patience]))
    async with controllers(world, "taint-eviction-controller") as term:
        await world.create(tainted())
        await rest()
        clock.jump(jump)
        await term.controllers[0].reconcile_now(Key("default", "patient"))
        assert len(world.all(Pod)) == 1
        await clock.advance(301)
        await term.controllers[0].reconcile_now(Key("default", "patient"))
        await rest()
        assert world.all(Pod) == []


async def test_an_evicted_pod_says_that_it_is_not_its_own_fault(world: World) -> None:
    world.graceful = True
    await world.create(tainted())
    await world.create(pod("none"))
    async with controllers(world, "taint-eviction-controller"):
        await rest()
        target = meta.condition(world.one(Pod, "none"), "DisruptionTarget")
        assert (target.status, target.reason, target.observedGeneration) == ("True", "DeletionByTaintManager", 1)


async def test_pods_of_a_node_that_is_gone_are_removed_after_a_quarantine(world: World, clock: FakeClock) -> None:
    world.graceful = True
    await world.create(node("node1"))
    await world.create(pod("p"))
    async with controllers(world, "pod-garbage-collector-controller") as term:
        await world.delete(Node, "node1")
        await rest()
        assert len(world.all(Pod)) == 1
        await clock.advance(41)
        await term.controllers[0].reconcile_now(Key("default", "p"))
        assert world.all(Pod) == []


async def test_a_pod_deleted_before_it_was_bound_is_removed_at_once(world: World) -> None:
    world.graceful = True
    await world.create(pod("p", node="", phase="Pending"))
    async with controllers(world, "pod-garbage-collector-controller"):
        await world.delete(Pod, "p", "default")
        await rest()
        assert world.all(Pod) == []


async def test_the_oldest_finished_pods_go_when_there_are_too_many(world: World, clock: FakeClock) -> None:
    await world.create(node("node1"))
    async with controllers(world, "pod-garbage-collector-controller", terminated_pod_gc_threshold=2):
        for n in range(4):
            await clock.advance(1)
            await world.create(pod(f"p{n}", phase="Succeeded"))
            await rest()
        assert {p.metadata.name for p in world.all(Pod)} == {"p2", "p3"}


async def test_evicted_pods_go_before_others_that_are_older(world: World, clock: FakeClock) -> None:
    await world.create(node("node1"))
    evicted = pod("evicted", phase="Failed")
    evicted.status.reason = "Evicted"
    async with controllers(world, "pod-garbage-collector-controller", terminated_pod_gc_threshold=2):
        for made in (pod("old", phase="Succeeded"), evicted, pod("new", phase="Succeeded")):
            await clock.advance(1)
            await world.create(made)
            await rest()
        assert {p.metadata.name for p in world.all(Pod)} == {"old", "new"}


@pytest.mark.parametrize(("ready", "left"), [("Unknown", {"stays"}), ("True", {"stays", "goes"})])
async def test_deleted_pods_of_a_node_out_of_service_go_without_its_kubelet(
    world: World, ready: str, left: set[str]
) -> None:
    world.graceful = True
    lost = node("node1", ready=ready)
    lost.spec.taints = [Taint(key="node.kubernetes.io/out-of-service", value="nodeshutdown", effect="NoExecute")]
    await world.create(lost)
    await world.create(pod("stays"))
    held = pod("goes")
    held.metadata.finalizers = ["example.com/held"]
    await world.create(held)
    async with controllers(world, "pod-garbage-collector-controller"):
        await world.delete(Pod, "goes", "default")
        await rest()
        phase = world.one(Pod, "goes").status.phase
        assert phase == ("Failed" if left == {"stays"} else "Running")
        await world.patch(Pod, "goes", "default", {"metadata": {"finalizers": []}})
        await rest()
        assert {p.metadata.name for p in world.all(Pod)} == left


async def test_of_two_nodes_that_fall_ill_together_one_is_evicted_first(world: World, clock: FakeClock) -> None:
    for name in ("node1", "node2", "well"):
        await world.create(node(name))
    async with controllers(world, "node-lifecycle-controller") as term:
        ill = [world.one(Node, name) for name in ("node1", "node2")]
        for each in ill:
            each.status.conditions = node(each.metadata.name, ready="False").status.conditions
        await asyncio.gather(*map(world.update_status, ill))
        await rest()

        def evicted() -> list[str]:
            return [n.metadata.name for n in world.all(Node) if any(t.effect == "NoExecute" for t in n.spec.taints)]

        assert len(evicted()) == 1
        await clock.advance(11)
        for name in ("node1", "node2"):
            assert await term.controllers[0].reconcile_now(Key("", name)) == ""
        assert sorted(evicted()) == ["node1", "node2"]
