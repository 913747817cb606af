"""Which container a caller of the Node service means, and what probes do."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from api import errors
from api.types import (
    ContainerPort,
    ContainerState,
    ContainerStateWaiting,
    ContainerStatus,
    ExecAction,
    HTTPGetAction,
    Pod,
    Probe,
    TCPSocketAction,
)  # fmt: skip
from kubelet.pods.caches import Cache
from kubelet.pods.handlers import HandlerFailed, Handlers, port_number, url
from kubelet.runtime.interfaces import Record
from kubelet.runtime.simulated import Simulated
from kubelet.serving.finding import Finder
from proto import node_pb2 as pb
from tests.unit.kubelet.builders import container, created, exited, pause, pod, running


def finder(*records: Record, of: Pod | None = None) -> Finder:
    cache = Cache(Simulated("c", "n"))
    for record in records:
        cache.put(record)
    known = of or pod()
    pods = SimpleNamespace(get=lambda namespace, name: known if name == "web" else None)
    return Finder(pods, cache)  # type: ignore[arg-type]


def wanted(name: str = "main", pod: str = "web", uid: str = "") -> pb.Container:
    return pb.Container(namespace="default", pod=pod, container=name, pod_uid=uid)


def test_the_newest_instance_is_meant() -> None:
    found = finder(exited(attempt=0), running(attempt=1))
    assert found.container(wanted()).attempt == 1
    assert found.container(wanted(), previous=True).attempt == 0
    assert found.running(wanted("")).attempt == 1


def test_the_previous_instance_of_an_ended_one_is_the_one_before() -> None:
    found = finder(exited(attempt=1), exited(attempt=2))
    assert found.container(wanted(), previous=True).attempt == 1


def test_while_the_next_instance_is_waited_for_the_newest_is_the_previous_one() -> None:
    of = pod()
    waiting = ContainerState(waiting=ContainerStateWaiting(reason="CrashLoopBackOff"))
    of.status.containerStatuses = [ContainerStatus(name="main", state=waiting)]
    for records in ((exited(attempt=1), exited(attempt=2)), (exited(attempt=2),)):
        assert finder(*records, of=of).container(wanted(), previous=True).attempt == 2
    assert finder(exited(), of=of).container(wanted(), previous=True).attempt == 0


@pytest.mark.parametrize(
    ("records", "name", "previous", "message"),
    [
        ((running(),), "other", False, "container other is not valid for pod web"),
        ((), "main", False, 'container "main" in pod "web" is waiting to start: ContainerCreating'),
        ((created(),), "main", False, 'container "main" in pod "web" is waiting to start: ContainerCreating'),
        ((running(),), "main", True, 'previous terminated container "main" in pod "web" not found'),
    ],
)
def test_what_cannot_be_found_is_said_in_upstreams_words(
    records: tuple[Record, ...], name: str, previous: bool, message: str
) -> None:
    with pytest.raises(errors.BadRequest) as refused:
        finder(*records).container(wanted(name), previous=previous)
    assert refused.value.message == message


def test_another_pod_of_the_same_name_is_not_found() -> None:
    for who in (wanted(pod="none"), wanted(uid="u2")):
        with pytest.raises(errors.NotFound):
            finder(running()).container(who)
    with pytest.raises(errors.NotFound, match="container not found"):
        finder(exited()).running(wanted())


def test_the_sandbox_is_the_one_that_runs() -> None:
    assert finder(pause()).sandbox(pod()).id == "pause0"
    with pytest.raises(errors.NotFound):
        finder().sandbox(pod())


def test_ports_are_found_by_number_or_name() -> None:
    c = container(ports=[ContainerPort(name="http", containerPort=8080)])
    assert (port_number(80, c), port_number("http", c)) == (80, 8080)
    with pytest.raises(HandlerFailed, match="couldn't find port: none"):
        port_number("none", c)
    assert url(HTTPGetAction(port="http", path="x", scheme="HTTPS"), c, "10.0.0.1") == "https://10.0.0.1:8080/x"


@pytest.fixture
async def handlers() -> Any:
    made = Handlers(Simulated("c", "n"))
    running = asyncio.create_task(made.run())
    await asyncio.sleep(0)
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def port() -> Any:
    """A server on loopback that answers by the path: its status."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        words = (await reader.readline()).split()
        if words:
            code = words[1].decode().strip("/")
            writer.write(f"HTTP/1.1 {code} X\r\nContent-Length: 0\r\nLocation: /500\r\n\r\n".encode())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def perform(handlers: Handlers, seconds: float = 5.0, **action: Any) -> str:
    return await handlers.perform(Probe(**action), container(), "x", "127.0.0.1", seconds)


@pytest.mark.parametrize("status", [200, 204, 304, 399])
async def test_these_statuses_are_a_yes(handlers: Handlers, port: int, status: int) -> None:
    assert await perform(handlers, httpGet=HTTPGetAction(port=port, path=f"/{status}")) == ""


@pytest.mark.parametrize("status", [400, 404, 500])
async def test_these_statuses_are_a_no(handlers: Handlers, port: int, status: int) -> None:
    with pytest.raises(HandlerFailed, match=f"HTTP probe failed with statuscode: {status}"):
        await perform(handlers, httpGet=HTTPGetAction(port=port, path=f"/{status}"))


async def test_a_refused_connection_is_told_as_go_tells_it(handlers: Handlers) -> None:
    with pytest.raises(HandlerFailed) as refused:
        await perform(handlers, httpGet=HTTPGetAction(port=1, path="/"))
    assert str(refused.value) == 'Get "http://127.0.0.1:1/": dial tcp 127.0.0.1:1: connect: connection refused'
    with pytest.raises(HandlerFailed) as refused:
        await perform(handlers, tcpSocket=TCPSocketAction(port=1))
    assert str(refused.value) == "dial tcp 127.0.0.1:1: connect: connection refused"


async def test_an_open_port_is_enough_for_a_tcp_probe(handlers: Handlers, port: int) -> None:
    assert await perform(handlers, tcpSocket=TCPSocketAction(port=port)) == ""


async def test_a_command_in_a_container_that_is_gone_is_a_no(handlers: Handlers) -> None:
    with pytest.raises(HandlerFailed, match="No such container"):
        await perform(handlers, exec=ExecAction(command=["true"]))
