"""Logs, exec and port-forward through the gRPC door."""

import asyncio
from contextlib import asynccontextmanager

import grpc
import pytest

from apiserver.auditing import Caller
from apiserver.authorization import Groups
from apiserver.grpc_streams import Streams
from apiserver.nodes.kubelets import OPTIONS, Kubelets
from apiserver.requests import User
from machinery.grpc_errors import from_rpc
from proto import node_pb2 as pb
from proto.resources_pb2_grpc import ResourcesStub
from tests.unit.apiserver.rest import kubelet as fake
from tests.unit.machinery.resources import Line

ADMIN, NOBODY = User("admin", groups=("system:masters",)), User("nobody")
POD = pb.Container(namespace="default", pod="a")


@pytest.fixture
async def kubelet(registry, make_pod):
    echo = fake.EchoKubelet()
    async with fake.running(echo) as port:
        registry.add("nodes", fake.node(port))
        registry.add("pods", make_pod("a", spec={"nodeName": "n1", "containers": [{"name": "c"}]}))
        several = {"nodeName": "n1", "containers": [{"name": "a"}, {"name": "b"}]}
        registry.add("pods", make_pod("two", spec=several))
        yield echo


@asynccontextmanager
async def door(registry, user=ADMIN, **times):
    async def who(_):
        return Caller(user, user)

    shorter = {f"grpc.{name.replace('__', '.')}": value for name, value in times.items()}
    kubelets = Kubelets(None, None, None, [*(dict(OPTIONS) | shorter).items()])
    server = grpc.aio.server()
    Streams(registry, Groups(), who, kubelets).register(server, "wherry.v1.Resources")
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield ResourcesStub(channel)
    await server.stop(0)
    await kubelets.close()


async def typed(*messages):
    for message in messages:
        yield message


async def collected(call):
    return [message async for message in call]


async def refused(call):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await collected(call)
    error = from_rpc(caught.value)
    return error.reason, error.message


async def test_a_command_runs_with_its_input_and_tells_its_end(registry, kubelet):
    start = pb.ExecStart(container=POD, command=["cat"], stdin=True)
    said = (pb.ExecInput(start=start), pb.ExecInput(stdin=b"hi"), pb.ExecInput(close_stdin=True))
    async with door(registry) as stub:
        assert await collected(stub.Exec(typed(*said))) == [pb.ExecOutput(stdout=b"hi"), pb.ExecOutput(exit=0)]
    assert kubelet.asked[0].container.container == "c"  # the only one there is


async def test_a_command_reaches_a_node_that_came_back_without_having_said_that_it_went(registry, make_pod):
    line, start = Line(), pb.ExecStart(container=POD, command=["exit", "3"])
    async with fake.running(fake.EchoKubelet()) as port, line.to(port) as begin, door(registry) as stub:
        registry.add("nodes", fake.node(begin))
        registry.add("pods", make_pod("a", spec={"nodeName": "n1", "containers": [{"name": "c"}]}))
        for _ in range(3):
            assert (await collected(stub.Exec(typed(pb.ExecInput(start=start)))))[-1] == pb.ExecOutput(exit=3)
            line.forget()


async def test_a_command_on_a_node_that_is_lost_without_a_word_ends(registry, make_pod):
    line, times = Line(), {"keepalive_time_ms": 100, "http2__ping_timeout_ms": 100}
    start = pb.ExecStart(container=POD, command=["cat"], stdin=True)
    async with fake.running(fake.EchoKubelet()) as port, line.to(port) as begin, door(registry, **times) as stub:
        registry.add("nodes", fake.node(begin))
        registry.add("pods", make_pod("a", spec={"nodeName": "n1", "containers": [{"name": "c"}]}))
        async with asyncio.timeout(20):
            call = stub.Exec()
            await call.write(pb.ExecInput(start=start))
            await call.write(pb.ExecInput(stdin=b"hi"))
            assert await call.read() == pb.ExecOutput(stdout=b"hi")
            line.silent = True
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.read()
        assert from_rpc(caught.value).reason == "ServiceUnavailable"


async def test_logs_are_carried_and_refusals_too(registry, kubelet):
    async with door(registry) as stub:
        chunks = await collected(stub.Logs(pb.LogsRequest(container=POD)))
        assert [c.data for c in chunks] == [b"one\n", b"two\n"]
        previous = stub.Logs(pb.LogsRequest(container=POD, previous=True))
        assert await refused(previous) == (
            "BadRequest", 'previous terminated container "c" in pod "a" not found'
        )  # fmt: skip


async def test_a_port_is_forwarded(registry, kubelet):
    start = pb.PortForwardInput(start=pb.PortForwardStart(namespace="default", pod="a", port=8080))
    async with door(registry) as stub:
        call = stub.PortForward(typed(start, pb.PortForwardInput(data=b"x"), pb.PortForwardInput(close=True)))
        assert [c.data for c in await collected(call)] == [b"X"]


@pytest.mark.parametrize(
    ("container", "reason", "message"),
    [
        (pb.Container(namespace="default", pod="none"), "NotFound", 'pods "none" not found'),
        (
            pb.Container(namespace="default", pod="two"), "BadRequest",
            "a container name must be specified for pod two, choose one of: [a b]",
        ),
        (pb.Container(namespace="default", pod="a", pod_uid="other"), "Conflict", 'pod "a" has another uid: '),
    ],
)  # fmt: skip
async def test_what_cannot_be_run_is_refused(registry, kubelet, container, reason, message):
    async with door(registry) as stub:
        call = stub.Exec(typed(pb.ExecInput(start=pb.ExecStart(container=container, command=["ls"]))))
        assert await refused(call) == (reason, message)


async def test_the_first_message_must_start_something(registry, kubelet):
    async with door(registry) as stub:
        assert await refused(stub.Exec(typed(pb.ExecInput(stdin=b"x")))) == (
            "BadRequest", "the first message must be `start`"
        )  # fmt: skip


async def test_who_may_not_is_refused(registry, kubelet):
    async with door(registry, NOBODY) as stub:
        reason, message = await refused(stub.Logs(pb.LogsRequest(container=POD)))
        assert reason == "Forbidden"
        assert 'User "nobody" cannot get resource "pods/log"' in message
