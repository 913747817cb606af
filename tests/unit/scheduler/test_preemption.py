from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.types import (
    ContainerPort,
    LabelSelector,
    ObjectMeta,
    PodCondition,
    PodDisruptionBudget,
    PodDisruptionBudgetSpec,
    PodDisruptionBudgetStatus,
)
from scheduler.budgets import budget
from scheduler.decisions import Decision, explain
from scheduler.wishes import wish
from tests.unit.scheduler.objects import World, apart, container, near, node, pod, spread, taint

NOT_HELPFUL = "Preemption is not helpful for scheduling"
NO_VICTIMS = "No preemption victims found for incoming pod"


def names(decision: Decision) -> list[str]:
    return [v.key.name for v in decision.preemption.victims]


def started(world: World, name: str, on: str, at: str, **spec: Any) -> None:
    placed = pod(name, **spec)
    placed.status.startTime = at
    world.snapshot.set_pod(wish(placed), on)


def limit(world: World, allowed: int, disrupted: dict[str, str] | None = None, **labels: str) -> None:
    given_ = PodDisruptionBudget(
        metadata=ObjectMeta(name="b", namespace="default"),
        spec=PodDisruptionBudgetSpec(selector=LabelSelector(matchLabels=labels)),
        status=PodDisruptionBudgetStatus(disruptionsAllowed=allowed, disruptedPods=disrupted or {}),
    )
    world.snapshot.budgets["default", "b"] = budget(given_)  # type: ignore[index]


def test_no_more_victims_go_than_must_and_the_important_ones_stay() -> None:
    world = World(node("n1", cpu="4"))
    for name, priority, cpu in (("a", 1, "1"), ("b", 2, "1"), ("c", 3, "1"), ("d", 9, "1")):
        world.put(name, "n1", cpu=cpu, priority=priority)
    decision = world.decide(pod(cpu="2", priority=5))
    assert (decision.node, decision.preemption.node, names(decision)) == ("", "n1", ["b", "a"])
    assert decision.message == "0/1 nodes are available: 1 Insufficient cpu."
    assert [w.key.name for w in world.snapshot.pods("n1")] == ["a", "b", "c", "d"]


def test_pods_of_the_same_priority_are_no_victims() -> None:
    world = World(node("n1", cpu="1"), node("n2", cpu="1"), node("n3", taints=[taint("x")]))
    world.put("a", "n1", cpu="1", priority=5)
    world.put("b", "n2", cpu="500m", priority=1)
    world.put("c", "n2", cpu="500m", priority=6)
    decision = world.decide(pod(cpu="1", priority=5))
    assert not decision.preemption.node
    assert decision.message == (
        "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu. no new claims to "
        f"deallocate, preemption: 0/3 nodes are available: 1 Insufficient cpu, 1 {NO_VICTIMS}, 1 {NOT_HELPFUL}."
    )


def test_the_longest_running_of_equals_stays() -> None:
    world = World(node("n1", cpu="2"))
    started(world, "young", "n1", "2026-01-02T00:00:00Z", cpu="1")
    started(world, "old", "n1", "2026-01-01T00:00:00Z", cpu="1")
    assert names(world.decide(pod(cpu="1", priority=5))) == ["young"]


def test_a_budget_is_broken_only_if_nothing_else_helps() -> None:
    world = World(node("n1", cpu="2"))
    world.put("guarded", "n1", cpu="1", priority=1, labels={"app": "db"})
    world.put("free", "n1", cpu="1", priority=2)
    limit(world, 0, app="db")
    assert names(world.decide(pod(cpu="1", priority=5))) == ["free"]
    assert names(world.decide(pod(cpu="2", priority=5))) == ["free", "guarded"]
    limit(world, 1, app="db")
    assert names(world.decide(pod(cpu="1", priority=5))) == ["guarded"]
    limit(world, 0, {"guarded": "2026-01-01T00:00:00Z"}, app="db")
    assert names(world.decide(pod(cpu="1", priority=5))) == ["guarded"]


def test_an_empty_selector_guards_the_whole_namespace() -> None:
    world = World(node("n1", cpu="2"))
    world.put("a", "n1", cpu="1", priority=1)
    world.put("b", "n1", cpu="1", priority=2, namespace="other")
    limit(world, 0)
    assert names(world.decide(pod(cpu="1", priority=5))) == ["b"]


# What stands on each of two nodes; the first is the better one.
CHOICES: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {
    "fewer violations": ([{"priority": 4}], [{"priority": 1, "labels": {"app": "db"}}]),
    "lower highest priority": ([{"priority": 2}, {"priority": 2}], [{"priority": 3}]),
    "smaller sum": ([{"priority": 3}, {"priority": 1}], [{"priority": 3}, {"priority": 2}]),
    "fewer victims": ([{"priority": 3}], [{"priority": 3}, {"priority": -(2**31)}]),
    "latest start": ([{"priority": 3, "at": "2026-01-02T00:00:00Z"}], [{"priority": 3, "at": "2026-01-01T00:00:00Z"}]),
}


