"""Streams into the pods of a node: how many there are, and what waits in one that nobody reads."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from kubelet.pods.caches import Cache
from kubelet.runtime import streams
from kubelet.runtime.interfaces import CLUSTER, CONTAINER, NODE, POD_UID, EngineError, Spec
from kubelet.runtime.simulated import Simulated
from kubelet.serving import service
from kubelet.serving.finding import Finder
from kubelet.serving.logs import Logs
from kubelet.serving.service import NodeService
from machinery.testing import FakeClock, settle
from proto import node_pb2 as pb
from proto.node_pb2_grpc import NodeStub, add_NodeServicer_to_server
from tests.unit.kubelet.builders import pod


@pytest.fixture
async def node(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """The service of a node that has two pods, and room for two streams into each of them, and for three in all."""
    monkeypatch.setattr(service, "MOST", 3)
    monkeypatch.setattr(service, "MOST_EACH", 2)
    clock = FakeClock()
    runtime = Simulated("c", "n1", clock=clock)
    cache, known = Cache(runtime), {name: pod(metadata={"name": name, "uid": name}) for name in ("a", "b")}
    for name in known:
        labels = {CLUSTER: "c", NODE: "n1", POD_UID: name, CONTAINER: "main"}
        made = await runtime.create(Spec(name=name, image="app:1", labels=labels, arguments=("server",)))
        await runtime.start(made)
        await settle()
        cache.put(await runtime.inspect(made))
    pods = SimpleNamespace(get=lambda namespace, name: known.get(name))
    finder = Finder(pods, cache)  # type: ignore[arg-type]
    server = grpc.aio.server()
    add_NodeServicer_to_server(NodeService(runtime, finder, Logs(runtime, finder, clock), None), server)  # type: ignore[arg-type]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel, asyncio.timeout(30):
        yield NodeStub(channel)
    await server.stop(0)
    runtime.close()


async def begun(node: Any, name: str) -> Any:
    call = node.Exec()
    container = pb.Container(namespace="default", pod=name, container="main")
    await call.write(pb.ExecInput(start=pb.ExecStart(container=container, command=["cat"], stdin=True, stdout=True)))
    return call


async def cat(node: Any, name: str) -> Any:
    """A command that waits."""
    call = await begun(node, name)
    await call.initial_metadata()
    await call.write(pb.ExecInput(stdin=b"x"))
    assert (await call.read()).stdout == b"x"
    return call


async def test_a_pod_has_so_many_streams_and_a_node_in_all(node: Any) -> None:
    calls = [await cat(node, "a") for _ in range(2)]
    refused = await begun(node, "a")
    assert await refused.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await refused.details() == "too many streams into pods of this node, please try again later"
    calls.append(await cat(node, "b"))
    assert await (await begun(node, "b")).code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    await calls[0].write(pb.ExecInput(close_stdin=True))
    assert (await calls[0].read()).exit == 0
    assert await calls[0].read() is grpc.aio.EOF
    calls.append(await cat(node, "a"))
    for call in calls:
        call.cancel()


async def test_what_a_command_says_waits_in_the_engine_where_nobody_reads(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 UPGRADED\r\n\r\n" + b"y" * (16 << 20))

    server = await asyncio.start_unix_server(serve, tmp_path / "engine")
    async with server, asyncio.timeout(30), streams.opened(str(tmp_path / "engine"), "POST", "/x") as answer:
        transport: Any = answer.writer.transport
        paused, pause = asyncio.Event(), transport.pause_reading

        def pause_and_say() -> None:
            pause()
            paused.set()

        transport.pause_reading = pause_and_say
        if transport.is_reading():
            await paused.wait()
        assert len(answer.reader._buffer) < 500_000  # type: ignore[attr-defined]


def test_bytes_that_are_no_text_are_refused_as_the_engine_would() -> None:
    value = b"\xff".decode(errors="surrogateescape")
    with pytest.raises(EngineError, match="string field contains invalid UTF-8"):
        streams.request("POST", "/containers/create", {"Env": [f"KEY={value}"]})
