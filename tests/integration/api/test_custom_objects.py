"""Objects of custom kinds: what is kept of them, what is refused, and in which words."""

from typing import Any

import pytest
import pytest_asyncio

from tests.integration.api.conftest import Send
from tests.integration.api.customs import APPLY, MERGE, Customs, define, definition, schema, version

pytestmark = pytest.mark.asyncio(loop_scope="session")

INTEGER: dict[str, Any] = {"type": "integer"}
TEXT: dict[str, Any] = {"type": "string"}
PORT = {"type": "object", "required": ["port"], "properties": {"port": INTEGER, "name": TEXT}}
SPEC: dict[str, Any] = {
    "type": "object",
    "properties": {
        "replicas": {"type": "integer", "minimum": 1, "maximum": 10, "default": 1},
        "most": {**INTEGER, "default": 10},
        "color": {**TEXT, "enum": ["red", "green"]},
        "code": {**TEXT, "pattern": "^[a-z]+$", "maxLength": 5, "minLength": 2},
        "when": {**TEXT, "format": "date-time"},
        "share": {"type": "number", "multipleOf": 0.5},
        "fixed": {**TEXT, "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "may not change"}]},
        "ports": {
            "type": "array", "maxItems": 3, "items": PORT, "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["port"],
        },
        "tags": {"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"a": INTEGER}},
        "size": {"x-kubernetes-int-or-string": True},
        "maybe": {**TEXT, "nullable": True},
        "never": {**TEXT, "default": "said"},
        "labels": {"type": "object", "additionalProperties": TEXT},
        "embedded": {
            "type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True,
        },
        "either": {"type": "object", "properties": {"x": INTEGER, "y": INTEGER}, "oneOf": [{"required": ["x"]}, {"required": ["y"]}]},
    },
    "x-kubernetes-validations": [
        {"rule": "self.replicas <= self.most", "messageExpression": "'at most ' + string(self.most)", "fieldPath": ".replicas"},
    ],
}  # fmt: skip
SCALE = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".status.selector",
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def widgets(send: Send) -> Customs:
    return await define(send, definition(version(tree=schema(SPEC), subresources={"status": {}, "scale": SCALE})))


async def test_defaults_are_filled_in_and_unknown_fields_dropped(widgets: Customs) -> None:
    answer = await widgets.create("plain", spec={"none": 1, "never": None, "maybe": None, "color": None, "share": 1.0})
    assert answer.code == 201
    assert answer.body["spec"] == {"never": "said", "maybe": None, "share": 1, "replicas": 1, "most": 10}
    assert answer.warnings == ['299 - "unknown field \\"spec.none\\""']
    assert answer.body["metadata"]["generation"] == 1


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"replicas": 0}, "spec.replicas: Invalid value: 0: spec.replicas in body should be greater than or equal to 1"),
        ({"replicas": "1"}, 'spec.replicas: Invalid value: "string": spec.replicas in body must be of type integer: "string"'),
        ({"replicas": 1.5}, 'spec.replicas: Invalid value: "number": spec.replicas in body must be of type integer: "number"'),
        ({"color": "blue"}, 'spec.color: Unsupported value: "blue": supported values: "red", "green"'),
        ({"code": "A"}, 'spec.code: Invalid value: "A": spec.code in body should be at least 2 chars long'),
        ({"code": "A1"}, "spec.code: Invalid value: \"A1\": spec.code in body should match '^[a-z]+$'"),
        ({"code": "abcdef"}, "spec.code: Too long: may not be more than 5 bytes"),
        ({"when": "now"}, 'spec.when: Invalid value: "now": spec.when in body must be of type date-time: "now"'),
        ({"share": 0.3}, "spec.share: Invalid value: 0.3: spec.share in body should be a multiple of 0.5"),
        ({"ports": [{"name": "x"}]}, "spec.ports[0].port: Required value"),
        ({"ports": [{"port": n} for n in range(4)]}, "spec.ports: Too many: 4: must have at most 3 items"),
        ({"ports": [{"port": 1}, {"port": 1}]}, 'spec.ports[1]: Duplicate value: {"port":1}'),
        ({"tags": ["a", "b", "a"]}, 'spec.tags[2]: Duplicate value: "a"'),
        ({"size": True}, 'spec.size in body must be of type integer,string: "boolean"'),
        ({"labels": {"a": 1}}, 'spec.labels.a: Invalid value: "integer": spec.labels.a in body must be of type string: "integer"'),
        ({"embedded": {"kind": "Pod"}}, "spec.embedded.apiVersion: Required value"),
        ({"either": {}}, '<nil>: Invalid value: "": "spec.either" must validate one and only one schema (oneOf). Found none valid'),
        ({"either": {"x": 1, "y": 2}}, '"spec.either" must validate one and only one schema (oneOf). Found 2 valid alternatives'),
        ({"replicas": 5, "most": 4}, 'spec.replicas: Invalid value: "object": at most 4'),
        ({"free": {"a": "x"}}, 'spec.free.a: Invalid value: "string"'),
    ],
)  # fmt: skip
async def test_what_does_not_fit_the_schema_is_refused(widgets: Customs, spec: dict[str, Any], message: str) -> None:
    answer = await widgets.create("bad", spec=spec)
    assert (answer.code, answer.body["reason"]) == (422, "Invalid")
    assert message in answer.body["message"]
    assert answer.body["message"].startswith(f'Widget.{widgets.crd["spec"]["group"]} "bad" is invalid: ')


