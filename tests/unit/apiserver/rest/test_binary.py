"""Protobuf at the door; tests/unit/apiserver/wire says what it looks like."""

import json

import pytest

from api.errors import Expired
from apiserver import wire
from apiserver.requests import Event
from tests.unit.apiserver.wire.samples import DEPLOYMENT

MEDIA = "application/vnd.kubernetes.protobuf"
PARTIAL = f"{MEDIA};as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
PODS = "/api/v1/namespaces/default/pods"


def decoded(body):
    return json.loads(wire.decode(body))


async def object_of(response, status=200):
    assert (response.status, response.headers["Content-Type"]) == (status, MEDIA)
    return decoded(await response.read())


async def test_what_kubectl_creates_reaches_the_registry_as_json(rest, registry):
    headers = {"Content-Type": MEDIA, "Accept": f"{MEDIA},application/json"}
    async with rest.post("/apis/apps/v1/namespaces/default/deployments", data=DEPLOYMENT, headers=headers) as response:
        assert (await object_of(response, 201))["metadata"]["name"] == "web9"
    assert json.loads(registry.asked[0][1])["spec"]["replicas"] == 3


async def test_a_body_that_cannot_be_read_is_a_bad_request(rest, registry):
    async with rest.post(PODS, data=b"k8s\0\x0a\x7f", headers={"Content-Type": MEDIA}) as response:
        said = await response.json()
    assert (response.status, said["reason"]) == (400, "BadRequest")
    assert said["message"] == "the object provided is unrecognized (must be of type Pod): unexpected EOF"
    assert registry.asked == []


async def test_delete_options_may_be_protobuf_or_nothing(rest, registry, make_pod):
    options = wire.encode(b'{"kind":"DeleteOptions","apiVersion":"apps/v1","propagationPolicy":"Foreground"}')
    for body, propagation in ((options, "Foreground"), (b"", "")):
        async with rest.delete(f"{PODS}/a", data=body, headers={"Content-Type": MEDIA}) as response:
            assert response.status in (200, 202)
        assert registry.asked[-1][1].propagation == propagation


@pytest.mark.parametrize("accept", [MEDIA, f"{MEDIA},application/json"])
async def test_objects_and_lists_come_as_protobuf(rest, registry, make_pod, accept):
    registry.add("pods", make_pod())
    async with rest.get(f"{PODS}/a", headers={"Accept": accept}) as response:
        assert await object_of(response) == make_pod()
    async with rest.get(PODS, headers={"Accept": accept}) as response:
        listed = await object_of(response)
    assert (listed["kind"], listed["metadata"]) == ("PodList", {"resourceVersion": "42"})
    assert [item["metadata"]["name"] for item in listed["items"]] == ["a"]


async def test_metadata_alone_comes_as_protobuf(rest, registry, make_pod):
    registry.add("pods", make_pod())
    async with rest.get(f"{PODS}/a", headers={"Accept": PARTIAL}) as response:
        found = await object_of(response)
    assert (found["kind"], found["metadata"]["name"], "spec" in found) == ("PartialObjectMetadata", "a", False)


async def test_refusals_come_as_protobuf_to_those_who_prefer_it(rest):
    async with rest.get(f"{PODS}/none", headers={"Accept": MEDIA}) as response:
        assert (await object_of(response, 404))["reason"] == "NotFound"


async def test_a_version_is_json_whatever_is_preferred(rest):
    async with rest.get("/version", headers={"Accept": f"{MEDIA},application/json"}) as response:
        assert (await response.json())["major"] == "1"


async def test_legacy_discovery_comes_as_protobuf(rest):
    async with rest.get("/api/v1", headers={"Accept": MEDIA}) as response:
        found = await object_of(response)
    assert {"pods", "pods/log"} <= {resource["name"] for resource in found["resources"]}


@pytest.mark.parametrize(("accept", "kind"), [(MEDIA, "Pod"), (PARTIAL, "PartialObjectMetadata")])
async def test_a_watch_sends_frames_also_for_what_goes_wrong(rest, registry, make_pod, monkeypatch, accept, kind):
    async def broken():
        yield [Event("ADDED", json.dumps(make_pod()).encode())]
        raise Expired("too old resource version: 1 (2)")

    async def watch(request, options):
        return broken()

    monkeypatch.setattr(registry, "watch", watch)
    async with rest.get("/api/v1/pods?watch=1", headers={"Accept": accept}) as response:
        assert response.headers["Content-Type"] == f"{MEDIA};stream=watch"
        body = await response.read()
    frames = []
    while body:
        size = 4 + int.from_bytes(body[:4], "big")
        frames.append(body[4:size])
        body = body[size:]
    assert [(frame[2:7], decoded(frame[frame.index(wire.envelopes.MAGIC) :])["kind"]) for frame in frames] == [
        (b"ADDED", kind), (b"ERROR", "Status"),
    ]  # fmt: skip
