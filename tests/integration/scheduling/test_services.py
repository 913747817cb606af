"""What the scheduler tells of itself, and its profiles."""

import pytest

from api import meta
from api.types import Event, Node
from machinery.channels import channel
from machinery.client import Client
from proto import scheduler_pb2 as pb
from proto.scheduler_pb2_grpc import SchedulerStub
from tests.integration.processes import NODE, until

from .conftest import Cluster
from .workloads import EMPTY_NODE, Lab, dying, unschedulable

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_pod_that_cannot_be_placed_is_explained_with_who_would_have_to_go(cluster: Cluster, lab: Lab) -> None:
    await lab.give(NODE, 2)
    await lab.run("low", "low", 2)
    waiting = lab.pod("what-if", "high", 1)
    async with channel(cluster.scheduler) as connection:
        stub = SchedulerStub(connection)
        request = pb.SimulateRequest(pods=[meta.encode(waiting)])
        waiting.spec.priority = 1000
        answer = await stub.Simulate(pb.SimulateRequest(pods=[meta.encode(waiting)]))
        assert [v.name for v in answer.placements[0].preemption.victims] == ["low"]
        without_priority = (await stub.Simulate(request)).placements[0]
        assert without_priority.message.startswith("0/2 nodes are available: 2 Insufficient example.com")
        another = await lab.client.get(Node, EMPTY_NODE)
        another.metadata.name, another.status.allocatable[lab.resource] = "another", "1"
        request = pb.SimulateRequest(pods=[meta.encode(waiting)], nodes=[meta.encode(another)], without=[NODE])
        assert (await stub.Simulate(request)).placements[0].node == "another"
        explained = await stub.Explain(pb.ExplainRequest(namespace=lab.namespace, name="low"))
        assert (explained.node, explained.bound, len(explained.verdicts)) == (NODE, True, 2)
        metrics = (await stub.Metrics(pb.MetricsRequest())).body.decode()
        assert 'scheduler_schedule_attempts_total{profile="default-scheduler",result="scheduled"}' in metrics
    assert not any(dying(p) for p in (await lab.pods()).values())


async def test_a_pod_is_scheduled_by_the_profile_that_it_names(client: Client, lab: Lab) -> None:
    for node in (NODE, EMPTY_NODE):
        await lab.give(node, 4)
    await lab.run("low", "low", 4, node=NODE)
    await lab.run("one", "high", 4, schedulerName="packing")
    await lab.create("two", "high", 4, schedulerName="packing")
    waiting = await lab.until("two", unschedulable)
    found = meta.condition(waiting, "PodScheduled")
    assert found is not None
    assert found.message == f"0/2 nodes are available: 2 Insufficient {lab.resource}. no new claims to deallocate"
    events = await until(client, Event, lambda es: any(e.involvedObject.name == "two" for e in es), lab.namespace)
    sources = {
        e.involvedObject.name: e.source.component for e in events if e.reason in ("Scheduled", "FailedScheduling")
    }
    assert sources == {"low": "default-scheduler", "one": "packing", "two": "packing"}