async def test_finalizers_may_have_any_name_and_their_writer_is_warned(send: Send, widgets: Customs) -> None:
    made = await widgets.create("bare", metadata={"finalizers": ["bare", "example.com/full", "orphan"]})
    assert made.code == 201
    (warning,) = made.warnings
    assert 'metadata.finalizers: \\"bare\\": prefer a domain-qualified finalizer name to avoid' in warning
    changed = await widgets.patch("bare", {"metadata": {"labels": {"a": "b"}}})
    assert (changed.code, changed.warnings) == (200, [])
    assert (await send("PATCH", widgets.crd_path, {"metadata": {"finalizers": ["bare"]}}, MERGE)).code == 200
    for path in (f"{widgets.path}/bare", widgets.crd_path):
        await send("PATCH", path, {"metadata": {"finalizers": None}}, MERGE)


async def test_rules_are_not_asked_of_what_is_invalid_anyway(widgets: Customs) -> None:
    answer = await widgets.create("bad", spec={"replicas": "x"})
    assert "<nil>: Invalid value: null: some validation rules were not checked" in answer.body["message"]


@pytest.mark.parametrize(("validation", "code", "warned"), [("Strict", 400, 0), ("Warn", 201, 2), ("Ignore", 201, 0)])
async def test_unknown_and_duplicate_fields(
    send: Send, widgets: Customs, validation: str, code: int, warned: int
) -> None:
    body = (
        f'{{"apiVersion":"{widgets.api_version}","kind":"Widget","metadata":{{"name":"strict-{validation.lower()}"}},'
        '"spec":{"replicas":1,"replicas":2,"unknown":1}}'
    ).encode()
    answer = await send("POST", f"{widgets.path}?fieldValidation={validation}", body)
    assert (answer.code, len(answer.warnings)) == (code, warned)
    if code == 400:
        assert answer.body["message"].endswith(
            'strict decoding error: duplicate field "spec.replicas", unknown field "spec.unknown"'
        )


async def test_free_forms_keep_what_they_are_given(widgets: Customs) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "none": 1}, "spec": {"y": 1}}
    spec = {"free": {"a": 1, "b": {"c": [1]}}, "size": "10%", "labels": {"k": "v"}, "embedded": pod}
    answer = await widgets.create("free", spec=spec)
    pod["metadata"] = {"name": "x"}
    assert {k: answer.body["spec"][k] for k in spec} == spec


