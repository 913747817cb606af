"""The kubelet's gRPC service, called as the API server calls it."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from api import meta
from api.types import ExecAction, Pod, Probe
from machinery.channels import channel
from machinery.grpc_errors import from_rpc
from machinery.kubeconfigs import Access
from proto import node_pb2 as pb
from proto.node_pb2_grpc import NodeStub


def ready(pod: Pod) -> bool:
    return meta.is_true(pod, "Ready")


MAIN = pb.Container(namespace="default", pod="web", container="main")


async def execute(stub: Any, *messages: pb.ExecInput) -> tuple[bytes, bytes, int | None]:
    async def requests() -> AsyncIterator[pb.ExecInput]:
        for message in messages:
            yield message

    out, err, code = b"", b"", None
    async for output in stub.Exec(requests()):
        out += output.stdout
        err += output.stderr
        if output.HasField("exit"):
            code = output.exit
    return out, err, code


def start(*command: str, **fields: Any) -> pb.ExecInput:
    return pb.ExecInput(start=pb.ExecStart(container=MAIN, command=command, stdout=True, stderr=True, **fields))


async def test_exec_carries_both_streams_the_input_and_the_exit_code(lab: Any, pods: Any) -> None:
    async with lab.kubelet(), lab.node() as stub:
        await lab.create(pods("web"))
        await lab.until("web", ready)
        out, err, code = await execute(stub, start("sh", "-c", "echo out; echo err >&2; exit 3"))
        assert (out, err, code) == (b"out\n", b"err\n", 3)
        out, _, code = await execute(
            stub, start("cat", stdin=True), pb.ExecInput(stdin=b"hello"), pb.ExecInput(close_stdin=True)
        )
        assert (out, code) == (b"hello", 0)
        out, _, code = await execute(stub, start("sh", "-c", "test -t 1 && echo tty", tty=True))
        assert (out, code) == (b"tty\r\n", 0)


async def test_logs_can_be_cut_and_followed(lab: Any, pods: Any, containers: Any) -> None:
    main = containers(command=["sh", "-c", "for i in 1 2 3; do echo line $i; done; exit 0"])
    async with lab.kubelet(), lab.node() as stub:
        await lab.create(pods("web", main, restartPolicy="Never"))
        await lab.until("web", lambda p: p.status.phase == "Succeeded")

        async def logs(**options: Any) -> bytes:
            return b"".join([chunk.data async for chunk in stub.Logs(pb.LogsRequest(container=MAIN, **options))])

        assert await logs() == b"line 1\nline 2\nline 3\n"
        assert await logs(tail_lines=1, follow=True) == b"line 3\n"
        assert await logs(limit_bytes=4) == b"line"
        assert (await logs(timestamps=True)).split(b" ", 1)[0].startswith(b"20")
        assert await logs(stream="Stderr") == b""
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await logs(previous=True)
        assert str(from_rpc(refused.value)) == 'previous terminated container "main" in pod "web" not found'


async def test_what_only_listens_on_the_pods_loopback_is_reached_there_alone(
    lab: Any, pods: Any, containers: Any
) -> None:  # fmt: skip
    serve = "mkdir /www; echo page > /www/a; httpd -f -p 127.0.0.1:8080 -h /www"
    async with lab.kubelet(), lab.node() as stub:
        probe = Probe(exec=ExecAction(command=["wget", "-qO-", "http://127.0.0.1:8080/a"]), periodSeconds=1)
        await lab.create(pods("web", containers(command=["sh", "-c", serve], readinessProbe=probe)))
        address = (await lab.until("web", ready)).status.podIP

        async def requests(port: int, to: str = "") -> AsyncIterator[pb.PortForwardInput]:
            start = pb.PortForwardStart(namespace="default", pod="web", port=port, address=to)
            yield pb.PortForwardInput(start=start)
            yield pb.PortForwardInput(data=b"GET /a HTTP/1.0\r\n\r\n")

        answer = b"".join([chunk.data async for chunk in stub.PortForward(requests(8080))])
        assert answer.endswith(b"page\n")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await anext(aiter(stub.PortForward(requests(81))))
        assert "connection refused" in str(from_rpc(refused.value))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await anext(aiter(stub.PortForward(requests(8080, address))))
        assert str(from_rpc(refused.value)) == f"dial tcp {address}:8080: connect: connection refused"


async def test_statistics_name_the_containers(lab: Any, pods: Any) -> None:
    async with lab.kubelet(), lab.node() as stub:
        await lab.create(pods("web"))
        await lab.until("web", ready)
        stats = await stub.Stats(pb.StatsRequest())
        (pod,) = stats.pods
        assert (pod.pod, pod.containers[0].name) == ("web", "main")
        assert pod.containers[0].memory_working_set_bytes > 0
        assert stats.node_memory_working_set_bytes > 0


async def test_nobody_but_the_api_server_and_administrators_may_call(lab: Any, pods: Any) -> None:
    async with lab.kubelet():
        access = lab.plane.access("scheduler")
        async with channel(
            Access(f"https://127.0.0.1:{lab.grpc_port}", access.ca, access.certificate, access.key)
        ) as c:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await NodeStub(c).Stats(pb.StatsRequest(), wait_for_ready=True, timeout=10)
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
