"""Types from schemas, and what rules about them can cost."""

from typing import Any

import pytest

from machinery.cel import Budget, BudgetFault, CompilationFault, Environment, schemas
from machinery.cel.types import Type

TEXT = {"type": "string"}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "maxLength": 10},
        "count": {"type": "integer"},
        "weight": {"type": "number"},
        "namespace": TEXT,
        "a-b.c/d__e": TEXT,
        "when": {"type": "string", "format": "date-time"},
        "day": {"type": "string", "format": "date"},
        "span": {"type": "string", "format": "duration"},
        "data": {"type": "string", "format": "byte"},
        "port": {"x-kubernetes-int-or-string": True},
        "tags": {"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"},
        "items": {
            "type": "array",
            "maxItems": 5,
            "items": {"type": "object", "properties": {"k": TEXT, "v": {"type": "number"}}},
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["k"],
        },
        "labels": {"type": "object", "additionalProperties": TEXT},
        "$odd": TEXT,
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}


def environment(schema: dict[str, Any] = SCHEMA, *, root: bool = False) -> Environment:
    declared = schemas.declared(schema, root=root)
    assert isinstance(declared, Type)
    return Environment({"self": declared, "oldSelf": declared})


@pytest.mark.parametrize(
    ("source", "given"),
    [
        ("self.weight + 1.0 == 3.0", {"weight": 2}),
        ("self.__namespace__ == 'x'", {"namespace": "x"}),
        ("self.a__dash__b__dot__c__slash__d__underscores__e == 'x'", {"a-b.c/d__e": "x"}),
        ("self.when > timestamp('2020-01-01T00:00:00Z')", {"when": "2021-01-01T00:00:00+01:00"}),
        ("self.day.getFullYear() == 2021", {"day": "2021-01-01"}),
        ("self.span == duration('90s')", {"span": "1m30s"}),
        ("self.data == b'hi'", {"data": "aGk="}),
        ("type(self.port) == int ? self.port == 80 : self.port == 'http'", {"port": "http"}),
        ("self.tags == ['b', 'a']", {"tags": ["a", "b"]}),
        ("(self.tags + ['a', 'c']).size() == 3", {"tags": ["a", "b"]}),
        ("self.items.all(i, i.v > 0.5)", {"items": [{"k": "a", "v": 1}]}),
        ("self.items + [{'k': 'a'}] == [{'k': 'a'}]", {"items": [{"k": "a", "v": 1}]}),
        ("self.labels['x'] == 'y' && self.labels.all(k, k == 'x')", {"labels": {"x": "y"}}),
        ("!has(self.count)", {}),
    ],
)
def test_fields_have_the_types_of_their_schema(source: str, given: dict[str, Any]) -> None:
    if "[{'k'" in source:
        source = source.replace("[{'k': 'a'}]", "dyn([{'k': 'a'}])")
    assert environment().compile(source).evaluate({"self": given}) is True


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("self.nothing", "undefined field 'nothing'"),
        ("self.namespace", "undefined field 'namespace'"),
        ("self.free.x", "undefined field 'x'"),
        ("self.count == 'x'", "found no matching overload for '_==_' applied to '(int, string)'"),
        ("self.metadata", "undefined field 'metadata'"),
    ],
)
def test_what_the_schema_does_not_have_is_refused(source: str, message: str) -> None:
    with pytest.raises(CompilationFault, match=message.replace("(", r"\(").replace(")", r"\)")):
        environment().compile(source)


def test_the_identity_of_a_whole_object_is_always_there() -> None:
    whole = environment(root=True)
    given = {"self": {"apiVersion": "v1", "kind": "K", "metadata": {"name": "x"}}}
    assert whole.compile("self.metadata.name == 'x' && self.kind == 'K'").evaluate(given) is True


@pytest.mark.parametrize(
    ("name", "escaped"), [("int", "int"), ("for", "__for__"), ("a$", ""), ("1a", ""), ("_x", "_x")]
)
def test_names_are_escaped_as_upstream_does(name: str, escaped: str) -> None:
    assert schemas.escape(name) == escaped
    assert not escaped or schemas.unescape(escaped) == name


@pytest.mark.parametrize(
    ("source", "most"),
    [
        ("true", 0),
        ("self.count == 1", 2),
        ("self.name == 'abc'", 3),
        ("self.items.all(i, i.k == 'x')", 5 * 6 + 3),
        ("[1, 2, 3].map(x, x * 2)", 10 + 10 + 1 + 3 * 14),
    ],
)
def test_costs_are_bounded_by_the_sizes_that_the_schema_allows(source: str, most: int) -> None:
    assert environment().compile(source).cost().most == most


def test_unbounded_lists_within_lists_cost_more_than_any_rule_may() -> None:
    schema = {"type": "array", "items": {"type": "array", "items": {"type": "string"}}}
    nested = environment(schema).compile("self.all(x, x.all(y, y.contains('ab')))")
    assert nested.cost().most > 10_000_000 * 100


def test_a_quadratic_rule_may_be_written_and_is_stopped_on_large_arrays() -> None:
    """Upstream's conformance tests have these figures: 725 elements are below the estimate's limit, and too many."""
    large = {"type": "array", "maxItems": 725, "items": {"type": "integer"}}
    rule = environment({"type": "object", "properties": {"large": large}}).compile(
        "self.large.all(x, self.large.all(y, y == x))"
    )
    assert rule.cost().most < 10_000_000
    assert rule.evaluate({"self": {"large": [2, 2]}}) is True
    with pytest.raises(BudgetFault, match="actual cost limit exceeded"):
        rule.evaluate({"self": {"large": [20] * 725}})


def test_several_evaluations_can_share_a_budget() -> None:
    rule = environment().compile("self.tags.all(t, t != '')")
    budget = Budget(1000)
    given = {"self": {"tags": ["x"] * 50}}
    rule.evaluate(given, budget)
    assert 600 < budget.left < 800
    budget.left = 10
    with pytest.raises(BudgetFault):
        rule.evaluate(given, budget)
