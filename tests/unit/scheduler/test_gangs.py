"""Pods of a PodGroup with a gang policy: all together or not at all."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest

from api import errors, meta
from api.meta import Key
from api.types import (
    BasicSchedulingPolicy,
    GangSchedulingPolicy,
    Node,
    ObjectMeta,
    Pod,
    PodGroup,
    PodGroupSchedulingPolicy,
    PodGroupSpec,
    PodSchedulingGate,
    PodSchedulingGroup,
)
from machinery.testing import settle
from scheduler.advice import Advice
from scheduler.extender_documents import Extender
from scheduler.extenders import Extenders
from scheduler.queues import State
from scheduler.serving import explanation
from tests.unit.scheduler.objects import node, pod
from tests.unit.scheduler.test_scheduling import Cluster, low, running


def gang(minimum: int, name: str = "gang") -> PodGroup:
    policy = PodGroupSchedulingPolicy(gang=GangSchedulingPolicy(minCount=minimum))
    metadata = ObjectMeta(name=name, namespace="default", uid=f"uid-{name}", generation=1)
    return PodGroup(metadata=metadata, spec=PodGroupSpec(schedulingPolicy=policy))


def member(name: str, group: str = "gang", cpu: str = "1", **spec: Any) -> Pod:
    spec = {"schedulerName": "default-scheduler"} | spec
    return pod(name, cpu=cpu, schedulingGroup=PodSchedulingGroup(podGroupName=group), **spec)


@asynccontextmanager
async def grouping(*nodes: Node) -> AsyncIterator[Cluster]:
    async with running(*nodes) as cluster:
        cluster.scheduler.form_gangs()
        yield cluster


def on_group(cluster: Cluster, old: PodGroup | None, new: PodGroup | None) -> None:
    assert cluster.scheduler.gangs is not None
    cluster.scheduler.gangs.on_group(old, new)


def states(cluster: Cluster) -> dict[str, State]:
    return {w.key.name: w.state for w in cluster.scheduler.queue.waiting(*State)}


def message(cluster: Cluster, name: str) -> str:
    found = cluster.scheduler.queue.find(Key("default", name))
    assert found is not None
    return found.message


async def test_a_gang_waits_for_its_group_and_for_as_many_pods_as_it_wants() -> None:
    async with grouping(node("n1")) as cluster:
        cluster.put(member("a"))
        cluster.put(member("b"))
        await settle()
        assert set(states(cluster).values()) == {State.GATED}
        on_group(cluster, None, gang(3))
        await settle()
        assert (cluster.bound, set(states(cluster).values())) == ({}, {State.GATED})
        assert cluster.server.told == []
        cluster.put(member("c"))
        await settle()
        assert cluster.bound == {"a": "n1", "b": "n1", "c": "n1"}
        condition = cluster.server.conditions["gang"]
        assert (condition.type, condition.status, condition.reason) == (
            "PodGroupInitiallyScheduled",
            "True",
            "Scheduled",
        )


async def test_a_gang_that_is_not_complete_yet_costs_each_of_its_pods_one_look() -> None:
    async with grouping(node("n1")) as cluster:
        on_group(cluster, None, gang(100))
        for number in range(99):
            cluster.put(member(f"p{number}", cpu="1m"))
        assert cluster.scheduler.queue.incoming == {("gated", "PodAdd"): 99}
        cluster.put(member("last", cpu="1m"))
        await cluster.until(lambda: len(cluster.bound) == 100)


async def test_without_room_for_enough_of_it_nothing_of_a_gang_takes_any() -> None:
    async with grouping(node("n1", cpu="2")) as cluster:
        on_group(cluster, None, gang(3))
        for name in "abc":
            cluster.put(member(name))
        await settle()
        assert cluster.bound == {}
        assert cluster.scheduler.snapshot.pod_count == 0
        assert message(cluster, "a") == "minCount (3) cannot be satisfied: 2 scheduled, 0 remaining"
        assert message(cluster, "c").startswith("0/1 nodes are available: 1 Insufficient cpu.")
        condition = cluster.server.conditions["gang"]
        assert (condition.status, condition.reason) == ("False", "Unschedulable")
        assert cluster.scheduler.gangs is not None
        assert cluster.scheduler.gangs.metrics[0].values == {("unschedulable", "default-scheduler"): 1}
        cluster.put(pod("small", cpu="2", schedulerName="default-scheduler"))
        await settle()
        assert cluster.bound == {"small": "n1"}


async def test_a_gang_comes_when_there_is_room_for_it() -> None:
    async with grouping(node("n1", cpu="3")) as cluster:
        cluster.put(low("there"))
        on_group(cluster, None, gang(3))
        for name in "abc":
            cluster.put(member(name, priority=0))
        await settle()
        assert cluster.bound == {}
        cluster.put(None, "there")
        await cluster.clock.advance(2)
        await settle()
        assert sorted(cluster.bound) == ["a", "b", "c"]


async def test_an_explanation_tells_that_the_gang_holds_a_pod_up_that_has_a_place() -> None:
    async with grouping(node("n1", cpu="2")) as cluster:
        first = member("a")
        cluster.put(first)
        await settle()
        found = await explanation(cluster.scheduler, first)
        assert (found.node, found.message) == (
            "n1",
            'waiting for pods\'s pod group "gang" to appear in scheduling queue',
        )
        on_group(cluster, None, gang(3))
        found = await explanation(cluster.scheduler, first)
        assert found.message == "waiting for minCount pods from a gang to appear in scheduling queue"
        for name in "bc":
            cluster.put(member(name))
        await settle()
        found = await explanation(cluster.scheduler, first)
        assert (found.node, found.message) == ("n1", "minCount (3) cannot be satisfied: 2 scheduled, 0 remaining")


async def test_two_gangs_never_hold_halves_of_what_both_need() -> None:
    async with grouping(node("n1", cpu="3")) as cluster:
        on_group(cluster, None, gang(3, "one"))
        on_group(cluster, None, gang(3, "two"))
        for number in range(3):
            cluster.put(member(f"one-{number}", "one"))
            cluster.put(member(f"two-{number}", "two"))
        await settle()
        groups = {name.partition("-")[0] for name in cluster.bound}
        assert (len(cluster.bound), len(groups)) == (3, 1)
        for name in cluster.bound:
            cluster.confirm(name)
        for name in [*cluster.bound]:
            cluster.put(None, name)
        await cluster.clock.advance(2)
        await settle()
        assert len(cluster.bound) == 6


async def test_what_a_gang_has_beyond_its_minimum_comes_as_far_as_there_is_room() -> None:
    async with grouping(node("n1", cpu="3")) as cluster:
        on_group(cluster, None, gang(2))
        for name in "abcd":  # the second completes it
            cluster.put(member(name))
        await settle()
        assert (len(cluster.bound), len(states(cluster))) == (3, 4)
        for name in cluster.bound:
            cluster.confirm(name)
        # One that went makes room for the last: the others count as there.
        cluster.put(None, next(iter(cluster.bound)))
        await cluster.clock.advance(2)
        await settle()
        assert len(cluster.bound) == 4


async def test_a_gang_that_wants_fewer_is_tried_again() -> None:
    async with grouping(node("n1", cpu="2")) as cluster:
        on_group(cluster, None, gang(3))
        for name in "abc":
            cluster.put(member(name))
        await settle()
        on_group(cluster, gang(3), gang(4))
        await cluster.clock.advance(2)
        await settle()
        assert cluster.bound == {}
        on_group(cluster, gang(4), gang(2))
        await cluster.clock.advance(2)
        await settle()
        assert len(cluster.bound) == 2


async def test_pods_of_a_group_without_a_gang_come_one_by_one() -> None:
    async with grouping(node("n1", cpu="1")) as cluster:
        plain = gang(1)
        plain.spec.schedulingPolicy = PodGroupSchedulingPolicy(basic=BasicSchedulingPolicy())
        on_group(cluster, None, plain)
        for name in "ab":
            cluster.put(member(name))
        await settle()
        assert cluster.bound == {"a": "n1"}


async def test_a_scheduling_gate_still_holds_up_its_own_pod_only() -> None:
    async with grouping(node("n1")) as cluster:
        on_group(cluster, None, gang(2))
        gated = member("gated", schedulingGates=[PodSchedulingGate(name="g")])
        for each in (gated, member("a"), member("b")):
            cluster.put(each)
        await settle()
        assert (sorted(cluster.bound), states(cluster)["gated"]) == (["a", "b"], State.GATED)
        free = meta.clone(gated)
        free.spec.schedulingGates = []
        cluster.put(free)
        await settle()
        assert sorted(cluster.bound) == ["a", "b", "gated"]


async def test_others_go_for_a_gang_that_has_a_place_then() -> None:
    async with grouping(node("n1", cpu="2"), node("n2", cpu="1")) as cluster:
        for name in ("low-1", "low-2"):
            cluster.put(low(name))
        on_group(cluster, None, gang(3))
        for name in "abc":
            cluster.put(member(name, priority=9))
        await settle()
        assert (cluster.bound, sorted(cluster.server.deleted)) == ({}, ["low-1", "low-2"])
        # The one that fits already keeps its place for as long as the others wait.
        assert sorted(filter(None, cluster.server.nominated.values())) == ["n1", "n1", "n2"]
        cluster.put(pod("thief", cpu="1", schedulerName="default-scheduler"))
        await settle()
        assert cluster.bound == {}
        for name in ("low-1", "low-2"):
            cluster.put(None, name)
        await cluster.clock.advance(2)
        await settle()
        assert sorted(cluster.bound) == ["a", "b", "c"]


async def test_a_gang_that_has_to_preempt_again_takes_no_node_from_itself() -> None:
    async with grouping(node("n1", cpu="2")) as cluster:
        for name in ("low-1", "low-2"):
            cluster.put(low(name))
        on_group(cluster, None, gang(2))
        for name, priority in (("a", 9), ("b", 5)):
            cluster.put(member(name, priority=priority))
        await settle()
        assert cluster.server.nominated == {"a": "n1", "b": "n1"}
        for name in "ab":
            known = meta.clone(cluster.pods[name])
            known.status.nominatedNodeName = "n1"
            cluster.put(known)
        for name in ("low-1", "low-2"):
            cluster.put(None, name)
            cluster.put(low(f"more-{name}"))  # another scheduler's
        await cluster.clock.advance(2)
        await settle()
        assert sorted(cluster.server.deleted) == ["low-1", "low-2", "more-low-1", "more-low-2"]
        assert cluster.server.nominated == {"a": "n1", "b": "n1"}


async def test_nobody_goes_for_a_gang_that_has_no_place_even_then() -> None:
    async with grouping(node("n1", cpu="2")) as cluster:
        for name in ("low-1", "low-2"):
            cluster.put(low(name))
        on_group(cluster, None, gang(3))
        for name in "abc":
            cluster.put(member(name, priority=9))
        await settle()
        assert (cluster.bound, cluster.server.deleted) == ({}, [])
        assert cluster.scheduler.snapshot.pod_count == 2
        assert not any(cluster.server.nominated.values())


async def test_a_gang_may_be_larger_than_what_is_bound_at_once() -> None:
    async with grouping(*(node(f"n{number}", cpu="32") for number in range(10))) as cluster:
        on_group(cluster, None, gang(300))
        for number in range(300):
            cluster.put(member(f"p{number}"))
        await cluster.until(lambda: len(cluster.bound) == 300)
        cluster.put(pod("after", schedulerName="default-scheduler"))
        await cluster.until(lambda: "after" in cluster.bound)


async def test_a_gang_that_an_extender_cannot_be_asked_about_waits_as_a_whole() -> None:
    async with grouping(node("n1")) as cluster:
        silent = Extender(urlPrefix="http://127.0.0.1:1", filterVerb="filter", nodeCacheCapable=True)
        cluster.scheduler.ask(Extenders([silent], lambda name: None, cluster.scheduler.snapshot.pods))
        on_group(cluster, None, gang(2))
        for name in "ab":
            cluster.put(member(name))
        await cluster.until(lambda: "gang" in cluster.server.conditions)
        assert (cluster.bound, set(states(cluster).values())) == ({}, {State.BACKOFF})
        assert cluster.server.conditions["gang"].reason == "SchedulerError"
        assert cluster.scheduler.snapshot.pod_count == 0


async def test_pods_whose_group_has_gone_wait_for_it_and_do_not_come_alone() -> None:
    async with grouping(node("n1", cpu="1")) as cluster:
        on_group(cluster, None, gang(2))
        for name in "ab":
            cluster.put(member(name))
        await settle()
        on_group(cluster, gang(2), None)
        cluster.following.on_node(None, node("n2"))
        await cluster.clock.advance(20)
        await settle()
        assert (cluster.bound, states(cluster)) == ({}, {"a": State.GATED, "b": State.GATED})
        on_group(cluster, None, gang(2))
        await settle()
        assert sorted(cluster.bound) == ["a", "b"]


async def test_that_a_gang_is_scheduled_is_said_again_until_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    async with grouping(node("n1")) as cluster:
        patch, answers = cluster.server.patch, iter([errors.Unavailable("away"), errors.Timeout("late")])

        async def unsure(what: Any, *change: Any, **options: Any) -> None:
            if what is PodGroup and (error := next(answers, None)) is not None:
                raise error
            await patch(what, *change, **options)

        monkeypatch.setattr(cluster.server, "patch", unsure)
        on_group(cluster, None, gang(2))
        for name in "ab":
            cluster.put(member(name))
        await settle()
        assert "gang" not in cluster.server.conditions
        for _ in range(2):
            await cluster.clock.advance(1)
            await settle()
        assert cluster.server.conditions["gang"].reason == "Scheduled"


class Slow:
    """Extenders that have something happen while they are asked about the second pod of a gang."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        self._meanwhile = meanwhile
        self._asked = 0

    def concern(self, pod: Pod) -> bool:
        return True

    async def advise(self, pod: Pod, nodes: Iterable[str], node: Any) -> Advice:
        self._asked += 1
        if self._asked == 2:
            self._meanwhile()
        return Advice(frozenset(nodes))

    async def bind(self, pod: Pod, node: str) -> bool:
        return False