async def test_rules_that_compare_with_before(widgets: Customs) -> None:
    assert (await widgets.create("fixed", spec={"fixed": "a"})).code == 201
    answer = await widgets.patch("fixed", {"spec": {"fixed": "b"}})
    assert 'spec.fixed: Invalid value: "string": may not change' in answer.body["message"]
    assert (await widgets.patch("fixed", {"spec": {"replicas": 2}})).code == 200


async def test_what_a_stricter_schema_finds_may_stay_as_long_as_it_is_not_touched(send: Send) -> None:
    item = {"type": "object", "required": ["key"], "properties": {"key": TEXT, "field": TEXT}}
    keyed = {"type": "array", "items": item, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["key"]}
    lists = {"keyed": keyed, "plain": {"type": "array", "items": TEXT}}
    shape = {"type": "object", "properties": {"field": TEXT, "ruled": TEXT, **lists}}
    customs = await define(send, definition(version(tree=schema(shape))))
    spec = {"field": "a", "ruled": "a", "keyed": [{"key": "one", "field": "a"}], "plain": ["a"]}
    await customs.create("old", spec=spec)

    def tighten(crd: Any) -> None:
        fields = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
        for place in (fields["field"], fields["plain"]["items"], fields["keyed"]["items"]["properties"]["field"]):
            place["enum"] = ["b"]
        fields["ruled"]["x-kubernetes-validations"] = [{"rule": "self == 'b'"}]

    await customs.redefine(tighten)
    assert (await customs.patch("old", {"metadata": {"labels": {"a": "b"}}})).code == 200
    more = [{"key": "one", "field": "a"}, {"key": "two", "field": "b"}]
    assert (await customs.patch("old", {"spec": {"keyed": more}})).code == 200
    changed = {"field": "c", "keyed": [{"key": "one", "field": "c"}], "plain": ["a", "b"]}
    refused = (await customs.patch("old", {"spec": changed})).body["message"]
    places = ("spec.field", "spec.keyed[0].field", "spec.plain[0]")
    assert [place for place in places if f"{place}: Unsupported value" in refused] == [*places]
    assert "failed rule: self == 'b'" in (await customs.patch("old", {"spec": {"ruled": "c"}})).body["message"]


async def test_generation_counts_changes_of_the_spec_and_status_has_its_own_door(widgets: Customs) -> None:
    created = await widgets.create("gen", spec={}, status={"replicas": 9})
    assert "status" not in created.body
    same = await widgets.patch("gen", {"metadata": {"labels": {"a": "b"}}, "status": {"replicas": 9}})
    assert (same.body["metadata"]["generation"], "status" in same.body) == (1, False)
    changed = await widgets.patch("gen", {"spec": {"replicas": 2}})
    assert changed.body["metadata"]["generation"] == 2
    patch = {"status": {"replicas": 2, "selector": "a=b"}, "spec": {"replicas": 7}, "metadata": {"labels": {"x": "y"}}}
    answer = await widgets.send("PATCH", f"{widgets.path}/gen/status", patch, "application/merge-patch+json")
    assert answer.body["status"] == {"replicas": 2, "selector": "a=b"}
    assert (answer.body["spec"]["replicas"], answer.body["metadata"]["labels"]) == (2, {"a": "b"})
    assert answer.body["metadata"]["generation"] == 2
    again = await widgets.patch("gen", {"metadata": {"labels": {"a": "b"}}})
    assert again.body["metadata"]["resourceVersion"] == answer.body["metadata"]["resourceVersion"]


