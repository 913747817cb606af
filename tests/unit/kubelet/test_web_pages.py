"""What the pages of the kubelet's HTTPS port say."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer

from kubelet.config import parse
from kubelet.pods.caches import Cache
from kubelet.runtime.interfaces import Record, Spec
from kubelet.runtime.simulated import Simulated
from kubelet.serving.finding import Finder
from kubelet.serving.logs import Logs
from kubelet.web import pages, processes
from kubelet.web.configz import configuration
from kubelet.web.files import Files
from kubelet.web.processes import Processes, log_request
from machinery.testing import FakeClock, settle
from proto import node_pb2 as pb
from tests.unit.kubelet.builders import container, pause, pod, running


def test_the_running_pods_are_the_engines_and_the_others_the_clusters() -> None:
    assert b'"items":[{"metadata":{"name":"web","namespace":"default","uid":"u1"}' in bytes(pages.pods([pod()]).body)  # type: ignore[arg-type]
    assert b'"kind":"Pod"' not in bytes(pages.pods([pod()]).body)  # type: ignore[arg-type]
    body = bytes(pages.running_pods([running(), running("side")]).body)  # type: ignore[arg-type]
    assert body.count(b'"uid":"u1"') == 1
    assert b'"containers":[{"name":"main","image":"app:1","resources":{}},{"name":"side"' in body


def test_the_configuration_is_told_as_it_is() -> None:
    flags = ["--kubeconfig", "x", "--node-ip", "10.0.0.1", "--max-pods=30", "--port=10260", "--cluster-dns=10.96.0.10"]
    found = configuration(parse(flags))["kubeletconfig"]
    assert (found["port"], found["maxPods"], found["clusterDNS"]) == (10260, 30, ["10.96.0.10"])
    assert found["authentication"]["anonymous"] == {"enabled": False}
    assert found["authentication"]["webhook"] == {"enabled": True, "cacheTTL": "2m0s"}
    assert found["authorization"]["webhook"] == {"cacheAuthorizedTTL": "5m0s", "cacheUnauthorizedTTL": "30s"}
    assert (found["containerLogMaxSize"], found["containerLogMaxFiles"]) == ("10Mi", 5)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, {}),
        ({"follow": "true", "previous": "0", "timestamps": ""}, {"follow": True, "timestamps": True}),
        ({"tailLines": "3", "limitBytes": "4", "sinceSeconds": "5"},
         {"tail_lines": 3, "limit_bytes": 4, "since_seconds": 5}),
        ({"tail": "2"}, {"tail_lines": 2}),
        ({"tail": "all"}, {}),
        ({"sinceTime": "2026-01-01T00:00:00Z", "stream": "Stderr"},
         {"since_time": "2026-01-01T00:00:00Z", "stream": "Stderr"}),
    ],
)  # fmt: skip
def test_a_query_says_what_is_wanted_of_a_log(query: dict[str, str], expected: dict[str, Any]) -> None:
    wanted = pb.Container(namespace="n", pod="p", container="c")
    assert log_request(query, wanted) == pb.LogsRequest(container=wanted, **expected)


@pytest.mark.parametrize(
    "query",
    [
        {"tailLines": "-1"},
        {"limitBytes": "0"},
        {"sinceSeconds": "0"},
        {"sinceSeconds": "1", "sinceTime": "2026-01-01T00:00:00Z"},
        {"stream": "All the time"},
        {"stream": "Stdout", "tailLines": "1"},
    ],
)
def test_what_cannot_be_is_refused(query: dict[str, str]) -> None:
    assert log_request(query, pb.Container()) is None


class Node:
    """A server with one pod, whose container has said two lines and then waits."""

    def __init__(self, directory: Path) -> None:
        self.engine = Simulated("c", "n1", clock=FakeClock())
        self.cache = Cache(self.engine)
        known = SimpleNamespace(
            get=lambda namespace, name: pod(container(), container("late")) if name == "web" else None
        )
        finder = Finder(known, self.cache)  # type: ignore[arg-type]
        self.processes = Processes(self.engine, finder, Logs(self.engine, finder, FakeClock()))
        self.files = Files(directory)

    async def start(self, *, ends: bool = True) -> None:
        record: Record = running()
        said = ("sh", "-c", "echo one; echo two; exit 0") if ends else ("server",)
        made = await self.engine.create(Spec(name="x", image="app:1", labels=record.labels, arguments=said))
        await self.engine.start(made)
        await settle()
        self.cache.put(await self.engine.inspect(made))
        self.cache.put(pause())

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path.startswith("/containerLogs/"):
            return await self.processes.logs(request)
        return await (self.files.answer if request.path.startswith("/logs") else self.processes.run)(request)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a&b.log").write_text("hello")
    (tmp_path / "logs" / "more").mkdir()
    (tmp_path / "secret").write_text("not for you")
    (tmp_path / "logs" / "way-out").symlink_to(tmp_path / "secret")
    here = Node(tmp_path / "logs")
    await here.start()
    async with RawTestServer(here.answer) as server, aiohttp.ClientSession(server.make_url("/")) as session:
        yield session


async def got(node: aiohttp.ClientSession, path: str, method: str = "GET") -> tuple[int, str]:
    async with node.request(method, path, allow_redirects=False) as answer:
        return answer.status, await answer.text()


async def test_a_log_is_read(node: aiohttp.ClientSession) -> None:
    assert await got(node, "/containerLogs/default/web/main") == (200, "one\ntwo\n")
    assert await got(node, "/containerLogs/default/web/main?tailLines=1") == (200, "two\n")
    assert await got(node, "/containerLogs/default/web/main?limitBytes=6") == (200, "one\ntw")


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/containerLogs/default/none/main", 404, 'pod "none" does not exist'),
        ("/containerLogs/default/web/none", 404, 'container "none" not found in pod "web"'),
        ("/containerLogs/default/web/late", 400, 'container "late" in pod "web" is waiting to start: ContainerCreating'),
        ("/containerLogs/default/web/main?previous=1", 400,
         'previous terminated container "main" in pod "web" not found'),
        ("/containerLogs/default/web/main?tailLines=x", 400, '{"message": "Unable to decode query."}'),
        ("/containerLogs/default/web/main?tailLines=-1", 422, '{"message": "Invalid request."}'),
        ("/containerLogs/default", 404, "404 page not found\n"),
    ],
)  # fmt: skip
async def test_a_log_that_cannot_be_read_is_refused_in_upstreams_words(
    node: aiohttp.ClientSession, path: str, status: int, text: str
) -> None:
    assert await got(node, path) == (status, text)


async def test_a_command_in_a_pod_that_is_away_is_refused(node: aiohttp.ClientSession) -> None:
    assert await got(node, "/run/default/none/main?cmd=true", "POST") == (404, "pod does not exist")
    assert (await got(node, "/run/default/web/main?cmd=true", "POST"))[0] == 500  # it has ended


async def test_of_what_a_command_says_so_much_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "OUTPUT", 5)
    here = Node(tmp_path)
    await here.start(ends=False)
    async with RawTestServer(here.answer) as server, aiohttp.ClientSession(server.make_url("/")) as session:
        assert await got(session, "/run/default/web/main?cmd=echo%20a%20long%20word", "POST") == (200, "a lon")


async def test_log_files_are_listed_and_shown(node: aiohttp.ClientSession) -> None:
    status, listed = await got(node, "/logs/")
    assert (status, '<a href="a%26b.log">a&amp;b.log</a>\n<a href="more/">more/</a>\n' in listed) == (200, True)
    assert await got(node, "/logs/a&b.log") == (200, "hello")
    assert (await got(node, "/logs/more"))[0] == 301
    assert (await got(node, "/logs/none"))[0] == 404


async def test_a_log_file_whose_name_is_no_text_is_listed_as_it_is(node: aiohttp.ClientSession, tmp_path: Path) -> None:
    (tmp_path / "logs" / os.fsdecode(b"old\xff.log")).write_text("hello")
    async with node.get("/logs/") as answer:
        assert answer.status == 200
        assert b'<a href="old%FF.log">old\xff.log</a>\n' in await answer.read()


@pytest.mark.parametrize("path", ["/logs/%00", "/logs/circle", f"/logs/{'x' * 300}"])
async def test_what_names_no_log_file_is_not_found(node: aiohttp.ClientSession, tmp_path: Path, path: str) -> None:
    (tmp_path / "logs" / "circle").symlink_to("circle")
    async with node.get(aiohttp.client.URL(path, encoded=True)) as answer:
        assert answer.status == 404


@pytest.mark.parametrize("path", ["/logs/way-out", "/logs/..%2Fsecret", "/logs/more/..%2f..%2fsecret"])
async def test_nothing_but_logs_is_shown(node: aiohttp.ClientSession, path: str) -> None:
    async with node.get(aiohttp.client.URL(path, encoded=True)) as answer:
        assert answer.status == 404