@pytest.mark.parametrize("case", CHOICES)
def test_the_node_that_costs_least_is_taken(case: str) -> None:
    world = World(node("n1", cpu="1"), node("n2", cpu="1"))
    limit(world, 0, app="db")
    for on, pods in zip(("n1", "n2"), CHOICES[case], strict=True):
        for i, each in enumerate(pods):
            spec = dict(each)
            started(world, f"{on}-{i}", on, spec.pop("at", ""), cpu=f"{1000 // len(pods)}m", **spec)
    chosen = {world.decide(pod(cpu="1", priority=5)).preemption.node for _ in range(10)}
    assert chosen == {"n1"}


def test_equally_good_nodes_are_taken_at_random() -> None:
    world = World(*(node(f"n{i}", cpu="1") for i in range(3)))
    for i in range(3):
        world.put(f"p{i}", f"n{i}", cpu="1")
    assert {world.decide(pod(cpu="1", priority=5)).preemption.node for _ in range(40)} == {"n0", "n1", "n2"}


def test_host_ports_are_made_free() -> None:
    world = World(node("n1"))
    port = [container(ports=[ContainerPort(containerPort=1, hostPort=80)])]
    world.put("a", "n1", containers=port)
    world.put("b", "n1")
    assert names(world.decide(pod(containers=port, priority=5))) == ["a"]


def test_those_who_keep_others_away_go_and_their_friends_stay() -> None:
    world = World(node("n1", zone="a"), node("n2", zone="a"))
    world.put("loner", "n1", labels={"app": "x"}, affinity=apart("web"))
    world.put("web", "n1", labels={"app": "web"})
    world.put("other", "n2", affinity=apart("web", "topology.kubernetes.io/zone"))
    wanted = pod(labels={"app": "web"}, priority=5)
    assert names(world.decide(wanted)) == ["other"]  # whose wish reaches to the first node
    world.snapshot.remove_pod(("default", "other"))
    world.put("full", "n2", cpu="4", priority=9)
    assert world.decide(pod(labels={"app": "web"}, cpu="1", priority=5)).preemption.victims[0].key.name == "loner"
    assert sorted(w.key.name for w in world.snapshot.pods("n1")) == ["loner", "web"]


def test_the_spread_of_pods_counts_without_the_victims() -> None:
    world = World(node("n1", zone="a", cpu="3"), node("n2", zone="b", cpu="1"))
    world.put("high", "n2", cpu="1", priority=9, labels={"app": "x"})
    for i in range(3):
        world.put(f"low-{i}", "n1", cpu="1", priority=1, labels={"app": "x"})
    wanted = pod(labels={"app": "x"}, cpu="1", priority=5, topologySpreadConstraints=[spread("x")])
    assert len(names(world.decide(wanted))) == 2


def test_no_victim_is_a_pod_that_the_preemptor_wants_near() -> None:
    world = World(node("n1", cpu="2"))
    world.put("db", "n1", cpu="1", labels={"app": "db"})
    world.put("other", "n1", cpu="1")
    assert names(world.decide(pod(cpu="1", priority=5, affinity=near("db")))) == []
    world.put("db", "n1", cpu="1", labels={"app": "db"}, priority=7)
    assert names(world.decide(pod(cpu="1", priority=5, affinity=near("db")))) == ["other"]


def test_room_is_kept_for_nominated_pods_from_those_below_them() -> None:
    world = World(node("n1", cpu="2"))
    world.snapshot.nominate(wish(pod("nominee", cpu="1", priority=5)), "n1")
    assert world.decide(pod(cpu="2", priority=5)).message.startswith("0/1 nodes are available: 1 Insufficient cpu.")
    assert world.decide(pod(cpu="1", priority=5)).node == "n1"
    assert world.decide(pod(cpu="2", priority=6)).node == "n1"
    assert world.decide(pod("nominee", cpu="2", priority=5)).node == "n1"


NOMINEE = st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from(["", "web", "port"]))


@settings(max_examples=100)
@given(st.lists(NOMINEE, max_size=6), NOMINEE, st.booleans())
def test_nominated_pods_count_as_if_they_had_come(
    nominees: list[tuple[int, int, str]], wanted: tuple[int, int, str], again: bool
) -> None:
    world, other = (World(*(node(f"n{i}", cpu="4") for i in range(3))) for _ in range(2))
    for i, (on, priority, kind) in enumerate(nominees):
        nominee = wish(member(f"p{i}", priority, 2, kind))
        world.snapshot.nominate(nominee, f"n{on}")
        if priority >= wanted[1]:
            other.snapshot.set_pod(nominee, f"n{on}")
    if again:  # as often as a node comes and goes
        for each in (world, other):
            each.snapshot.remove_node("n1")
            each.snapshot.set_node(node("n3", cpu="4"))
            each.snapshot.set_node(node("n1", cpu="4"))
    preemptor = wish(member("wanted", wanted[1], 2, wanted[2]))
    world.snapshot.nominate(preemptor, "n0")
    seen, expected = (
        {v.node: (v.rejected_by, v.reason) for v in explain(each.snapshot, preemptor)} for each in (world, other)
    )
    assert seen == expected
    for i in range(len(nominees)):
        world.snapshot.renounce(("default", f"p{i}"))  # type: ignore[arg-type]
    assert not any(v.rejected_by for v in explain(world.snapshot, preemptor))
    assert not any(column.any() for column in world.snapshot.used.values())