async def test_scale_reads_and_writes_where_the_definition_says(send: Send, widgets: Customs) -> None:
    await widgets.create("scaled", spec={"replicas": 3})
    where = f"{widgets.path}/scaled/scale"
    await send(
        "PATCH",
        f"{widgets.path}/scaled/status",
        {"status": {"replicas": 2, "selector": "a=b"}},
        "application/merge-patch+json",
    )
    scale = (await send("GET", where)).body
    assert (scale["kind"], scale["spec"], scale["status"]) == (
        "Scale",
        {"replicas": 3},
        {"replicas": 2, "selector": "a=b"},
    )
    scale["spec"]["replicas"] = 5
    assert (await send("PUT", where, scale)).body["spec"] == {"replicas": 5}
    found = await widgets.get("scaled")
    assert (found["spec"]["replicas"], found["metadata"]["generation"]) == (5, 2)
    answer = await send("PATCH", where, {"spec": {"replicas": 99}}, "application/merge-patch+json")
    assert answer.code == 422


async def test_patches(widgets: Customs) -> None:
    await widgets.create("patched", spec={"tags": ["a"]})
    json_patch = [{"op": "add", "path": "/spec/tags/-", "value": "b"}]
    assert (await widgets.patch("patched", json_patch, "application/json-patch+json")).body["spec"]["tags"] == [
        "a",
        "b",
    ]
    refused = await widgets.patch("patched", {}, "application/strategic-merge-patch+json")
    assert (refused.code, refused.body["message"]) == (
        415,
        "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, "
        "application/merge-patch+json, application/apply-patch+yaml",
    )


async def test_server_side_apply_owns_by_the_schema(widgets: Customs) -> None:
    mine = widgets.document("applied", spec={"ports": [{"port": 80, "name": "web"}], "tags": ["a"], "replicas": 2})
    first = await widgets.patch("applied", mine, APPLY, "?fieldManager=one")
    assert first.code == 201
    (entry,) = first.body["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"], entry["apiVersion"]) == ("one", "Apply", widgets.api_version)
    assert entry["fieldsV1"]["f:spec"] == {
        "f:ports": {'k:{"port":80}': {".": {}, "f:name": {}, "f:port": {}}}, "f:tags": {'v:"a"': {}}, "f:replicas": {},
    }  # fmt: skip
    other = widgets.document("applied", spec={"ports": [{"port": 443}], "tags": ["b"]})
    both = await widgets.patch("applied", other, APPLY, "?fieldManager=two")
    assert [p["port"] for p in both.body["spec"]["ports"]] == [80, 443]
    assert both.body["spec"]["tags"] == ["a", "b"]
    other["spec"]["replicas"] = 3
    refused = await widgets.patch("applied", other, APPLY, "?fieldManager=two")
    assert (refused.code, refused.body["message"]) == (
        409,
        'Apply failed with 1 conflict: conflict with "one": .spec.replicas',
    )
    assert (await widgets.patch("applied", other, APPLY, "?fieldManager=two&force=true")).body["spec"]["replicas"] == 3
    unknown = widgets.document("applied", spec={"none": 1})
    refused = await widgets.patch("applied", unknown, APPLY, "?fieldManager=two")
    assert ".spec.none: field not declared in schema" in refused.body["message"]


async def test_dry_runs_keep_nothing(widgets: Customs) -> None:
    assert (await widgets.create("dry", "?dryRun=All", spec={})).body["spec"]["replicas"] == 1
    assert (await widgets.send("GET", f"{widgets.path}/dry")).code == 404


async def test_names_versions_and_kinds_must_fit(widgets: Customs) -> None:
    assert (
        'metadata.name: Invalid value: "A": a lowercase RFC 1123 subdomain'
        in (await widgets.create("A")).body["message"]
    )
    wrong = widgets.document("x") | {"kind": "Gadget"}
    answer = await widgets.send("POST", widgets.path, wrong)
    assert (answer.code, 'kind: Invalid value: "Gadget": must be Widget' in answer.body["message"]) == (422, True)
    wrong = widgets.document("x") | {"apiVersion": "example.com/v9"}
    answer = await widgets.send("POST", widgets.path, wrong)
    assert answer.body["message"] == (
        f"the API version in the data (example.com/v9) does not match the expected API version ({widgets.api_version})"
    )
    nameless = {k: v for k, v in widgets.document("x").items() if k != "kind"}
    assert "Object 'Kind' is missing" in (await widgets.send("POST", widgets.path, nameless)).body["message"]


