"""What nodes and pods use: rates of what kubelets tell."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from api import meta
from api.errors import NotFound
from api.types import Container, Node, NodeCondition, NodeMetrics, NodeStatus, ObjectMeta, Pod, PodMetrics, PodSpec
from apiserver.nodes.meters import NODE_METRICS, NODES, POD_METRICS, PODS, Meter
from apiserver.requests import ListOptions, Request, User
from machinery.testing import FakeClock
from proto import node_pb2 as pb

BILLION = 10**9


class Cluster:
    """Two nodes with a pod each; a pod uses its share of a core, and a node twice that."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.shares = {"n1": 0.25, "n2": 0.5}
        self.silent: set[str] = set()
        self.asked = 0

    def get_cached(self, kind: Any, namespace: str, name: str) -> Any:
        return next(
            (o for o in self.list_cached(kind) if (o.metadata.namespace, o.metadata.name) == (namespace, name)), None
        )

    def list_cached(self, kind: Any) -> list[Any]:
        status = NodeStatus(conditions=[NodeCondition(type="Ready", status="True")])
        if kind is NODES:
            return [Node(metadata=ObjectMeta(name=n), status=status) for n in self.shares]
        assert kind is PODS
        return [
            Pod(
                metadata=ObjectMeta(name=f"p-{n}", namespace="default", uid=f"uid-{n}", labels={"on": n}),
                spec=PodSpec(containers=[Container(name="main")]),
            )
            for n in self.shares
        ]

    @asynccontextmanager
    async def stub(self, node: Node) -> AsyncIterator[Any]:
        yield Kubelet(self, node.metadata.name)


class Kubelet:
    def __init__(self, cluster: Cluster, node: str) -> None:
        self.cluster, self.node = cluster, node

    async def Stats(self, request: pb.StatsRequest, timeout: float) -> pb.StatsResponse:
        self.cluster.asked += 1
        if self.node in self.cluster.silent:
            raise NotFound("gone")
        used = int(self.cluster.shares[self.node] * self.cluster.clock.now() * BILLION)
        answer = pb.StatsResponse(node_cpu_usage_nanoseconds=2 * used, node_memory_working_set_bytes=2**30)
        pod = answer.pods.add(namespace="default", pod=f"p-{self.node}", uid=f"uid-{self.node}")
        pod.containers.add(name="main", cpu_usage_nanoseconds=used, memory_working_set_bytes=2**20)
        pod.containers.add(name="POD", cpu_usage_nanoseconds=used)
        return answer


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


async def ask(cluster: Cluster, meter: Meter, kind: Any, **options: str) -> list[Any]:
    request = Request(User("me"), "list", kind)
    asking = asyncio.create_task(meter.list(request, ListOptions(**options)))
    await cluster.clock.advance(1)
    type_ = NodeMetrics if kind is NODE_METRICS else PodMetrics
    return [meta.decode(item.document, type_) for item in (await asking).items]


def make(cluster: Cluster) -> Meter:
    return Meter(cluster, cluster, cluster.clock)  # type: ignore[arg-type]


async def test_pods_and_nodes_have_the_rate_of_the_last_second(cluster: Cluster) -> None:
    pods = await ask(cluster, make(cluster), POD_METRICS)
    assert [p.containers[0].usage for p in pods] == [
        {"cpu": "250000000n", "memory": "1024Ki"}, {"cpu": "500000000n", "memory": "1024Ki"},
    ]  # fmt: skip
    assert [(p.metadata.name, p.window, len(p.containers)) for p in pods] == [
        ("p-n1", "1.000s", 1),
        ("p-n2", "1.000s", 1),
    ]
    nodes = await ask(cluster, make(cluster), NODE_METRICS)
    assert [(n.metadata.name, n.usage["cpu"]) for n in nodes] == [("n1", "500000000n"), ("n2", "1000000000n")]


async def test_who_asks_regularly_gets_the_rate_since_the_last_time(cluster: Cluster) -> None:
    meter = make(cluster)
    await ask(cluster, meter, POD_METRICS)
    await cluster.clock.advance(14)
    asked = cluster.asked
    assert [p.window for p in await ask(cluster, meter, POD_METRICS)] == ["14.000s"] * 2
    assert cluster.asked == asked + 2
    await ask(cluster, meter, NODE_METRICS)
    assert cluster.asked == asked + 2


async def test_what_is_selected_is_shown(cluster: Cluster) -> None:
    meter = make(cluster)
    assert [p.metadata.name for p in await ask(cluster, meter, POD_METRICS, label_selector="on=n2")] == ["p-n2"]
    chosen = await ask(cluster, meter, POD_METRICS, field_selector="metadata.name=p-n1")
    assert [p.metadata.name for p in chosen] == ["p-n1"]


async def test_a_node_that_is_silent_has_no_metrics_and_the_others_have(cluster: Cluster) -> None:
    cluster.silent.add("n1")
    assert [n.metadata.name for n in await ask(cluster, make(cluster), NODE_METRICS)] == ["n2"]


async def test_a_pod_that_there_is_not_is_not_found(cluster: Cluster) -> None:
    request = Request(User("me"), "get", POD_METRICS, "default", "other")
    asking = asyncio.create_task(make(cluster).get(request))
    await cluster.clock.advance(1)
    with pytest.raises(NotFound, match=r'pods\.metrics\.k8s\.io "other" not found'):
        await asking


async def test_a_clock_that_is_set_back_keeps_no_old_rates(cluster: Cluster) -> None:
    meter = make(cluster)
    await ask(cluster, meter, POD_METRICS)
    cluster.clock.jump(-3600)
    asked = cluster.asked
    assert [p.window for p in await ask(cluster, meter, POD_METRICS)] == ["1.000s"] * 2
    assert cluster.asked > asked
