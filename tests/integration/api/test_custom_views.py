"""How custom kinds look from outside: discovery, OpenAPI, tables, selectors, watches."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yaml

from machinery.testing import ControlPlane
from tests.integration.api.conftest import Send
from tests.integration.api.customs import Customs, define, definition, schema, version

pytestmark = pytest.mark.asyncio(loop_scope="session")

SPEC: dict[str, Any] = {
    "type": "object",
    "description": "What is wanted.",
    "required": ["color"],
    "properties": {
        "color": {"type": "string", "description": "How it looks."},
        "size": {"type": "integer"},
        "on": {"type": "boolean"},
        "replicas": {"type": "integer"},
        "any": {"x-kubernetes-preserve-unknown-fields": True},
    },
}
COLUMNS = [
    {"name": "Color", "type": "string", "jsonPath": ".spec.color"},
    {"name": "Size", "type": "integer", "jsonPath": ".spec.size", "priority": 1},
    {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
]
TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
FIELDS = [{"jsonPath": ".spec.color"}, {"jsonPath": ".spec.size"}, {"jsonPath": ".spec.on"}]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def widgets(send: Send) -> Customs:
    tree = schema(SPEC, description="A widget.")
    tree["properties"]["status"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    scale = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    crd = definition(
        version("v1beta1", tree, storage=False, additionalPrinterColumns=COLUMNS),
        version("v1", tree, additionalPrinterColumns=COLUMNS, selectableFields=FIELDS, subresources={"scale": scale}),
        names={"shortNames": ["wg"], "categories": ["all"], "plural": "gizmos", "singular": "gizmo", "kind": "Gizmo"},
    )
    found = await define(send, crd, "v1")
    await found.create(
        "red",
        spec={"color": "red", "size": 3, "on": True},
        status={"conditions": [{"type": "Ready", "status": "True"}]},
    )
    await found.create("blue", spec={"color": "blue", "size": 4})
    return found


async def test_discovery_in_both_forms(send: Send, widgets: Customs) -> None:
    group = widgets.crd["spec"]["group"]
    found = (await send("GET", f"/apis/{group}")).body
    assert [v["version"] for v in found["versions"]] == ["v1", "v1beta1"]
    assert found["preferredVersion"]["version"] == "v1"
    resources = {r["name"]: r for r in (await send("GET", f"/apis/{group}/v1")).body["resources"]}
    assert set(resources) == {"gizmos", "gizmos/scale"}
    gizmos = resources["gizmos"]
    assert (gizmos["singularName"], gizmos["shortNames"], gizmos["categories"]) == ("gizmo", ["wg"], ["all"])
    old = (await send("GET", f"/apis/{group}/v1beta1")).body["resources"]
    assert [r["storageVersionHash"] for r in old] == [gizmos["storageVersionHash"]]
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    aggregated = (await send("GET", "/apis", Accept=accept)).body["items"]
    mine = next(item for item in aggregated if item["metadata"]["name"] == group)
    (resource,) = mine["versions"][0]["resources"]
    assert (resource["resource"], resource["scope"]) == ("gizmos", "Namespaced")
    assert [s["subresource"] for s in resource["subresources"]] == ["scale"]


async def test_openapi_has_the_schema_and_another_hash_after_a_change(send: Send, widgets: Customs) -> None:
    group = widgets.crd["spec"]["group"]
    name = ".".join([*reversed(group.split(".")), "v1", "Gizmo"])
    place = f"apis/{group}/v1"
    before = (await send("GET", "/openapi/v3")).body["paths"][place]["serverRelativeURL"]
    third = (await send("GET", before)).body
    published = third["components"]["schemas"][name]
    assert published["x-kubernetes-group-version-kind"] == [{"group": group, "version": "v1", "kind": "Gizmo"}]
    assert published["properties"]["spec"] == SPEC
    assert published["properties"]["metadata"]["allOf"][0]["$ref"].endswith(".ObjectMeta")
    assert f"{name}List" in third["components"]["schemas"]
    second = (await send("GET", "/openapi/v2")).body["definitions"][name]
    assert second["properties"]["spec"]["properties"]["any"] == {"x-kubernetes-preserve-unknown-fields": True}
    assert second["properties"]["apiVersion"]["type"] == "string"

    def describe(crd: Any) -> None:
        crd["spec"]["versions"][1]["schema"]["openAPIV3Schema"]["description"] = "Another widget."

    await widgets.redefine(describe)
    after = (await send("GET", "/openapi/v3")).body["paths"][place]["serverRelativeURL"]
    assert before != after
    assert (await send("GET", after)).body["components"]["schemas"][name]["description"] == "Another widget."


async def test_tables_have_the_definitions_columns(send: Send, widgets: Customs) -> None:
    table = (await send("GET", widgets.path, **TABLE)).body
    assert [(c["name"], c["type"], c["priority"]) for c in table["columnDefinitions"]] == [
        ("Name", "string", 0), ("Color", "string", 0), ("Size", "integer", 1), ("Ready", "string", 0), ("Age", "date", 0),
    ]  # fmt: skip
    rows = {row["cells"][0]: row["cells"][1:4] for row in table["rows"]}
    assert rows == {"red": ["red", 3, "True"], "blue": ["blue", 4, None]}
    one = (await send("GET", f"{widgets.path}/red", **TABLE)).body
    assert one["rows"][0]["cells"][:2] == ["red", "red"]


async def test_without_columns_there_are_name_and_age(send: Send) -> None:
    plain = await define(send, definition())
    await plain.create("one")
    table = (await send("GET", plain.path, **TABLE)).body
    assert [c["name"] for c in table["columnDefinitions"]] == ["Name", "Age"]
    assert table["rows"][0]["cells"][0] == "one"


async def test_metadata_alone(send: Send, widgets: Customs) -> None:
    accept = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
    found = (await send("GET", widgets.path, Accept=accept)).body
    assert found["kind"] == "PartialObjectMetadataList"
    assert {tuple(item) for item in found["items"]} == {("kind", "apiVersion", "metadata")}


@pytest.mark.parametrize("of", ["", "/red", "?watch=true&timeoutSeconds=1"])
async def test_custom_objects_are_json_also_for_those_who_prefer_protobuf(
    session: aiohttp.ClientSession, widgets: Customs, of: str
) -> None:
    protobuf = "application/vnd.kubernetes.protobuf"
    async with session.get(widgets.path + of, headers={"Accept": f"{protobuf},application/json"}) as answer:
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    async with session.get(widgets.path + of, headers={"Accept": protobuf}) as answer:
        assert answer.status == 406


@pytest.mark.parametrize(
    ("selector", "names"),
    [("spec.color=red", ["red"]), ("spec.size=4", ["blue"]), ("spec.on=true", ["red"]), ("spec.color!=red", ["blue"]),
     ("metadata.name=red,spec.color=blue", [])],
)  # fmt: skip
async def test_selectable_fields(send: Send, widgets: Customs, selector: str, names: list[str]) -> None:
    found = (await send("GET", f"{widgets.path}?fieldSelector={selector}")).body["items"]
    assert [o["metadata"]["name"] for o in found] == names


async def test_other_fields_cannot_be_selected_by(send: Send, widgets: Customs) -> None:
    answer = await send("GET", f"{widgets.path}?fieldSelector=spec.replicas=1")
    assert (answer.code, answer.body["message"]) == (400, "field label not supported: spec.replicas")
    assert (await send("GET", f"{widgets.at('v1beta1').path}?fieldSelector=spec.color=red")).code == 400


async def test_what_stops_or_starts_matching_is_deleted_or_added_to_a_watch(send: Send, widgets: Customs) -> None:
    revision = (await send("GET", widgets.path)).body["metadata"]["resourceVersion"]
    query = f"watch=true&timeoutSeconds=1&fieldSelector=spec.color=green&resourceVersion={revision}"
    watch = asyncio.create_task(send("GET", f"{widgets.path}?{query}"))
    await widgets.create("green", spec={"color": "green"})
    await widgets.patch("green", {"spec": {"size": 1}})
    await widgets.patch("green", {"spec": {"color": "grey"}})
    await widgets.patch("green", {"spec": {"color": "green"}})
    await send("DELETE", f"{widgets.path}/green")
    events = [json.loads(line) for line in (await watch).body.splitlines()]
    assert [e["type"] for e in events] == ["ADDED", "MODIFIED", "DELETED", "ADDED", "DELETED"]


async def test_collections_are_deleted_by_selector(send: Send, widgets: Customs) -> None:
    for name in ("c1", "c2"):
        await widgets.create(name, spec={"color": "cyan"})
    answer = await send("DELETE", f"{widgets.path}?fieldSelector=spec.color=cyan")
    assert answer.code == 200
    assert {o["metadata"]["name"] for o in (await send("GET", widgets.path)).body["items"]} == {"red", "blue"}


async def test_the_real_kubectl(plane: ControlPlane, send: Send, tmp_path: Path) -> None:
    config = plane.kubeconfig(tmp_path / "kubeconfig")

    async def kubectl(*words: str, stdin: Any = None) -> str:
        command = [
            str(Path(sys.executable).parent / "kubectl"),
            "--kubeconfig",
            str(config),
            "--cache-dir",
            str(tmp_path),
            *words,
        ]
        given = yaml.safe_dump(stdin) if stdin is not None else None
        ran = await asyncio.to_thread(subprocess.run, command, input=given, capture_output=True, text=True, check=False)
        return ran.stdout + ran.stderr

    crd = definition(
        version(tree=schema(SPEC), additionalPrinterColumns=COLUMNS, subresources={"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}}),
        names={"plural": "contraptions", "singular": "contraption", "kind": "Contraption", "shortNames": ["ctr"], "categories": ["all"]},
    )  # fmt: skip
    group = crd["spec"]["group"]
    assert "created" in await kubectl("apply", "-f", "-", stdin=crd)
    name = f"crd/contraptions.{group}"
    assert "condition met" in await kubectl("wait", "--for=condition=Established", name, "--timeout=30s")
    one = {
        "apiVersion": f"{group}/v1",
        "kind": "Contraption",
        "metadata": {"name": "one"},
        "spec": {"color": "red", "replicas": 1},
    }
    assert await kubectl("apply", "-f", "-", stdin=one) == f"contraption.{group}/one created\n"
    assert "How it looks." in await kubectl("explain", "ctr.spec.color")
    lines = (await kubectl("get", "ctr")).splitlines()
    assert lines[0].split() == ["NAME", "COLOR", "READY", "AGE"]
    assert lines[1].split()[:2] == ["one", "red"]
    assert f"contraption.{group}/one" in await kubectl("get", "all")
    assert "scaled" in await kubectl("scale", "ctr/one", "--replicas=4")
    assert await kubectl("get", "ctr", "one", "-o", "jsonpath={.spec.replicas}") == "4"
    assert "patched" in await kubectl("patch", "ctr", "one", "--type=merge", "-p", '{"spec":{"size":2}}')
    one["spec"] = {"color": "blue"}
    assert "serverside-applied" in await kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=one)
    one["spec"] = {"color": "blue", "wrong": 1}
    assert 'strict decoding error: unknown field "spec.wrong"' in await kubectl("apply", "-f", "-", stdin=one)
    assert "deleted" in await kubectl("delete", "ctr", "--all")
    assert "deleted" in await kubectl("delete", name)
    assert "NotFound" in await kubectl("get", "ctr")