def test_who_needs_a_nominated_pod_near_waits_until_it_has_come() -> None:
    world = World(node("n1"))
    world.snapshot.nominate(wish(pod("db", priority=5, labels={"app": "db"})), "n1")
    assert world.decide(pod(affinity=near("db"))).node == ""
    world.put("db", "n1", labels={"app": "db"}, priority=5)
    assert world.decide(pod(affinity=near("db"))).node == "n1"


def test_a_nominated_pod_takes_its_node_if_it_can() -> None:
    world = World(node("n1"), node("n2", cpu="100"))
    world.snapshot.nominate(wish(pod()), "n1")
    assert {world.decide(pod()).node for _ in range(10)} == {"n1"}
    world.put("full", "n1", cpu="4")
    assert world.decide(pod(cpu="1")).node == "n2"


def test_a_pod_whose_victims_are_on_their_way_waits_for_them() -> None:
    world = World(node("n1", cpu="1"), node("n2", cpu="1"))
    victim = pod("victim", cpu="1")
    for each, on in ((victim, "n1"), (pod("other", cpu="1"), "n2")):
        world.snapshot.set_pod(wish(each), on)
    wanted = pod(cpu="1", priority=5)
    world.snapshot.nominate(wish(wanted), "n1")
    world.snapshot.nominations.leaving.add("uid-victim")
    waits = "preemption: not eligible due to a terminating pod on the nominated node."
    assert world.decide(wanted).message.endswith(waits)
    assert world.decide(wanted).preemption.keeps
    world.snapshot.nominations.leaving.clear()
    victim.metadata.deletionTimestamp = "2026-01-01T00:00:00Z"
    victim.status.conditions = [PodCondition(type="DisruptionTarget", status="True", reason="PreemptionByScheduler")]
    world.snapshot.set_pod(wish(victim), "n1")
    assert world.decide(wanted).message.endswith(waits)
    world.snapshot.set_node(node("n1", cpu="500m"))  # it will never fit there again
    assert world.decide(wanted).preemption.node == "n2"


POD = st.tuples(st.integers(0, 2), st.integers(0, 6), st.sampled_from([1, 2, 3]), st.sampled_from(["", "web", "port"]))


def member(name: str, priority: int, cpu: int, kind: str) -> Any:
    spec: dict[str, Any] = {"labels": {"app": kind}}
    if kind == "web":
        spec["affinity"] = apart("web")
    ports = [ContainerPort(containerPort=1, hostPort=80)] if kind == "port" else []
    return pod(name, containers=[container(ports=ports, cpu=f"{cpu}")], priority=priority, **spec)


@settings(max_examples=150)
@given(st.lists(POD, max_size=9), POD, st.integers(-1, 2))
def test_victims_suffice_and_none_is_there_in_vain(
    placed: list[tuple[int, int, int, str]], wanted: tuple[int, int, int, str], allowed: int
) -> None:
    world = World(*(node(f"n{i}", cpu="4") for i in range(3)))
    if allowed >= 0:
        limit(world, allowed, app="web")
    for i, (on, *rest) in enumerate(placed):
        world.snapshot.set_pod(wish(member(f"p{i}", *rest)), f"n{on}")
    preemptor = wish(member("wanted", *wanted[1:]))
    before = explain(world.snapshot, preemptor)
    decision = world.decide(preemptor.pod)
    assert explain(world.snapshot, preemptor) == before
    if decision.node:
        return
    found = decision.preemption
    assert all(v.priority < preemptor.priority for v in found.victims)
    assert bool(found.node) == bool(found.victims)
    snapshot = world.snapshot

    def fits(without: list[Any], on: str) -> bool:
        for each in without:
            snapshot.remove_pod(each.key)
        verdicts = {v.node: v.rejected_by for v in explain(snapshot, preemptor)}
        for each in without:
            snapshot.set_pod(each, on)
        return not verdicts[on]

    if found.node:
        assert fits([*found.victims], found.node)
        for spared in found.victims:
            assert not fits([v for v in found.victims if v is not spared], found.node)
    else:
        for on in snapshot.rows:
            lower = [w for w in snapshot.pods(on) if w.priority < preemptor.priority]
            assert not fits(lower, on)


def test_of_many_nodes_that_would_do_a_hundred_are_compared() -> None:
    world = World(*(node(f"n{i}", cpu="1") for i in range(400)))
    for i in range(400):
        world.put(f"p{i}", f"n{i}", cpu="1", priority=i)
    chosen = [world.decide(pod(cpu="1", priority=1000)).preemption.victims[0].priority for _ in range(20)]
    assert 0 < max(chosen) < 400