async def test_victims_that_go_while_the_gang_is_decided_are_not_counted_any_more() -> None:
    async with grouping(node("n1", cpu="2")) as cluster:
        for name in ("low-1", "low-2"):
            cluster.put(low(name))

        def go() -> None:
            cluster.put(None, "low-1")
            cluster.put(None, "low-2")

        cluster.scheduler.ask(Slow(go))  # type: ignore[arg-type]
        on_group(cluster, None, gang(2))
        for name in "ab":
            cluster.put(member(name, priority=9))
        await settle()
        assert not any(cluster.scheduler.snapshot.node_of(Key("default", name)) for name in ("low-1", "low-2"))


async def test_a_gang_of_which_one_goes_while_it_is_decided_has_too_few() -> None:
    async with grouping(node("n1")) as cluster:
        cluster.scheduler.ask(Slow(lambda: cluster.put(None, "a")))  # type: ignore[arg-type]
        on_group(cluster, None, gang(2))
        for name in "ab":
            cluster.put(member(name))
        await settle()
        assert (cluster.bound, states(cluster)) == ({}, {"b": State.GATED})
        cluster.put(member("c"))
        await cluster.clock.advance(2)
        await settle()
        assert sorted(cluster.bound) == ["b", "c"]


async def test_a_pod_of_the_gang_that_another_places_meanwhile_is_counted_where_it_is() -> None:
    async with grouping(node("n1"), node("n2")) as cluster:
        placed = member("a")
        placed.spec.nodeName = "n2"
        cluster.scheduler.ask(Slow(lambda: cluster.put(placed)))  # type: ignore[arg-type]
        on_group(cluster, None, gang(2))
        for name in "ab":
            cluster.put(member(name))
        await settle()
        assert cluster.scheduler.snapshot.node_of(Key("default", "a")) == "n2"
        assert [*cluster.bound] == ["b"]


