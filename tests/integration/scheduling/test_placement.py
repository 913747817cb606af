"""Where pods go: the cases of upstream's test/e2e/scheduling/predicates.go and priorities.go."""

import asyncio

import pytest

from api import meta
from api.types import (
    Affinity,
    Container,
    ContainerPort,
    Event,
    LabelSelector,
    Node,
    NodeAffinity,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    ObjectMeta,
    Overhead,
    Pod,
    PodSchedulingGate,
    PodSpec,
    ResourceRequirements,
    RuntimeClass,
    Taint,
    Toleration,
    TopologySpreadConstraint,
)
from machinery.client import Client
from tests.integration.processes import NODE, until

from .workloads import EMPTY_NODE, HOSTNAME, Lab, only, unschedulable

pytestmark = pytest.mark.asyncio(loop_scope="session")
KEY = "example.com/e2e"
HELPLESS = (
    "no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
)


def has_node(pod: Pod) -> bool:
    return bool(pod.spec.nodeName)


async def refused(lab: Lab, name: str) -> str:
    """Why, as its condition and its event have it."""
    found = meta.condition(await lab.until(name, unschedulable), "PodScheduled")
    assert found is not None
    events = await until(
        lab.client, Event, lambda es: any((e.reason, e.involvedObject.name) == ("FailedScheduling", name) for e in es),
        lab.namespace,
    )  # fmt: skip
    assert found.message in {e.message for e in events if e.involvedObject.name == name}
    return found.message


async def test_the_requests_of_pods_never_exceed_what_a_node_has(lab: Lab) -> None:
    await lab.give(EMPTY_NODE, 10)
    for name, amount in (("filler", 7), ("rest", 3)):
        await lab.create(name, "low", amount)
        await lab.until(name, has_node)
    await lab.create("additional", "low", 1)
    why = await refused(lab, "additional")
    assert why.startswith(
        f"0/2 nodes are available: 2 Insufficient {lab.resource}. no new claims to deallocate, preemption: 0/2"
    )


async def test_the_overhead_of_a_pod_counts(client: Client, lab: Lab) -> None:
    await lab.give(EMPTY_NODE, 4)
    overhead = Overhead(podFixed={lab.resource: "3"})
    kind = RuntimeClass(metadata=ObjectMeta(name=lab.namespace), handler="runc", overhead=overhead)
    await client.create(kind)
    await lab.create("heavy", "low", 1, runtimeClassName=lab.namespace)
    assert (await lab.until("heavy", has_node)).spec.overhead == {lab.resource: "3"}
    await lab.create("light", "low", 1)
    assert (await refused(lab, "light")).startswith(f"0/2 nodes are available: 2 Insufficient {lab.resource}.")


async def test_a_node_selector_is_respected(client: Client, lab: Lab) -> None:
    await lab.give(EMPTY_NODE, 4)
    await lab.create("restricted", "low", 1, nodeSelector={KEY: lab.namespace})
    why = await refused(lab, "restricted")
    assert why == f"0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector. {HELPLESS}"
    await client.patch(Node, EMPTY_NODE, "", {"metadata": {"labels": {KEY: lab.namespace}}})
    assert (await lab.until("restricted", has_node)).spec.nodeName == EMPTY_NODE
    await client.patch(Node, EMPTY_NODE, "", {"metadata": {"labels": {KEY: None}}})


async def test_required_node_affinity_is_respected(client: Client, lab: Lab) -> None:
    await lab.give(EMPTY_NODE, 4)
    expression = NodeSelectorRequirement(key=KEY, operator="In", values=["other", lab.namespace])
    required = NodeSelector(nodeSelectorTerms=[NodeSelectorTerm(matchExpressions=[expression])])
    pod = lab.pod("choosy", "low", 1)
    pod.spec.affinity = Affinity(nodeAffinity=NodeAffinity(requiredDuringSchedulingIgnoredDuringExecution=required))
    await client.create(pod)
    await refused(lab, "choosy")
    await client.patch(Node, EMPTY_NODE, "", {"metadata": {"labels": {KEY: lab.namespace}}})
    assert (await lab.until("choosy", has_node)).spec.nodeName == EMPTY_NODE
    await client.patch(Node, EMPTY_NODE, "", {"metadata": {"labels": {KEY: None}}})


