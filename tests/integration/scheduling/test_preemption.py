"""Upstream's conformance tests of preemption, re-told."""

import asyncio
from contextlib import aclosing

import pytest

from api import errors, meta
from api.types import (
    Event,
    LabelSelector,
    LabelSelectorRequirement,
    Namespace,
    Node,
    ObjectMeta,
    Pod,
    PodDisruptionBudget,
    PodDisruptionBudgetSpec,
    PodTemplateSpec,
    PriorityClass,
    ReplicaSet,
    ReplicaSetSpec,
    TopologySpreadConstraint,
)
from machinery.client import Client
from tests.integration.processes import NODE, until

from .workloads import EMPTY_NODE, HOSTNAME, Lab, dying, unschedulable

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def fill(lab: Lab) -> None:
    """Four fifths of both nodes: one pod of low priority on the node that runs pods, medium ones elsewhere."""
    for node in (NODE, EMPTY_NODE):
        await lab.give(node, 5)
        for i in range(2):
            priority = "low" if (node, i) == (NODE, 0) else "medium"
            await lab.run(f"{priority}-{node}-{i}", priority, 2, node=node)


async def spared(lab: Lab) -> set[str]:
    return {name for name, pod in (await lab.pods()).items() if not dying(pod)}


async def test_a_pod_takes_the_place_of_the_one_with_the_lowest_priority(lab: Lab) -> None:
    await fill(lab)
    preemptor = await lab.run("preemptor", "high", 2)
    assert (preemptor.spec.nodeName, preemptor.status.nominatedNodeName) == (NODE, "")
    medium = {f"medium-{NODE}-1", f"medium-{EMPTY_NODE}-0", f"medium-{EMPTY_NODE}-1"}
    assert await spared(lab) == {"preemptor", *medium}
    events = await until(lab.client, Event, lambda es: any(e.reason == "Preempted" for e in es), lab.namespace)
    [told] = [e for e in events if e.reason == "Preempted"]
    assert told.message == f"Preempted by pod {preemptor.metadata.uid} on node {NODE}"
    assert (told.involvedObject.name, told.source.component) == (f"low-{NODE}-0", "default-scheduler")
    [failed] = [e for e in events if e.reason == "FailedScheduling" and e.involvedObject.name == "preemptor"]
    assert failed.message == f"0/2 nodes are available: 2 Insufficient {lab.resource}."


async def test_a_critical_pod_takes_the_place_of_the_one_with_the_lowest_priority(lab: Lab) -> None:
    await fill(lab)
    await lab.run("critical", "system-cluster-critical", 2, namespace="kube-system")
    assert len(await spared(lab)) == 3
    assert f"low-{NODE}-0" not in await spared(lab)


async def test_a_pod_that_never_preempts_waits(lab: Lab) -> None:
    await fill(lab)
    never = PriorityClass(metadata=ObjectMeta(name="patient"), value=1000, preemptionPolicy="Never")
    await lab.client.create(never)
    await lab.create("patient", "patient", 2)
    waiting = await lab.until("patient", unschedulable)
    found = meta.condition(waiting, "PodScheduled")
    assert found is not None
    assert found.message.endswith(" preemption: not eligible due to preemptionPolicy=Never.")
    assert len(await spared(lab)) == 5


async def test_a_preempted_pod_is_told_why(lab: Lab) -> None:
    await lab.give(NODE, 1)
    await lab.run("victim", "low", 1, node=NODE, finalizers=["example.com/test"])
    await lab.create("preemptor", "high", 1, node=NODE)
    victim = await lab.until("victim", dying)
    found = meta.condition(victim, "DisruptionTarget")
    assert found is not None
    assert (found.status, found.reason) == ("True", "PreemptionByScheduler")
    assert found.message == "default-scheduler: preempting to accommodate a higher priority pod"
    await lab.until("preemptor", lambda p: p.status.phase == "Running")
    ended = (await lab.pods())["victim"]
    assert meta.condition(ended, "DisruptionTarget") == found
    await lab.client.patch(Pod, "victim", lab.namespace, {"metadata": {"finalizers": None}})


async def test_replica_sets_lose_no_more_pods_than_they_must(lab: Lab) -> None:
    await lab.give(NODE, 1000)
    since = (await lab.client.list(Pod, lab.namespace)).resource_version
    for number, amount in ((1, 200), (2, 300), (3, 450)):
        await lab.client.create(PriorityClass(metadata=ObjectMeta(name=f"p{number}"), value=number))
        labels = {"name": f"pod{number}"}
        template = PodTemplateSpec(metadata=ObjectMeta(labels=labels), spec=lab.spec(f"p{number}", amount))
        template.spec.nodeSelector = {HOSTNAME: NODE}
        spec = ReplicaSetSpec(replicas=1, selector=LabelSelector(matchLabels=labels), template=template)
        await lab.client.create(
            ReplicaSet(metadata=ObjectMeta(name=f"rs-pod{number}", namespace=lab.namespace), spec=spec)
        )  # fmt: skip
    await until(lab.client, ReplicaSet, lambda sets: sum(s.status.availableReplicas for s in sets) == 3, lab.namespace)
    await lab.client.create(PriorityClass(metadata=ObjectMeta(name="p4"), value=4))
    await lab.run("pod4", "p4", 500, nodeSelector={HOSTNAME: NODE})
    made = await _created(lab, since, lambda pods: len(pods) == 6)
    assert sorted(p.metadata.labels["name"] for p in made if p.metadata.labels) == [
        "pod1",
        "pod1",
        "pod2",
        "pod2",
        "pod3",
    ]
    await until(lab.client, Pod, lambda pods: len([p for p in pods if unschedulable(p)]) == 2, lab.namespace)
    assert len(await spared(lab)) == 4
    for number in (1, 2, 3, 4):
        await lab.client.delete(PriorityClass, f"p{number}")


