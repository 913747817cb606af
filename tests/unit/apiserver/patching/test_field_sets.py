"""The algebra on FieldsV1 against Python's sets of paths."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver.patching import field_sets
from apiserver.patching.field_sets import FieldSet

Paths = frozenset[tuple[str, ...]]
steps = st.sampled_from(["f:a", "f:b", 'k:{"name":"x"}', 'v:"y"'])
path_sets = st.frozensets(st.lists(steps, min_size=1, max_size=3).map(tuple), max_size=6)


def tree(paths: Paths) -> FieldSet | None:
    out: dict[str, Any] = {}
    for path in paths:
        at = out
        for step in path:
            at = at.setdefault(step, {})
        at["."] = {}
    return simplify(out) if paths else None


def simplify(at: dict[str, Any]) -> dict[str, Any]:
    return {} if at.keys() == {"."} else {k: v if k == "." else simplify(v) for k, v in at.items()}


def members(fields: FieldSet | None) -> Paths:
    return frozenset(field_sets.paths(fields))


@given(path_sets)
def test_a_set_has_the_paths_it_was_made_of(paths: Paths) -> None:
    assert members(tree(paths)) == paths
    assert field_sets.canonical(tree(paths) or {}) == tree(paths)


@given(path_sets, path_sets)
def test_the_algebra_is_that_of_sets(a: Paths, b: Paths) -> None:
    assert field_sets.union(tree(a), tree(b)) == tree(a | b)
    assert field_sets.difference(tree(a), tree(b)) == tree(a - b)
    assert field_sets.intersection(tree(a), tree(b)) == tree(a & b)


@given(path_sets, path_sets)
def test_without_takes_what_is_below_the_leaves_too(a: Paths, b: Paths) -> None:
    leaves = {p for p in b if not any(q != p and q[: len(p)] == p for q in b)}
    kept = frozenset(p for p in a if not any(p[: n + 1] in leaves for n in range(len(p))))
    assert members(field_sets.without(tree(a), tree(frozenset(leaves)))) == kept


def test_paths_read_as_upstream_writes_them() -> None:
    fields = {"f:spec": {"f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {}}, "f:finalizers": {'v:"a/b"': {}}}}
    assert [field_sets.show(p) for p in field_sets.paths(fields)] == [
        '.spec.finalizers[="a/b"]',
        '.spec.ports[containerPort=80,protocol="TCP"]',
    ]


def test_keys_are_sorted_and_compact() -> None:
    assert field_sets.key_step({"protocol": "TCP", "containerPort": 80}) == 'k:{"containerPort":80,"protocol":"TCP"}'
    assert field_sets.canonical({'k:{"b": 1, "a": 2}': {}}) == {'k:{"a":2,"b":1}': {}}


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    "fields", [[], "x", {"nonsense": {}}, {"k:[1]": {}}, {"k:{": {}}, {"i:x": {}}, {"f:a": 1}, {f"v:{DEEP}": {}}]
)
def test_what_is_not_a_set_is_refused(fields: Any) -> None:
    with pytest.raises(field_sets.Malformed):
        field_sets.canonical(fields)


def test_a_set_is_ordered_however_deep_it_is() -> None:
    fields: field_sets.FieldSet = {}
    for _ in range(5000):
        fields = {"f:b": fields, "f:a": {}}
    found, depth = field_sets.ordered(fields), 0
    while found:
        assert list(found) == ["f:a", "f:b"]
        found, depth = found["f:b"], depth + 1
    assert depth == 5000