async def test_taints_are_respected_and_tolerated(client: Client, lab: Lab) -> None:
    await lab.give(EMPTY_NODE, 4)
    await client.patch(Node, EMPTY_NODE, "", {"spec": {"taints": [Taint(key=KEY, value="v", effect="NoSchedule")]}})
    try:
        tolerating = [Toleration(key=KEY, operator="Equal", value="v", effect="NoSchedule")]
        await lab.create("tolerating", "low", 1, tolerations=tolerating)
        await lab.create("other", "low", 1)
        await lab.until("tolerating", has_node)
        assert (await refused(lab, "other")).startswith(
            f"0/2 nodes are available: 1 Insufficient {lab.resource}, 1 node(s) had untolerated taint(s). no new"
        )
    finally:
        await client.patch(Node, EMPTY_NODE, "", {"metadata": {"labels": {"probe": None}}, "spec": {"taints": None}})
    await lab.until("other", has_node)


def listening(lab: Lab, name: str, ip: str, protocol: str) -> Pod:
    port = ContainerPort(containerPort=8080, hostPort=54323, hostIP=ip, protocol=protocol)
    container = Container(name="main", image="pause:1", ports=[port], resources=ResourceRequirements())
    spec = PodSpec(containers=[container], affinity=only(EMPTY_NODE))
    return Pod(metadata=ObjectMeta(name=name, namespace=lab.namespace), spec=spec)


async def test_a_host_port_conflicts_on_the_same_address_and_protocol_only(client: Client, lab: Lab) -> None:
    for name, ip, protocol in (("a", "127.0.0.1", "TCP"), ("b", "127.0.0.2", "TCP"), ("c", "127.0.0.2", "UDP")):
        await client.create(listening(lab, name, ip, protocol))
        await lab.until(name, has_node)
    await client.create(listening(lab, "everywhere", "", "TCP"))
    assert (await refused(lab, "everywhere")).startswith(
        "0/2 nodes are available: 1 node(s) didn't have free ports for the requested pod ports, "
        "1 node(s) didn't satisfy plugin(s) [NodeAffinity]. no new claims"
    )


async def test_pods_are_spread_evenly(client: Client, lab: Lab) -> None:
    for node in (NODE, EMPTY_NODE):
        await lab.give(node, 4)
    labels = {"spread": lab.namespace}
    constraint = TopologySpreadConstraint(
        maxSkew=1,
        topologyKey=HOSTNAME,
        whenUnsatisfiable="DoNotSchedule",
        labelSelector=LabelSelector(matchLabels=labels),
    )
    for number in range(4):
        await lab.create(f"p{number}", "low", 1, labels=labels, topologySpreadConstraints=[constraint])
    placed = [(await lab.until(f"p{number}", has_node)).spec.nodeName for number in range(4)]
    assert sorted(placed) == sorted([NODE, EMPTY_NODE] * 2)


async def test_a_gated_pod_is_not_looked_at_until_all_its_gates_are_gone(client: Client, lab: Lab) -> None:
    await lab.give(EMPTY_NODE, 4)
    gates = [PodSchedulingGate(name=f"example.com/{name}") for name in ("a", "b")]
    await lab.create("gated", "low", 1, schedulingGates=gates)

    def gated(pod: Pod) -> bool:
        found = meta.condition(pod, "PodScheduled")
        return found is not None and (found.status, found.reason) == ("False", "SchedulingGated")

    await lab.until("gated", gated)
    await client.patch(Pod, "gated", lab.namespace, {"spec": {"schedulingGates": gates[:1]}})
    await lab.create("another", "low", 1)  # what is decided on later
    await lab.until("another", has_node)
    assert not has_node((await lab.pods())["gated"])
    await client.patch(Pod, "gated", lab.namespace, {"spec": {"schedulingGates": []}})
    await asyncio.gather(lab.until("gated", has_node))


async def test_a_pod_avoids_nodes_that_have_a_preference_against_it(client: Client, lab: Lab) -> None:
    for node in (NODE, EMPTY_NODE):
        await lab.give(node, 9)
    taints = [Taint(key=f"{KEY}-{n}", value="v", effect="PreferNoSchedule") for n in range(3)]
    change = {"metadata": {"labels": {"probe": lab.namespace}}, "spec": {"taints": taints}}
    await client.patch(Node, EMPTY_NODE, "", change)
    try:
        # Whoever has a place by the label has been decided on by a scheduler that knows the taints.
        await lab.create("probe", "low", 0, nodeSelector={"probe": lab.namespace})
        await lab.until("probe", has_node)
        await lab.create("first", "low", 1)
        assert (await lab.until("first", has_node)).spec.nodeName == NODE
    finally:
        await client.patch(Node, EMPTY_NODE, "", {"metadata": {"labels": {"probe": None}}, "spec": {"taints": None}})