async def test_what_a_gang_only_might_get_is_nobody_elses_business() -> None:
    async with grouping(node("n1", cpu="2")) as cluster:
        counted: list[int] = []
        cluster.scheduler.ask(Slow(lambda: counted.append(cluster.scheduler.snapshot.pod_count)))  # type: ignore[arg-type]
        on_group(cluster, None, gang(2))
        for name in "ab":
            cluster.put(member(name))
        await settle()
        assert (counted, sorted(cluster.bound)) == ([0], ["a", "b"])


@pytest.mark.parametrize("seed", range(10))
async def test_whatever_comes_and_goes_no_gang_begins_with_less_than_it_wants(seed: int) -> None:
    """Nothing is promised twice either, and no pod is forgotten."""
    random = Random(seed)
    minimum = {f"g{number}": random.randint(2, 4) for number in range(3)}
    async with grouping(*(node(f"n{number}", cpu="3") for number in range(3))) as cluster:
        for number in range(60):
            before = bound_by_group(cluster)
            match random.choice(("group", "member", "member", "member", "small", "gone", "gone", "time")):
                case "group":
                    name = random.choice([*minimum])
                    on_group(cluster, None, gang(minimum[name], name))
                case "member":
                    name = random.choice([*minimum])
                    cluster.put(member(f"{name}-{number}", name, priority=random.choice((0, 0, 5))))
                case "small":
                    cluster.put(pod(f"small-{number}", cpu="1", priority=1, schedulerName="default-scheduler"))
                case "gone" if cluster.pods:
                    name = random.choice([*cluster.pods])
                    cluster.put(None, name)
                    cluster.server.bound.pop(Key("default", name), None)
                case "time":
                    await cluster.clock.advance(11)
            await settle(200)
            for name in cluster.server.deleted:
                if name in cluster.pods:
                    cluster.put(None, name)
                    cluster.server.bound.pop(Key("default", name), None)
            cluster.server.deleted.clear()
            await settle(200)
            for name in cluster.bound:
                if not cluster.pods[name].spec.nodeName:
                    cluster.confirm(name)
            for group, count in bound_by_group(cluster).items():
                assert before[group] or not group or not count or count >= minimum[group]
            assert all(count <= 3 for count in Counter(cluster.bound.values()).values())
            assert cluster.scheduler.snapshot.pod_count == len(cluster.bound)
            waiting = states(cluster)
            assert State.IN_FLIGHT not in [s for name, s in waiting.items() if name not in cluster.bound]
            assert {*waiting} | {*cluster.bound} == {*cluster.pods}


def bound_by_group(cluster: Cluster) -> Counter[str]:
    groups = (cluster.pods[name].spec.schedulingGroup for name in cluster.bound)
    return Counter(group.podGroupName if group is not None else "" for group in groups)
