"""Custom objects from document to storage."""

import json
from typing import Any

import pytest

from api import custom
from api.custom import CustomObject
from api.errors import BadRequest
from api.kinds import Kind
from apiserver.customs import objects
from tests.unit.apiserver.customs.definitions import definition, version

Tree = dict[str, Any]
ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
SCALE = {"specReplicasPath": ".spec.a.b", "statusReplicasPath": ".status.c", "labelSelectorPath": ".status.d"}
REPLICAS = {"type": "object", "properties": {"a": {"type": "object", "properties": {"b": {"type": "integer"}}}}}


def widget(schema: Tree | None = None) -> Kind:
    found = version(schema=None, subresources={"status": {}, "scale": SCALE})
    found["schema"] = {"openAPIV3Schema": schema or ANYTHING}
    return definition(found).kinds["v1"]


WIDGET = widget()


def tree(kind: Kind = WIDGET, **more: Any) -> Tree:
    head = {"name": "w", "namespace": "ns"} | more.pop("metadata", {})
    return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": head, **more}


def decoded(**more: Any) -> CustomObject:
    return objects.decode(WIDGET, json.dumps(tree(**more)).encode())[0]


def test_a_null_in_metadata_is_what_is_not_there() -> None:
    found = decoded(metadata={"creationTimestamp": None, "labels": {"a": None}, "annotations": None})
    head = found.metadata
    assert (head.name, head.creationTimestamp, head.labels, head.annotations) == ("w", "", {"a": ""}, {})


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ({"namespace": 3}, "json: cannot unmarshal number into Go struct field ObjectMeta.namespace of type string"),
        ({"labels": []}, "json: cannot unmarshal array into Go struct field ObjectMeta.labels of type map[string]string"),
        ("x", "json: cannot unmarshal string into Go value of type v1.ObjectMeta"),
    ],
)  # fmt: skip
def test_metadata_of_another_type_is_none(head: Any, said: str) -> None:
    document = json.dumps(tree() | {"metadata": head}).encode()
    with pytest.raises(BadRequest) as caught:
        objects.decode(WIDGET, document)
    assert caught.value.message == f'Widget in version "v1" cannot be handled as a Widget: {said}'


def test_nor_is_that_of_an_embedded_resource() -> None:
    embedded = ANYTHING | {"x-kubernetes-embedded-resource": True}
    kind = widget({"type": "object", "properties": {"spec": {"type": "object", "properties": {"pod": embedded}}}})
    document = json.dumps(tree(kind, spec={"pod": {"metadata": {"name": 1}}})).encode()
    with pytest.raises(BadRequest) as caught:
        objects.decode(kind, document)
    assert caught.value.message == (
        'Widget in version "v1" cannot be handled as a Widget: spec.pod.metadata: Invalid value: {"name":1}: '
        "json: cannot unmarshal number into Go struct field ObjectMeta.name of type string"
    )


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"spec": {"a": {"b": 2**31 - 1}}}, []),
        ({"spec": {"a": {"b": -1}}}, [".spec.a.b: Invalid value: -1: should be a non-negative integer"]),
        ({"spec": {"a": {"b": 2**31}}}, [".spec.a.b: Invalid value: 2147483648: should be less than or equal to 2147483647"]),
        ({"spec": {"a": {"b": "x"}}}, [".spec.a.b: Invalid value: 0: .spec.a.b accessor error: x is of the type string, expected int64"]),
        ({"spec": {"a": [1]}}, [".spec.a.b: Invalid value: 0: .spec.a.b accessor error: [1] is of the type []interface {}, expected map[string]interface{}"]),
        ({"spec": {"a": None}, "status": {}}, []),
        ({"status": {"c": 1.5, "d": {"k": True}}}, [".status.c: Invalid value: 0: .status.c accessor error: 1.5 is of the type float64, expected int64", '.status.d: Invalid value: "": .status.d accessor error: map[k:true] is of the type map[string]interface {}, expected string']),
    ],
)  # fmt: skip
def test_what_a_scale_is_made_of_has_its_types(parts: Tree, said: list[str]) -> None:
    assert [str(f) for f in objects.validate(WIDGET, custom.from_tree(tree(**parts)))] == said


def test_an_update_of_the_status_is_not_held_up_by_the_rest() -> None:
    status = {"type": "object", "properties": {"c": {"type": "integer", "maximum": 3}}}
    kind = widget({"type": "object", "properties": {"spec": ANYTHING, "status": status}, "required": ["spec", "more"]})
    old, new = (custom.from_tree(tree(kind, spec={"a": {"b": -1}}, status={"c": c})) for c in (1, 4))
    assert [str(f) for f in objects.validate_update(kind, new, old, "status")] == [
        "status.c: Invalid value: 4: status.c in body should be less than or equal to 3"
    ]
    assert len([*objects.validate_update(kind, new, old)]) == 3


@pytest.mark.parametrize(
    ("name", "how"), [("bare", "name to avoid"), ("with.dots", "name including a path (/) to avoid")]
)
def test_a_finalizer_that_others_may_use_too_is_warned_of(name: str, how: str) -> None:
    (said,) = objects.warnings(decoded(metadata={"finalizers": [name, "a.b/c", "orphan"]}), None)
    assert said == (
        f'metadata.finalizers: "{name}": prefer a domain-qualified finalizer {how} accidental conflicts with other '
        "finalizer writers"
    )
