import asyncio
import json

import aiohttp

from api.errors import Expired
from apiserver.requests import Event
from apiserver.rest import watching
from tests.unit.apiserver.rest.conftest import served

TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}


def event(type_, obj):
    return Event(type_, json.dumps(obj).encode())


async def test_a_watch_answers_at_once_and_sends_a_line_for_each_event(rest, registry, make_pod):
    async with rest.get("/api/v1/pods?watch=1&resourceVersion=5&allowWatchBookmarks=true") as response:
        assert (response.status, response.headers["Content-Type"]) == (200, "application/json")
        assert response.headers["Transfer-Encoding"] == "chunked"
        await registry.events.put([event("ADDED", make_pod("a")), event("DELETED", make_pod("b"))])
        lines = [json.loads(await response.content.readline()) for _ in range(2)]
        assert [(x["type"], x["object"]["metadata"]["name"]) for x in lines] == [("ADDED", "a"), ("DELETED", "b")]
    request, options = registry.asked[0]
    assert (request.verb, options.resource_version, options.bookmarks) == ("watch", "5", True)
    await registry.watches_ended.wait()  # the client has gone


async def test_a_watch_ends_when_its_source_ends(rest, registry):
    await registry.events.put(None)
    async with rest.get("/api/v1/pods?watch=1") as response:
        assert await response.read() == b""


async def test_what_is_refused_before_the_first_event_is_a_plain_refusal(rest):
    async with rest.get("/api/v1/pods?watch=1&labelSelector=refused") as response:
        assert response.status == 403


async def test_what_goes_wrong_later_is_an_event(rest, registry, monkeypatch):
    async def broken():
        yield [Event("ADDED", b"{}")]
        raise Expired("too old resource version: 1 (2)")

    async def watch(request, options):
        return broken()

    monkeypatch.setattr(registry, "watch", watch)
    async with rest.get("/api/v1/pods?watch=1") as response:
        lines = [json.loads(line) for line in (await response.read()).splitlines()]
    assert [x["type"] for x in lines] == ["ADDED", "ERROR"]
    assert lines[1]["object"]["reason"] == "Expired"


async def test_only_the_first_table_of_a_watch_has_columns(rest, registry, make_pod):
    await registry.events.put(
        [event("ADDED", make_pod("a")), event("MODIFIED", make_pod("a")), event("BOOKMARK", make_pod())]
    )
    await registry.events.put(None)
    async with rest.get("/api/v1/pods?watch=1", headers=TABLE) as response:
        tables = [json.loads(line)["object"] for line in (await response.read()).splitlines()]
    assert [bool(t["columnDefinitions"]) for t in tables] == [True, False, False]
    assert [len(t["rows"]) for t in tables] == [1, 1, 0]
    assert tables[0]["metadata"] == {"resourceVersion": "7"}


async def test_a_list_that_comes_as_a_watch_is_no_table(rest, registry, make_pod):
    streamed = "/api/v1/pods?watch=1&allowWatchBookmarks=1&sendInitialEvents=1&resourceVersionMatch=NotOlderThan"
    async with rest.get(streamed, headers=TABLE) as response:
        assert response.status == 406
    await registry.events.put([event("ADDED", make_pod("a"))])
    await registry.events.put(None)
    async with rest.get(streamed, headers={"Accept": TABLE["Accept"] + ",application/json"}) as response:
        assert json.loads(await response.read())["object"]["kind"] == "Pod"


async def test_a_watch_of_metadata_sends_nothing_else(rest, registry, make_pod):
    await registry.events.put([event("ADDED", make_pod("a"))])
    await registry.events.put(None)
    accept = {"Accept": "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"}
    async with rest.get("/api/v1/pods?watch=1", headers=accept) as response:
        obj = json.loads(await response.read())["object"]
    assert obj["kind"] == "PartialObjectMetadata"
    assert "spec" not in obj


async def test_a_watch_over_a_websocket_sends_a_message_for_each_event(rest, registry, make_pod):
    async with rest.ws_connect("/api/v1/pods?watch=1") as socket:
        await registry.events.put([event("ADDED", make_pod("a"))])
        assert json.loads(await socket.receive_str())["object"]["metadata"]["name"] == "a"
    await registry.watches_ended.wait()


async def test_watches_end_when_the_server_stops(registry):
    headers = {"Authorization": "Bearer good"}
    async with aiohttp.ClientSession(headers=headers) as session:
        async with served(registry) as running:
            response = await session.get(f"http://127.0.0.1:{await running.bound()}/api/v1/pods?watch=1")
        assert await response.read() == b""  # the last chunk came: it is an end, not a break


async def test_a_watch_of_one_object_may_have_the_old_path(rest, registry):
    await registry.events.put(None)
    async with rest.get("/api/v1/watch/namespaces/default/pods/a") as response:
        await response.read()
    assert registry.asked[0][0].name == "a"


def test_one_write_is_bounded():
    lines = [b"x" * 100_000] * 5
    assert [len(c) for c in watching.chunks(lines)] == [200_000, 200_000, 100_000]
    assert [*watching.chunks([b"x" * 1_000_000, b"y"])] == [b"x" * 1_000_000, b"y"]
    assert [*watching.chunks([])] == []


async def test_a_client_that_does_not_read_is_dropped(registry, monkeypatch):
    monkeypatch.setattr(watching, "SLOWEST", 0.05)
    async with served(registry) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", await running.bound(), limit=1024)
        writer.write(b"GET /api/v1/pods?watch=1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        big = [Event("ADDED", b'{"x":"' + b"x" * 200_000 + b'"}')] * 200
        await registry.events.put(big)
        await registry.watches_ended.wait()
        writer.close()
