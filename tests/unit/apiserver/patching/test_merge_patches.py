"""JSON merge patch against the RFC's own table and a model written from its pseudo-code."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import BadRequest
from apiserver.patching import merge_patch

scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab", max_size=2)
values = st.recursive(
    scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text("xyz", max_size=1), v, max_size=3)
)
objects = st.dictionaries(st.text("xyz", max_size=1), values, max_size=4)


def patched(document: dict[str, Any], patch: Any) -> Any:
    return merge_patch(document, msgspec.json.encode(patch))


@pytest.mark.parametrize(
    ("original", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_the_examples_of_the_rfc(original: Any, patch: Any, result: Any) -> None:
    assert patched(original, patch) == result


def model(target: Any, patch: Any) -> Any:
    """RFC 7386, section 2, word for word."""
    if not isinstance(patch, dict):
        return patch
    target = msgspec.json.decode(msgspec.json.encode(target)) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            if name in target:
                del target[name]
        else:
            target[name] = model(target.get(name), value)
    return target


@given(objects, objects)
def test_it_does_what_the_rfc_says_and_changes_nothing_it_was_given(document: dict[str, Any], patch: Any) -> None:
    before = msgspec.json.encode(document)
    assert patched(document, patch) == model(document, patch)
    assert msgspec.json.encode(document) == before


@pytest.mark.parametrize(
    "patch", [b"", b"{", b"[]", b"3", b'"x"', b"null", b"\xff", b'{"a":' * 5000 + b"1" + b"}" * 5000]
)
def test_what_is_not_a_json_object_is_a_bad_request(patch: bytes) -> None:
    with pytest.raises(BadRequest, match="Invalid JSON Patch"):
        merge_patch({}, patch)
