"""Pruning, defaults and validation by a structural schema."""

import copy
from typing import Any

import pytest

from apiserver.customs import defaulting, formats, lists, metadata, pruning, values
from apiserver.customs.schemas import Schema

Tree = dict[str, Any]
TEXT, NUMBER = {"type": "string"}, {"type": "integer"}


def schema(**properties: Tree) -> Schema:
    return Schema({"type": "object", "properties": properties})


def pruned(tree: Tree, by: Schema) -> tuple[Tree, list[str]]:
    mine = copy.deepcopy(tree)
    return mine, pruning.prune(mine, by)


def test_unknown_fields_go_at_every_depth_and_identity_stays() -> None:
    by = schema(
        spec={
            "type": "object",
            "properties": {"a": TEXT, "l": {"type": "array", "items": {"type": "object", "properties": {"x": TEXT}}}},
        }
    )
    tree = {"kind": "K", "metadata": {"name": "n"}, "z": 1, "spec": {"a": 1, "b": 2, "l": [{"x": 1, "y": 2}]}}
    assert pruned(tree, by) == (
        {"kind": "K", "metadata": {"name": "n"}, "spec": {"a": 1, "l": [{"x": 1}]}},
        ["z", "spec.b", "spec.l[0].y"],
    )


def test_what_preserves_unknown_fields_still_prunes_below_known_ones() -> None:
    by = schema(
        spec={"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"a": {"type": "object"}}}
    )
    assert pruned({"spec": {"a": {"b": 1}, "c": {"d": 1}}}, by)[0] == {"spec": {"a": {}, "c": {"d": 1}}}


def test_maps_with_any_key_are_kept_and_pruned_by_their_values() -> None:
    by = schema(m={"type": "object", "additionalProperties": {"type": "object", "properties": {"a": TEXT}}})
    assert pruned({"m": {"k": {"a": 1, "b": 2}}}, by) == ({"m": {"k": {"a": 1}}}, ["m.k.b"])


def test_embedded_resources_keep_their_identity_and_lose_unknown_metadata() -> None:
    by = schema(
        pod={"type": "object", "x-kubernetes-embedded-resource": True, "properties": {"spec": {"type": "object"}}}
    )
    tree: Tree = {"pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "none": 1}, "spec": {}, "z": 1}}
    found, dropped = pruned(tree, by)
    metadata.coerce(found, by, dropped=dropped)
    assert found == {"pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {}}}
    assert dropped == ["pod.z", "pod.metadata.none"]


EMBEDDED = {"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({}, ["pod.apiVersion: Required value", "pod.kind: Required value"]),
        ({"apiVersion": "", "kind": 1}, ["pod.apiVersion: Required value", "pod.kind: Invalid value: 1: must be a string"]),
        ({"apiVersion": "a/b/c", "kind": "K"}, ['pod.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c']),
        ({"apiVersion": "v1", "kind": "A.b"}, ["pod.kind: Invalid value: \"A.b\": may have mixed case, but should otherwise match: a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"]),
        ({"apiVersion": "v1", "kind": "K", "metadata": {"name": "A_b", "creationTimestamp": None}}, []),
        ({"apiVersion": "v1", "kind": "K", "metadata": {"name": "..", "namespace": "a.b", "labels": {"/": ""}}}, ["pod.metadata.name: Invalid value: \"..\": may not be '..'", 'pod.metadata.namespace: Invalid value: "a.b": must not contain dots', 'pod.metadata.labels: Invalid value: "/": prefix part must be non-empty', 'pod.metadata.labels: Invalid value: "/": name part must be non-empty', "pod.metadata.labels: Invalid value: \"/\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"]),
        ({"apiVersion": "v1", "kind": "K", "metadata": {"namespace": 3}}, ['pod.metadata: Invalid value: {"namespace":3}: json: cannot unmarshal number into Go struct field ObjectMeta.namespace of type string']),
    ],
)  # fmt: skip
def test_what_is_wrong_with_embedded_resources(value: Tree, said: list[str]) -> None:
    by = schema(pod=EMBEDDED)
    assert [str(f) for f in metadata.faults({"pod": value}, by)] == said


def test_embedded_resources_are_found_in_maps_and_lists() -> None:
    by = schema(
        m={"type": "object", "additionalProperties": {"type": "array", "items": EMBEDDED}},
        plain={"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    )
    tree = {"m": {"k": [{"apiVersion": "v1", "kind": "K"}, {"apiVersion": "v1"}]}, "plain": {}}
    assert [f.path for f in metadata.faults(tree, by)] == ["m[k][1].kind"]


def test_defaults_fill_gaps_and_take_the_place_of_nulls() -> None:
    by = schema(
        a={**TEXT, "default": "x"}, b={**TEXT, "default": "y", "nullable": True}, c=TEXT, d={**TEXT, "nullable": True},
        o={"type": "object", "default": {}, "properties": {"p": {**NUMBER, "default": 3}}},
        l={"type": "array", "items": {"type": "object", "properties": {"q": {**NUMBER, "default": 4}}}},
    )  # fmt: skip
    tree: Tree = {"a": None, "b": None, "c": None, "d": None, "l": [{}, {"q": 1}]}
    defaulting.default(tree, by)
    assert tree == {"a": "x", "b": None, "d": None, "l": [{"q": 4}, {"q": 1}], "o": {"p": 3}}


def test_defaults_are_not_shared_between_objects() -> None:
    by = schema(o={"type": "object", "default": {"a": []}})
    one: Tree = {}
    defaulting.default(one, by)
    one["o"]["a"].append(1)
    two: Tree = {}
    defaulting.default(two, by)
    assert two == {"o": {"a": []}}


@pytest.mark.parametrize(
    ("source", "value", "messages"),
    [
        ({**NUMBER, "minimum": 1, "exclusiveMinimum": True}, 1, ["x: Invalid value: 1: x in body should be greater than 1"]),
        ({**NUMBER, "maximum": 1.0}, 2, ["x: Invalid value: 2: x in body should be less than or equal to 1"]),
        ({**NUMBER, "format": "int32"}, 2**31, ["x: Invalid value: 2147483648: "]),
        ({"type": "number"}, 1, []),
        (NUMBER, True, ['x: Invalid value: "boolean": x in body must be of type integer: "boolean"']),
        (TEXT, None, ['x: Invalid value: "null": x in body must be of type string: "null"']),
        ({**TEXT, "nullable": True}, None, []),
        ({"enum": [1, True, "a"]}, True, []),
        ({"enum": [1]}, True, ['x: Unsupported value: true: supported values: "1"']),
        ({"type": "array", "items": NUMBER, "minItems": 2}, [1], ["x: Invalid value: 1: x in body should have at least 2 items"]),
        ({"type": "object", "minProperties": 1}, {}, ["x: Invalid value: 0: x in body should have at least 1 properties"]),
        ({"type": "object", "maxProperties": 1}, {"a": 1, "b": 1}, ["x: Too many: 2: must have at most 1 items"]),
        ({"anyOf": [{"minimum": 5}, {"maximum": 1}]}, 3, ['<nil>: Invalid value: "": "x" must validate at least one schema (anyOf)', "x: Invalid value: 3"]),
        ({"allOf": [{"minimum": 5}, {"maximum": 9}]}, 3, ["x: Invalid value: 3", '<nil>: Invalid value: "": "x" must validate all the schemas (allOf)']),
        ({"not": {"enum": ["a"]}}, "a", ['<nil>: Invalid value: "": "x" must not validate the schema (not)']),
        ({**TEXT, "pattern": "^a$"}, "a\n", ["x: Invalid value: \"a\\n\": x in body should match '^a$'"]),
    ],
)  # fmt: skip
def test_values_beside_their_schema(source: Tree, value: Any, messages: list[str]) -> None:
    found = [str(fault) for fault in values.faults(value, Schema(source), "x")]
    assert len(found) == len(messages)
    assert all(said.startswith(wanted) for said, wanted in zip(found, messages, strict=True)), found


def test_what_did_not_change_is_not_looked_at_again() -> None:
    by = schema(a={**NUMBER, "maximum": 1}, b={**NUMBER, "maximum": 1})
    assert [f.path for f in values.faults({"a": 5, "b": 5}, by, "", {"a": 5, "b": 4})] == ["b"]
    items = {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}
    listed = Schema({**items, "items": {"type": "object", "properties": {"k": TEXT, "n": {**NUMBER, "maximum": 1}}}})
    old = [{"k": "a", "n": 5}, {"k": "b", "n": 5}]
    assert [f.path for f in values.faults([{"k": "b", "n": 5}, {"k": "a", "n": 6}], listed, "l", old)] == ["l[1].n"]


def test_the_order_of_a_list_that_is_a_map_is_no_change() -> None:
    items = {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "maxItems": 1}
    listed = Schema({**items, "items": {"type": "object", "properties": {"k": TEXT, "n": NUMBER}}})
    old = [{"k": "a", "n": 5}, {"k": "b", "n": 5}]
    assert values.faults(old[::-1], listed, "l", old) == []
    for new in ([*old, {"k": "c"}], [old[0], {"k": "b", "n": 6}], [old[0], {"k": "c", "n": 5}]):
        assert "l" in [f.path for f in values.faults(new, listed, "l", old)]
    whole = Schema({"type": "object", "properties": {"l": listed.source}})
    assert values.faults({"l": old[::-1]}, whole, "", {"l": old}) == []


def test_lists_that_are_sets_or_maps_hold_nothing_twice() -> None:
    as_set = schema(s={"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"})
    assert [str(f) for f in lists.faults({"s": ["a", "b", "a", "a"]}, as_set)] == ['s[2]: Duplicate value: "a"']
    item = {"type": "object", "properties": {"k": TEXT, "p": {**TEXT, "default": "TCP"}}}
    as_map = schema(
        m={"type": "array", "items": item, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k", "p"]}
    )
    value = {"m": [{"k": "a"}, {"k": "a", "p": "UDP"}, {"k": "a", "p": "TCP"}]}
    assert [str(f) for f in lists.faults(value, as_map)] == ['m[2]: Duplicate value: {"k":"a","p":"TCP"}']
    assert lists.faults(value, as_map, old={"m": value["m"][:2]}) != []


def test_nothing_is_said_of_twins_where_there_were_some_before() -> None:
    listed = {"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"}
    found = schema(a=listed, b=listed)
    old = {"a": ["x", "x"], "b": ["y"]}
    assert lists.faults({"a": ["x", "x"], "b": ["y", "y"]}, found, old=old) == []
    assert lists.faults({"a": ["x"], "b": ["y", "y"]}, found, old={"a": ["x"], "b": ["y"]}) != []


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("date-time", "2026-11-23T12:00:00Z", "2026-13-23T12:00:00Z"), ("date", "2026-11-23", "23.11.2026"),
        ("ipv4", "10.0.0.1", "10.0.0.256"), ("ipv6", "::1", "1"), ("cidr", "10.0.0.0/8", "10.0.0.0"),
        ("uuid", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "6ba7b810"), ("email", "a@b.c", "a"), ("byte", "YQ==", "Y"),
        ("duration", "1h30m", "soon"), ("hostname", "a.b", "a b"), ("uri", "https://a/b", "a b"),
        ("mac", "01:23:45:67:89:ab", "01"), ("creditcard", "4111 1111 1111 1111", "4111 1111 1111 1112"),
        ("isbn10", "0-306-40615-2", "0-306-40615-3"), ("hexcolor", "#ff0000", "red"), ("quantity", "100Mi", "much"),
        ("dateTime", "any", ""), ("unheard-of", "any", ""),
        ("k8s-short-name", "a-1", "a.b"),
        ("k8s-long-name", "a.b-1", "A"),
    ],
)  # fmt: skip
def test_formats(name: str, good: str, bad: str) -> None:
    assert formats.fits(name, good) or name == "dateTime"
    assert not bad or not formats.fits(name, bad)
