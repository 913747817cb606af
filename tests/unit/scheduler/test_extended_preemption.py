"""What extenders make of a preemption: https://pkg.go.dev/k8s.io/kube-scheduler/extender/v1#ExtenderPreemptionArgs"""

from collections.abc import Callable
from typing import Any

import pytest

from scheduler.queues import State
from tests.unit.scheduler.objects import node, pod
from tests.unit.scheduler.test_extenders import Hook, extended
from tests.unit.scheduler.test_scheduling import Cluster, high, low

Verb = Callable[[dict[str, Any]], Any]
FULL = {name: node(name, cpu="1") for name in ("n1", "n2")}


def victims(**by_node: list[str]) -> dict[str, Any]:
    return {
        "nodeNameToMetaVictims": {
            name: {"pods": [{"uid": f"uid-{pod}"} for pod in pods], "numPDBViolations": 0}
            for name, pods in by_node.items()
        }
    }  # fmt: skip


def occupy(cluster: Cluster) -> None:
    for name, on, priority in (("one", "n1", 1), ("two", "n2", 2)):
        there = low(name)
        there.spec.nodeName, there.spec.priority = on, priority
        cluster.put(there)


async def outcome(cluster: Cluster) -> list[str]:
    """Who has to go for a pod that no node has room for."""
    cluster.put(high("a"))
    await cluster.until(lambda: bool(cluster.scheduler.queue.waiting(State.UNSCHEDULABLE, State.BACKOFF)))
    await cluster.until(lambda: bool(cluster.server.conditions.get("a")))
    if cluster.scheduler.snapshot.nominations.leaving:
        await cluster.until(lambda: bool(cluster.server.deleted))
    return cluster.server.deleted


def said(cluster: Cluster) -> str:
    return next(message for _, reason, message in cluster.server.told if reason == "FailedScheduling")


async def test_an_extender_with_a_cache_is_told_uids_and_chooses_the_node() -> None:
    hook = Hook(preempt=lambda asked: victims(n2=["two"]))
    async with extended(hook, nodes=FULL, nodeCacheCapable=True) as cluster:
        occupy(cluster)
        # By itself the scheduler takes the node whose pod has the lower priority.
        assert await outcome(cluster) == ["two"]
        assert cluster.server.nominated["a"] == "n2"
    [(_, asked)] = hook.asked
    assert asked["NodeNameToVictims"] is None
    assert asked["NodeNameToMetaVictims"] == {
        "n1": {"Pods": [{"UID": "uid-one"}], "NumPDBViolations": 0},
        "n2": {"Pods": [{"UID": "uid-two"}], "NumPDBViolations": 0},
    }


async def test_an_extender_without_a_cache_is_shown_the_pods() -> None:
    hook = Hook(preempt=lambda asked: victims(n1=["one"]))
    async with extended(hook, nodes=FULL) as cluster:
        occupy(cluster)
        assert await outcome(cluster) == ["one"]
    [(_, asked)] = hook.asked
    assert asked["NodeNameToMetaVictims"] is None
    shown = {name: [p["metadata"]["name"] for p in v["Pods"]] for name, v in asked["NodeNameToVictims"].items()}
    assert shown == {"n1": ["one"], "n2": ["two"]}


async def test_a_node_that_only_the_extender_rejects_is_left_to_it() -> None:
    hook = Hook(
        filter=lambda asked: {"NodeNames": [], "FailedNodes": {"n1": "no license", "n2": "no license"}},
        preempt=lambda asked: victims(n1=[], n2=["two"]),
    )
    async with extended(hook, nodes={n: node(n, cpu="4") for n in FULL}, nodeCacheCapable=True) as cluster:
        occupy(cluster)
        assert await outcome(cluster) == ["two"]
    asked = dict(hook.asked)["preempt"]["NodeNameToMetaVictims"]
    assert {name: v["Pods"] for name, v in asked.items()} == {"n1": [], "n2": []}


async def test_nobody_goes_when_the_extender_leaves_no_node() -> None:
    async with extended(Hook(preempt=lambda asked: victims()), nodes=FULL, nodeCacheCapable=True) as cluster:
        occupy(cluster)
        assert await outcome(cluster) == []
        assert said(cluster) == (
            "0/2 nodes are available: 2 Insufficient cpu. no new claims to deallocate, preemption: no candidate node "
            "for preemption"
        )


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda asked: 500, "failed preempt with extender at URL"),
        (lambda asked: victims(n1=[]), 'expected at least one victim pod on node "n1"'),
        (
            lambda asked: victims(n1=["two"]),
            "claims to preempt pod (UID: uid-two) on node: n1, but the pod is not found",
        ),
        (lambda asked: [1], "cannot read the answer"),
    ],
    ids=["broken", "nobody", "elsewhere", "nonsense"],
)
async def test_an_answer_of_no_use_preempts_nobody(answer: Verb, why: str) -> None:
    async with extended(Hook(preempt=answer), nodes=FULL, nodeCacheCapable=True) as cluster:
        occupy(cluster)
        assert await outcome(cluster) == []
        before, _, after = said(cluster).partition(" preemption: ")
        assert before == "0/2 nodes are available: 2 Insufficient cpu."
        assert why in after


async def test_an_extender_that_may_be_ignored_stops_no_preemption() -> None:
    hook = Hook(preempt=lambda asked: 500)
    async with extended(hook, nodes=FULL, nodeCacheCapable=True, ignorable=True) as cluster:
        occupy(cluster)
        assert await outcome(cluster) == ["one"]


async def test_a_pod_that_may_not_preempt_asks_nobody() -> None:
    hook = Hook(preempt=lambda asked: victims(n1=["one"]))
    async with extended(hook, nodes=FULL, nodeCacheCapable=True) as cluster:
        occupy(cluster)
        modest = high("a")
        modest.spec.preemptionPolicy = "Never"
        cluster.put(modest)
        await cluster.until(lambda: bool(cluster.server.conditions.get("a")))
        assert (hook.asked, cluster.server.deleted) == ([], [])


async def test_who_was_placed_meanwhile_stays_placed() -> None:
    """An answer that comes when the pod has long been deleted changes nothing."""

    def answer(asked: dict[str, Any]) -> Any:
        cluster.put(None, "a")
        return victims(n1=["one"])

    async with extended(Hook(preempt=answer), nodes=FULL, nodeCacheCapable=True) as cluster:
        occupy(cluster)
        cluster.put(high("a"))
        await cluster.until(lambda: "a" not in cluster.pods)
        cluster.put(pod("b", cpu="9"))
        await cluster.until(lambda: bool(cluster.server.conditions.get("b")))
        assert cluster.server.deleted == []
