"""One cluster for all: the control plane, controllers, the scheduler, a simulated node, and one that is only an object.

Each test has a namespace of its own and gives the nodes a resource of its own, so that none sees the others' pods.
"""

import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import NamedTuple

import pytest
import pytest_asyncio

from api import errors, meta
from api.meta import Key
from api.types import Namespace, Node, NodeCondition, NodeStatus, ObjectMeta, Pod, PriorityClass
from machinery.client import Client, connect
from machinery.kubeconfigs import Access
from machinery.testing import control_plane, free_port
from tests.integration.processes import NODE, controller_manager, kubelet, scheduler, until
from tests.integration.scheduling.workloads import CLASSES, EMPTY_NODE, HOSTNAME, Lab

_numbers = itertools.count(1)
GATES = "--feature-gates=GenericWorkload=true"
PROFILES = """
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
profiles:
- schedulerName: default-scheduler
- schedulerName: packing
  plugins:
    postFilter: {disabled: [{name: DefaultPreemption}]}
    score: {disabled: [{name: "*"}], enabled: [{name: NodeResourcesFit}]}
  pluginConfig:
  - name: NodeResourcesFit
    args: {scoringStrategy: {type: MostAllocated, resources: [{name: example.com/packed, weight: 1}]}}
"""


class Cluster(NamedTuple):
    client: Client
    scheduler: Access


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    directory = tmp_path_factory.mktemp("scheduling")
    async with AsyncExitStack() as stack:
        plane = await stack.enter_async_context(control_plane(directory, GATES))
        # Nobody tells of the health of the node that is only an object.
        patient = ("--leader-elect=false", GATES, "--node-monitor-grace-period=1h")
        await stack.enter_async_context(controller_manager(plane, directory, *patient))
        profiles = directory / "profiles.yaml"
        profiles.write_text(PROFILES)
        port = free_port()
        flags = "--leader-elect=false", GATES, "--config", str(profiles), "--secure-port", str(port)
        await stack.enter_async_context(scheduler(plane, directory, *flags))
        await stack.enter_async_context(kubelet(plane, directory))
        connected = await stack.enter_async_context(connect(plane.access()))
        for name, value in CLASSES.items():
            await connected.create(PriorityClass(metadata=ObjectMeta(name=name), value=value))
        await connected.create(_empty_node())
        await connected.patch(Node, EMPTY_NODE, "", {"status": _empty_node().status}, subresource="status")
        await until(connected, Node, lambda nodes: len([n for n in nodes if _is_free(n)]) == 2)
        address = replace(plane.access(), server=f"https://127.0.0.1:{port}")
        yield Cluster(connected, address)


@pytest.fixture(scope="session")
def client(cluster: Cluster) -> Client:
    return cluster.client


def _empty_node() -> Node:
    sizes = {"cpu": "8", "memory": "8Gi", "pods": "110"}
    ready = NodeCondition(type="Ready", status="True", reason="Test", lastHeartbeatTime="2026-01-01T00:00:00Z")
    return Node(
        metadata=ObjectMeta(name=EMPTY_NODE, labels={HOSTNAME: EMPTY_NODE}),
        status=NodeStatus(capacity=sizes, allocatable=sizes, conditions=[ready]),
    )


def _is_free(node: Node) -> bool:
    return meta.is_true(node, "Ready") and not node.spec.taints


@pytest_asyncio.fixture(loop_scope="session")
async def lab(client: Client) -> AsyncIterator[Lab]:
    number = next(_numbers)
    lab = Lab(client, f"scheduling-{number}", f"example.com/fake{number}")
    await client.create(Namespace(metadata=ObjectMeta(name=lab.namespace)))
    yield lab
    for pod in (await client.list(Pod)).items:
        if meta.key(pod).namespace in (lab.namespace, lab.other) or meta.key(pod) == Key("kube-system", "critical"):
            with suppress(errors.NotFound):
                await client.delete(Pod, pod.metadata.name, pod.metadata.namespace, grace_seconds=0)
    for node in (NODE, EMPTY_NODE):
        gone = {lab.resource: None}
        await client.patch(Node, node, "", {"status": {"capacity": gone, "allocatable": gone}}, subresource="status")
