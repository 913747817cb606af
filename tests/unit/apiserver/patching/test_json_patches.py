"""JSON patch against a model that rebuilds documents instead of changing them."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import BadRequest, Invalid, TooLarge
from apiserver.patching import json_patch

REFUSED = "the server rejected our request due to an error in our request"
scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=2)
values = st.recursive(
    scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.sampled_from("xyz"), v, max_size=3)
)
objects = st.dictionaries(st.sampled_from("xyz"), values, max_size=3)
pointers = st.lists(st.sampled_from(["x", "y", "z", "0", "1", "2", "-"]), max_size=3).map(
    lambda s: "".join(f"/{p}" for p in s)
)
operations = st.fixed_dictionaries(
    {
        "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]),
        "path": pointers,
        "from": pointers,
        "value": values,
    }
)


def patched(document: Any, *operations: Any) -> Any:
    return json_patch(document, msgspec.json.encode(operations))


def refused(document: Any, *operations: Any) -> str:
    """The reason behind a refusal, which the client never sees."""
    with pytest.raises(Invalid) as caught:
        patched(document, *operations)
    assert caught.value.message == REFUSED
    assert caught.value.to_status()["code"] == 422
    return str(caught.value.__cause__)


class Refused(Exception):
    pass


class Model:
    """RFC 6902 by path copying: `edit` returns a new document in which `change` was made to one container."""

    @staticmethod
    def edit(document: Any, steps: list[str], change: Any) -> Any:
        if len(steps) == 1:
            return change(document, steps[0])
        if isinstance(document, dict) and steps[0] in document:
            return document | {steps[0]: Model.edit(document[steps[0]], steps[1:], change)}
        if isinstance(document, list) and steps[0].isdigit() and int(steps[0]) < len(document):
            at = int(steps[0])
            return [*document[:at], Model.edit(document[at], steps[1:], change), *document[at + 1 :]]
        raise Refused

    @staticmethod
    def get(document: Any, steps: list[str]) -> Any:
        for step in steps:
            if isinstance(document, dict) and step in document:
                document = document[step]
            elif isinstance(document, list) and step.isdigit() and int(step) < len(document):
                document = document[int(step)]
            else:
                raise Refused
        return document

    @staticmethod
    def add(document: Any, steps: list[str], value: Any) -> Any:
        def change(container: Any, step: str) -> Any:
            if isinstance(container, dict):
                return container | {step: value}
            if isinstance(container, list) and (step == "-" or (step.isdigit() and int(step) <= len(container))):
                at = len(container) if step == "-" else int(step)
                return [*container[:at], value, *container[at:]]
            raise Refused

        return Model.edit(document, steps, change) if steps else value

    @staticmethod
    def remove(document: Any, steps: list[str]) -> Any:
        def change(container: Any, step: str) -> Any:
            Model.get(container, [step])
            if isinstance(container, dict):
                return {k: v for k, v in container.items() if k != step}
            return [*container[: int(step)], *container[int(step) + 1 :]]

        if not steps:
            raise Refused
        return Model.edit(document, steps, change)

    @staticmethod
    def apply(document: Any, operation: Any) -> Any:
        path, origin = operation["path"].split("/")[1:], operation["from"].split("/")[1:]
        match operation["op"]:
            case "add":
                return Model.add(document, path, operation["value"])
            case "remove":
                return Model.remove(document, path)
            case "replace":
                Model.get(document, path)
                if not path:
                    return operation["value"]

                def change(container: Any, step: str) -> Any:
                    if isinstance(container, dict):
                        return container | {step: operation["value"]}
                    return [operation["value"] if i == int(step) else v for i, v in enumerate(container)]

                return Model.edit(document, path, change)
            case "move":
                value = Model.get(document, origin)
                if path[: len(origin)] == origin and path != origin:
                    raise Refused
                return document if path == origin else Model.add(Model.remove(document, origin), path, value)
            case "copy":
                return Model.add(document, path, Model.get(document, origin))
        try:
            found = Model.get(document, path)
        except Refused:
            # Upstream's leniency: null equals nothing, if the container is there.
            parent = Model.get(document, path[:-1])
            if operation["value"] is not None or isinstance(parent, list):
                raise
            found = None
        if msgspec.json.encode(found, order="sorted") != msgspec.json.encode(operation["value"], order="sorted"):
            raise Refused
        return document


@given(objects, st.lists(operations, max_size=5))
def test_it_does_what_the_model_does(document: Any, ops: list[Any]) -> None:
    before = msgspec.json.encode(document)
    expected = document
    try:
        for op in ops:
            expected = Model.apply(expected, op)
    except Refused:
        refused(document, *ops)
    else:
        assert patched(document, *ops) == expected
    assert msgspec.json.encode(document) == before


def test_names_with_slashes_and_tildes_are_escaped() -> None:
    labels = {"labels": {"a/b": "1", "c~d": "2"}}
    result = patched(
        labels, {"op": "remove", "path": "/labels/a~1b"}, {"op": "replace", "path": "/labels/c~0d", "value": "3"}
    )
    assert result == {"labels": {"c~d": "3"}}


def test_a_negative_index_counts_from_the_end_as_upstream_has_it() -> None:
    assert patched({"a": [1, 2, 3]}, {"op": "replace", "path": "/a/-1", "value": 9}) == {"a": [1, 2, 9]}
    assert patched({"a": [1, 2]}, {"op": "add", "path": "/a/-1", "value": 9}) == {"a": [1, 2, 9]}


def test_a_failing_test_is_422_and_says_why_only_to_the_log() -> None:
    why = refused({"spec": {"x": 1}}, {"op": "test", "path": "/spec/x", "value": 2})
    assert why == "testing value /spec/x failed: test failed"


def test_true_is_not_one_and_one_is_one_point_zero() -> None:
    refused({"x": 1}, {"op": "test", "path": "/x", "value": True})
    assert patched({"x": 1}, {"op": "test", "path": "/x", "value": 1.0}) == {"x": 1}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/a/b"},
        {"op": "replace", "path": "/missing", "value": 1},
        {"op": "add", "path": "/no/where", "value": 1},
        {"op": "add", "path": "/list/9", "value": 1},
        {"op": "add", "path": "/list/01", "value": 1},
        {"op": "add", "path": "/list/" + "9" * 5000, "value": 1},
        {"op": "add", "path": "/x"},
        {"op": "add", "path": "x", "value": 1},
        {"op": "add", "value": 1},
        {"op": "copy", "path": "/x"},
        {"op": "frobnicate", "path": "/x"},
        {"op": ["add"], "path": "/x"},
        {"path": "/x"},
    ],
)
def test_an_operation_that_does_not_fit_is_422(operation: Any) -> None:
    refused({"a": {}, "list": [1]}, operation)


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        (b'{"op":"add"}', "json: cannot unmarshal object into Go value of type jsonpatch.Patch"),
        (b'"x"', "json: cannot unmarshal string into Go value of type jsonpatch.Patch"),
        (b"[1]", "json: cannot unmarshal number into Go value of type jsonpatch.Operation"),
        (b"[", "error decoding JSON patch: unexpected end of JSON input"),
        (b"\xff\xfe", "error decoding JSON patch"),
        (b"[" * 100_000, "error decoding JSON patch: exceeded max depth"),
        (b"[" * 500 + b"]" * 500, "exceeded max depth"),
    ],
)
def test_what_cannot_be_read_is_400(patch: bytes, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        json_patch({}, patch)
    assert message in caught.value.message


def test_ten_thousand_operations_are_the_limit() -> None:
    one = {"op": "add", "path": "/x", "value": 1}
    assert patched({}, *[one] * 10_000) == {"x": 1}
    with pytest.raises(TooLarge, match="The allowed maximum operations in a JSON patch is 10000, got 10001"):
        patched({}, *[one] * 10_001)


def test_copies_of_copies_do_not_blow_up() -> None:
    double = [{"op": "copy", "from": "/a", "path": f"/a/k{i}"} for i in range(60)]
    assert "exceeding the limit" in refused({"a": {"text": "x" * 100}}, *double)
