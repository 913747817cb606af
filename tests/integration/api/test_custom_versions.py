"""Several versions of one kind: what is stored as which, and who converts."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from machinery.client import connect
from machinery.testing import ControlPlane
from proto import resources_pb2 as pb
from tests.integration.api.conftest import Send
from tests.integration.api.customs import Customs, define, definition, schema, version
from tests.integration.api.servers import https

pytestmark = pytest.mark.asyncio(loop_scope="session")

TEXT = {"type": "string"}
OLD = schema({"type": "object", "properties": {"address": TEXT}})
NEW = schema({"type": "object", "properties": {"host": TEXT, "port": TEXT, "zone": {**TEXT, "default": "a"}}})


def swap(crd: Any) -> None:
    for each in crd["spec"]["versions"]:
        each["storage"] = not each["storage"]


async def test_without_conversion_only_the_version_changes_and_unknown_fields_go(send: Send) -> None:
    both = schema({"type": "object", "properties": {"host": TEXT}})
    v1 = await define(send, definition(version("v1", both), version("v2", NEW, storage=False)))
    v2 = v1.at("v2")
    await v1.create("one", spec={"host": "x"})
    found = await v2.get("one")
    assert (found["apiVersion"], found["spec"]) == (v2.api_version, {"host": "x"})
    await v2.create("two", spec={"host": "y", "port": "1"})
    assert (await v1.get("two"))["spec"] == {"host": "y"}
    listed = (await send("GET", v2.path)).body
    assert {o["apiVersion"] for o in listed["items"]} == {v2.api_version} == {listed["apiVersion"]}


async def test_a_new_storage_version_is_noted_and_objects_are_stored_anew_when_written(send: Send) -> None:
    v1 = await define(send, definition(version("v1", NEW), version("v2", NEW, storage=False)))
    v2 = v1.at("v2")
    created = (await v1.create("one", spec={"host": "x"})).body
    await v1.redefine(swap)
    assert (await send("GET", v1.crd_path)).body["status"]["storedVersions"] == ["v1", "v2"]
    moved = (await send("PUT", f"{v1.path}/one", await v1.get("one"))).body
    assert moved["metadata"]["resourceVersion"] != created["metadata"]["resourceVersion"]
    again = (await send("PUT", f"{v1.path}/one", moved)).body
    assert again["metadata"]["resourceVersion"] == moved["metadata"]["resourceVersion"]
    assert (await v2.get("one"))["apiVersion"] == v2.api_version
    await v1.patch("one", {"spec": {"host": "y"}})

    def finish(crd: Any) -> None:
        crd["status"]["storedVersions"] = ["v2"]

    status = (await send("GET", v1.crd_path)).body
    finish(status)
    assert (await send("PUT", f"{v1.crd_path}/status", status)).code == 200
    await v1.redefine(lambda crd: crd["spec"]["versions"].pop(0))
    assert (await send("GET", v1.path)).code == 404
    assert (await v2.get("one"))["spec"]["host"] == "y"


async def test_a_version_that_is_not_served_is_not_there(send: Send) -> None:
    v1 = await define(send, definition(version("v1"), version("v2", storage=False, deprecated=True)))
    assert (await send("GET", v1.at("v2").path)).warnings == [
        f'299 - "{v1.crd["spec"]["group"]}/v2 Widget is deprecated"'
    ]
    await v1.redefine(lambda crd: crd["spec"]["versions"][1].update(served=False))
    assert (await send("GET", v1.at("v2").path)).code == 404


class Converter:
    """A conversion webhook between `address` and `host` and `port`."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.fails = ""

    async def serve(self, http: web.Request) -> web.StreamResponse:
        review = await http.json()
        self.asked.append(review)
        request = review["request"]
        result: Any = {"status": "Success"}
        objects = [self._turned(o, request["desiredAPIVersion"]) for o in request["objects"]]
        if self.fails:
            result, objects = {"status": "Failed", "message": self.fails}, []
        answer = {"uid": request["uid"], "result": result, "convertedObjects": objects}
        return web.json_response({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": answer})

    def _turned(self, obj: Any, wanted: str) -> Any:
        spec = obj.get("spec", {})
        if wanted.endswith("/v2"):
            host, _, port = spec.get("address", "").partition(":")
            turned = {"host": host, "port": port}
        else:
            turned = {"address": f"{spec['host']}:{spec['port']}"}
        return {**obj, "apiVersion": wanted, "spec": turned}


async def converted(send: Send, port: int, bundle: str) -> Customs:
    config = {"url": f"https://localhost:{port}/convert", "caBundle": bundle}
    webhook = {"clientConfig": config, "conversionReviewVersions": ["v1"]}
    chosen = {"selectableFields": [{"jsonPath": ".spec.host"}, {"jsonPath": ".spec.port"}]}
    crd = definition(
        version("v1", OLD, selectableFields=[{"jsonPath": ".spec.address"}]),
        version("v2", NEW, storage=False, **chosen),
        conversion={"strategy": "Webhook", "webhook": webhook},
    )
    return await define(send, crd)


async def test_a_webhook_converts_every_way(send: Send, tmp_path: Path) -> None:
    converter = Converter()
    async with https(tmp_path, converter.serve, "localhost") as server:
        v1 = await converted(send, server.port, server.ca_bundle)
        v2 = v1.at("v2")
        await v1.create("one", spec={"address": "h:1"})
        assert not converter.asked
        assert (await v2.get("one"))["spec"] == {"host": "h", "port": "1"}
        assert converter.asked[0]["request"]["desiredAPIVersion"] == v2.api_version
        two = (await v2.create("two", spec={"host": "k", "port": "2"})).body
        assert two["spec"] == {"host": "k", "port": "2", "zone": "a"}
        assert (await v1.get("two"))["spec"] == {"address": "k:2"}
        assert [o["spec"]["host"] for o in (await send("GET", v2.path)).body["items"]] == ["h", "k"]
        patched = await v2.patch("one", {"spec": {"port": "9"}})
        assert patched.body["spec"]["port"] == "9"
        assert (await v1.get("one"))["spec"] == {"address": "h:9"}
        known = len(converter.asked)
        await v2.get("one")
        await v2.get("one")
        assert len(converter.asked) <= known + 1
        converter.fails = "no way"
        answer = await v2.create("three", spec={"host": "k", "port": "2"})
        about = f"conversion webhook for {v2.api_version}, Kind=Widget failed: no way"
        assert (answer.code, answer.body["message"]) == (500, about)


async def test_watches_are_converted_too(send: Send, tmp_path: Path) -> None:
    async with https(tmp_path, Converter().serve, "localhost") as server:
        v1 = await converted(send, server.port, server.ca_bundle)
        v2 = v1.at("v2")
        await v1.create("one", spec={"address": "h:1"})
        watch = asyncio.create_task(send("GET", f"{v2.path}?watch=true&timeoutSeconds=1"))
        await asyncio.sleep(0.1)
        await v1.patch("one", {"spec": {"address": "h:2"}})
        events = [json.loads(line) for line in (await watch).body.splitlines()]
        assert [(e["type"], e["object"]["spec"]["port"]) for e in events] == [("ADDED", "1"), ("MODIFIED", "2")]


async def test_converted_objects_are_selected_by_the_fields_of_the_version_that_is_asked(
    send: Send, tmp_path: Path
) -> None:
    async with https(tmp_path, Converter().serve, "localhost") as server:
        v1 = await converted(send, server.port, server.ca_bundle)
        v2 = v1.at("v2")
        at = f"{v2.path}?fieldSelector=spec.host%3Dh"

        async def chosen(path: str) -> list[str]:
            return [o["metadata"]["name"] for o in (await send("GET", path)).body["items"]]

        revision = (await v2.create("one", spec={"host": "h", "port": "1"})).body["metadata"]["resourceVersion"]
        for name, host, port in (("two", "h", "2"), ("three", "k", "3")):
            await v2.create(name, spec={"host": host, "port": port})
        assert await chosen(at) == ["one", "two"]
        assert await chosen(f"{at}%2Cspec.port%3D2") == ["two"]
        assert await chosen(f"{v1.path}?fieldSelector=spec.address%3Dk%3A3") == ["three"]
        await v2.patch("three", {"spec": {"host": "h"}})
        last = (await v2.patch("one", {"spec": {"host": "k"}})).body["metadata"]["resourceVersion"]
        await send("DELETE", f"{at}%2Cspec.port%3D2")
        assert await chosen(at) == ["three"]
        body = (await send("GET", f"{at}&watch=true&timeoutSeconds=1&resourceVersion={revision}")).body
        events = [json.loads(line) for line in body.splitlines()]
        told = [(e["type"], e["object"]["metadata"]["name"], e["object"]["spec"]["host"]) for e in events]
        assert told == [
            ("ADDED", "two", "h"),
            ("ADDED", "three", "h"),
            ("DELETED", "one", "h"),
            ("DELETED", "two", "h"),
        ]
        assert events[2]["object"]["metadata"]["resourceVersion"] == last


async def test_the_grpc_door_serves_custom_kinds_as_well(send: Send, plane: ControlPlane) -> None:
    v1 = await define(send, definition())
    resource = pb.Resource(
        group=v1.crd["spec"]["group"], version="v1", plural="widgets", namespace="default", name="one"
    )
    async with connect(plane.access()) as client:
        call = client._pipeline.call
        body = json.dumps(v1.document("one", spec={"replicas": 2, "none": 1})).encode()
        made = await call(pb.Operation(create=pb.CreateRequest(resource=resource, object=body)))
        assert json.loads(made.object)["spec"] == {"replicas": 2}
        patch = pb.PatchRequest(resource=resource, patch=b'{"spec":{"replicas":3}}', type=pb.PatchRequest.MERGE)
        assert json.loads((await call(pb.Operation(patch=patch))).object)["spec"] == {"replicas": 3}
        resource.name = ""
        listed = (await call(pb.Operation(list=pb.ListRequest(resource=resource, metadata_only=True)))).list
        assert [json.loads(i)["metadata"]["name"] for i in listed.items] == ["one"]
