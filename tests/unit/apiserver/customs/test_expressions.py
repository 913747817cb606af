"""x-kubernetes-validations."""

from typing import Any

import pytest

from apiserver.customs.expressions import Broken, Place, Rules, compiled
from apiserver.customs.schemas import Schema

Tree = dict[str, Any]


def rules(*given: Tree, **properties: Tree) -> Rules:
    spec = {
        "type": "object",
        "properties": properties or {"n": {"type": "integer"}},
        "x-kubernetes-validations": [*given],
    }
    return Rules(Schema({"type": "object", "properties": {"spec": spec}}))


def said(found: Rules, spec: Any, *old: Any) -> list[str]:
    return [str(f) for f in found.faults({"spec": spec}, *({"spec": o} for o in old))]


def test_a_broken_rule_says_what_it_was_told_to_say() -> None:
    assert said(rules({"rule": "self.n < 3", "message": "too big"}), {"n": 3}) == [
        'spec: Invalid value: "object": too big'
    ]
    assert said(rules({"rule": "self.n < 3"}), {"n": 3}) == ['spec: Invalid value: "object": failed rule: self.n < 3']
    assert said(rules({"rule": "self.n < 3", "messageExpression": "'not ' + string(self.n)"}), {"n": 3}) == [
        'spec: Invalid value: "object": not 3'
    ]
    assert said(rules({"rule": "self.n < 3"}), {"n": 2}) == []


def test_reasons_and_paths() -> None:
    rule = {"rule": "self.n < 3", "message": "no", "reason": "FieldValueForbidden", "fieldPath": ".n"}
    assert said(rules(rule), {"n": 3}) == ["spec.n: Forbidden: no"]
    assert said(rules(rule | {"reason": "FieldValueRequired"}), {"n": 3}) == ["spec.n: Required value: no"]


def test_transition_rules_need_something_to_compare_with() -> None:
    found = rules({"rule": "self.n >= oldSelf.n", "message": "shrinks"})
    assert said(found, {"n": 1}) == []
    assert said(found, {"n": 1}, {"n": 2}) == ['spec: Invalid value: "object": shrinks']
    assert said(found, {"n": 3}, {"n": 2}) == []


def test_with_optional_old_self_they_are_asked_always() -> None:
    found = rules({"rule": "oldSelf.hasValue() || self.n == 0", "message": "begins at zero", "optionalOldSelf": True})
    assert said(found, {"n": 1}) == ['spec: Invalid value: "object": begins at zero']
    assert said(found, {"n": 1}, {"n": 0}) == []


def test_items_are_recognized_by_their_keys() -> None:
    item = {
        "type": "object", "properties": {"k": {"type": "string"}, "n": {"type": "integer"}},
        "x-kubernetes-validations": [{"rule": "self.n == oldSelf.n", "message": "fixed"}],
    }  # fmt: skip
    ports = {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": item}
    found = rules(ports=ports)
    old = {"ports": [{"k": "a", "n": 1}, {"k": "b", "n": 1}]}
    new = {"ports": [{"k": "b", "n": 2}, {"k": "a", "n": 1}, {"k": "c", "n": 9}]}
    assert said(found, new, old) == ['spec.ports[0]: Invalid value: "object": fixed']


def test_unchanged_values_are_not_judged_again() -> None:
    found = rules({"rule": "self.n < 3", "message": "too big"})
    assert said(found, {"n": 9}, {"n": 9}) == []


def test_items_of_a_list_that_has_not_changed_are_not_judged_again() -> None:
    item = {"type": "string", "x-kubernetes-validations": [{"rule": "self != 'bad'", "message": "bad"}]}
    found = rules(listed={"type": "array", "items": item}, n={"type": "integer"})
    old = {"listed": ["bad", "good"], "n": 1}
    assert said(found, {**old, "n": 2}, old) == []
    assert said(found, {"listed": ["good", "bad"], "n": 1}, old) == ['spec.listed[1]: Invalid value: "string": bad']


def test_faults_of_evaluation_are_told() -> None:
    found = rules({"rule": "1 / self.n > 0"})
    assert said(found, {"n": 0}) == ['spec: Invalid value: "object": division by zero evaluating rule: 1 / self.n > 0']


def test_an_object_costs_no_more_than_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apiserver.customs.expressions.BUDGET", 1)
    found = said(rules({"rule": "self.n < 3 && self.n > 1 && self.n != 2"}), {"n": 1})
    assert found == [
        'spec: Invalid value: "object": validation failed due to running out of cost budget, no further validation rules '
        "will be run"
    ]


def test_expressions_that_do_not_fit_are_broken() -> None:
    type_ = Place(Schema({"type": "object"}), root=True)
    assert not type_.matters()
    from machinery.cel import schemas

    declared = schemas.declared({"type": "object", "properties": {"n": {"type": "integer"}}})
    assert declared is not None
    for source, field in (
        ({"rule": "self.n"}, "rule"), ({"rule": "self.x"}, "rule"), ({"rule": "true", "messageExpression": "1"}, "messageExpression"),
        ({"rule": "true", "optionalOldSelf": True}, "optionalOldSelf"),
    ):  # fmt: skip
        with pytest.raises(Broken) as e:
            compiled(source, declared)
        assert e.value.field == field