async def test_a_kind_without_a_schema_at_the_root_keeps_everything(send: Send) -> None:
    open_ = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    found = await define(send, definition(version(tree=open_), scope="Cluster"))
    content = {"spec": {"a": [1, {"b": None}]}, "data": "x", "status": {"y": 1.5}}
    answer = await found.create("any", **content)
    assert {k: answer.body[k] for k in content} == content
    assert answer.body["metadata"].get("namespace") is None
    changed = await found.patch("any", {"status": {"y": 2}})
    assert (changed.body["status"]["y"], changed.body["metadata"]["generation"]) == (2, 2)
    applied = await found.patch("any", found.document("any", other={"z": 1}), APPLY, "?fieldManager=me")
    assert applied.body["other"] == {"z": 1}


async def test_defaults_added_later_are_seen_in_what_was_stored_before(send: Send) -> None:
    found = await define(send, definition())
    await found.create("old", spec={"image": "x"})

    def add(crd: Any) -> None:
        spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        spec["properties"] |= {"added": {"type": "string", "default": "later"}}
        del spec["properties"]["image"]

    await found.redefine(add)
    assert (await found.get("old"))["spec"] == {"added": "later"}
    listed = (await send("GET", found.path)).body
    assert listed["kind"] == "WidgetList"
    assert [o["spec"] for o in listed["items"]] == [{"added": "later"}]


async def test_keys_that_a_configuration_has_twice(widgets: Customs) -> None:
    text = f"\napiVersion: {widgets.api_version}\nkind: Widget\nmetadata:\n  name: twice\nspec:\n  color: red\n  color: green\n"
    where = f"{widgets.path}/twice?fieldManager=me&fieldValidation="
    answer = await widgets.send("PATCH", where + "Strict", text.encode(), APPLY)
    assert (answer.code, 'line 8: key "color" already set in map' in answer.body["message"]) == (400, True)
    assert (await widgets.send("PATCH", where + "Warn", text.encode(), APPLY)).code == 201


async def test_unknown_metadata_is_named_in_the_object_and_in_embedded_ones(widgets: Customs) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"none": 1}}
    unknown = {"metadata": {"strange": 1}, "spec": {"embedded": pod}}
    answer = await widgets.create("meta", "?fieldValidation=Strict", **unknown)
    assert answer.body["message"].endswith(
        'strict decoding error: unknown field "metadata.strange", unknown field "spec.embedded.metadata.none"'
    )
    document = widgets.document("meta", **unknown)
    answer = await widgets.patch("meta", document, APPLY, "?fieldManager=me&fieldValidation=Strict")
    assert ".metadata.strange: field not declared in schema" in answer.body["message"]


async def test_an_update_says_which_revision_it_replaces(send: Send, widgets: Customs) -> None:
    made = (await widgets.create("versioned", spec={"replicas": 1})).body
    where, wanted = f"{widgets.path}/versioned", widgets.document("versioned", spec={"replicas": 2})
    for metadata in ({}, {"resourceVersion": "0"}):
        refused = await send("PUT", where, wanted | {"metadata": wanted["metadata"] | metadata})
        assert refused.code == 422
        assert "metadata.resourceVersion: Invalid value: 0: must be specified for an update" in refused.body["message"]
    named = wanted["metadata"] | {"resourceVersion": made["metadata"]["resourceVersion"]}
    assert (await send("PUT", where, wanted | {"metadata": named})).code == 200
    scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": wanted["metadata"], "spec": {"replicas": 3}}
    assert (await send("PUT", f"{where}/scale", scale)).body["spec"] == {"replicas": 3}