async def _created(lab: Lab, since: str, enough: object) -> list[Pod]:
    assert callable(enough)
    made: list[Pod] = []
    async with asyncio.timeout(30), aclosing(lab.client.watch(Pod, lab.namespace, resource_version=since)) as batches:
        async for batch in batches:
            made += [e.object for e in batch if e.type == "ADDED"]
            if enough(made):
                return made
    return made


async def test_as_many_victims_go_as_the_spread_of_pods_asks_for(lab: Lab) -> None:
    key = "example.com/spread"
    for node in (NODE, EMPTY_NODE):
        await lab.give(node, 10)
        await lab.client.patch(Node, node, "", {"metadata": {"labels": {key: node}}})
    labels = {"spread": ""}
    await lab.run("high", "high", 9, labels=labels, node=EMPTY_NODE)
    for i in range(3):
        await lab.run(f"low-{i}", "low", 3, labels=labels)
    chosen = LabelSelector(matchExpressions=[LabelSelectorRequirement(key="spread", operator="Exists")])
    constraint = TopologySpreadConstraint(
        maxSkew=1, topologyKey=key, whenUnsatisfiable="DoNotSchedule", labelSelector=chosen
    )  # fmt: skip
    await lab.run("medium", "medium", 3, labels=labels, topologySpreadConstraints=[constraint])
    left = await until(lab.client, Pod, lambda pods: len(pods) == 3, lab.namespace)
    assert sorted(p.metadata.name.split("-")[0] for p in left) == ["high", "low", "medium"]


async def test_a_budget_is_kept_to_if_there_are_other_victims(lab: Lab) -> None:
    await lab.client.create(Namespace(metadata=ObjectMeta(name=lab.other)))
    await lab.give(NODE, 10)
    for name in ("a1", "a2"):
        await lab.run(name, "low", 2, node=NODE)
    for name in ("b1", "b2"):
        await lab.run(name, "medium", 2, node=NODE, namespace=lab.other)
    await lab.run("filler", "high", 2, node=NODE)
    everything = PodDisruptionBudgetSpec(minAvailable=3, selector=LabelSelector())
    budget = PodDisruptionBudget(metadata=ObjectMeta(name="all", namespace=lab.namespace), spec=everything)
    await lab.client.create(budget)
    await until(
        lab.client, PodDisruptionBudget, lambda found: any(b.status.currentHealthy == 3 for b in found), lab.namespace
    )
    await lab.run("first", "high", 2, node=NODE)
    assert {"a1", "a2", "filler"} <= await spared(lab)
    assert len([p for p in (await lab.pods(lab.other)).values() if not dying(p)]) == 1
    change = {"spec": {"minAvailable": 2}}
    await lab.client.patch(PodDisruptionBudget, "all", lab.namespace, change)
    await until(
        lab.client, PodDisruptionBudget, lambda found: any(b.status.disruptionsAllowed for b in found), lab.namespace
    )
    await lab.run("second", "high", 2, node=NODE)
    assert len({"a1", "a2"} & await spared(lab)) == 1


async def test_the_highest_priorities_get_the_room_that_is_being_made(lab: Lab) -> None:
    """On a node without a kubelet pods stay terminating until they are deleted by force."""
    await lab.give(EMPTY_NODE, 10)
    for i in range(10):
        await lab.run(f"low-{i}", "low", 1, node=EMPTY_NODE)
    for i in range(10):
        await lab.create(f"medium-{i}", "medium", 1)
    low = {f"low-{i}" for i in range(10)}
    await until(lab.client, Pod, lambda pods: len([p for p in pods if dying(p)]) == 10, lab.namespace)
    for i in range(5):
        await lab.create(f"high-{i}", "high", 1)
    for i in range(5):
        await lab.until(f"high-{i}", lambda p: p.status.nominatedNodeName)
    for name in low:
        await lab.client.delete(Pod, name, lab.namespace, grace_seconds=0)
    for i in range(5):
        await lab.until(f"high-{i}", lambda p: p.spec.nodeName)
    pods = await until(
        lab.client, Pod, lambda pods: len([p for p in pods if p.spec.nodeName]) == 10, lab.namespace
    )  # fmt: skip
    bound = [p.metadata.name.split("-")[0] for p in pods if p.spec.nodeName]
    assert (bound.count("high"), bound.count("medium")) == (5, 5)


async def test_priority_classes_change_in_what_may_change(client: Client) -> None:
    classes = [PriorityClass(metadata=ObjectMeta(name=f"endpoint{i}"), value=i) for i in (1, 2)]
    first, second = [await client.create(c) for c in classes]
    with pytest.raises(errors.Invalid):
        await client.patch(PriorityClass, "endpoint1", "", {"value": 10}, kind="strategic")
    raised = meta.clone(second)
    raised.value = 20
    with pytest.raises(errors.Invalid):
        await client.update(raised)
    await client.patch(PriorityClass, "endpoint1", "", {"description": "new"}, kind="strategic")
    second.description = "new"
    await client.update(second)
    known = {c.metadata.name: c for c in (await client.list(PriorityClass)).items}
    for made in (first, second):
        now = known[made.metadata.name]
        assert (now.value, now.description) == (made.value, "new")
        await client.delete(PriorityClass, made.metadata.name)
