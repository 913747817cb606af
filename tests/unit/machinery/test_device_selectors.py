"""What selectors say of devices, what they can cost, and what is wrong with those that say nothing."""

from typing import Any

import pytest

from api.types import DeviceAttribute, DeviceCapacity
from machinery.cel import BudgetFault, CompilationFault, EvaluationFault
from machinery.device_selectors import COSTLIEST, compiled, matches, seen

DEVICE = seen(
    "dra.example.com",
    {
        "model": DeviceAttribute(string="fish"),
        "none": DeviceAttribute(string=""),
        "cores": DeviceAttribute(int_=8),
        "fast": DeviceAttribute(bool_=True),
        "firmware": DeviceAttribute(version="1.10.0"),
        "resource.kubernetes.io/pcieRoot": DeviceAttribute(string="pci0000:00"),
    },
    {"memory": DeviceCapacity(value="1Mi"), "other.example.com/memory": DeviceCapacity(value="2Mi")},
)
OWN = 'device.attributes["dra.example.com"]'
LOOP = "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10].all({}, {})"


@pytest.mark.parametrize(
    ("expression", "wanted", "cost"),
    [
        ("true", True, 0),
        ("false", False, 0),
        ('device.driver == "dra.example.com"', True, 4),
        ('device.driver == ""', False, 2),
        (f"{OWN}.fast", True, 4),
        (f'{OWN}["fast"]', True, 4),
        (f"{OWN}.cores > 7", True, 5),
        (f'{OWN}.model == "fish"', True, 5),
        (f'{OWN}.none == ""', True, 4),
        (f'{OWN}.firmware.isGreaterThan(semver("1.9.0"))', True, 6),
        (f'{OWN}.firmware.isGreaterThan(semver("v0.0.1", true)) && isSemver("v1.0.0", true)', True, 7),
        ('device.attributes["resource.kubernetes.io"].pcieRoot == "pci0000:00"', True, 5),
        ('"dra.example.com" in device.attributes', True, 3),
        ('"other.example.com" in device.attributes', False, 3),
        ('"other.example.com" in device.capacity', True, 3),
        ('"model" in device.attributes["other.example.com"]', False, None),
        ('device.attributes["other.example.com"].size() == 0', True, None),
        ("has(device.attributes.elsewhere)", True, None),
        ('device.attributes[?"other.example.com"].hasValue()', True, None),
        (f"{OWN}.?nothing.orValue(true)", True, None),
        (f'cel.bind(dra, {OWN}, dra.cores == 8 && dra.model == "fish")', True, None),
        (f"cel.bind(dra, {OWN}, dra.fast)", True, 15),
        ('device.capacity["dra.example.com"].memory.isGreaterThan(quantity("1Ki"))', True, 6),
        ('device.capacity["other.example.com"].memory.compareTo(quantity("2Mi")) == 0', True, None),
        ('"name" in device.capacity["dra.example.com"] && device.capacity["dra.example.com"].name.isInteger()', False, None),
        ('device.attributes.exists_one(x, x == "dra.example.com")', True, 164),
        (f'{OWN}.exists_one(x, x == "services")', False, 133),
        ('device.capacity["dra.example.com"].exists_one(x, x == "memory")', True, 133),
        (f'{OWN}.model.split("i").size() >= 2', True, 19),
        (f'{OWN}.model.matches("[^a]?ish")', True, 18),
        ("device.allowMultipleAllocations == false", True, 3),
        (f"{OWN}.fast && {OWN}.fast && {OWN}.fast", True, 12),
    ],
)  # fmt: skip
def test_expressions_speak_of_a_device_and_cost_what_they_do_upstream(
    expression: str, wanted: bool, cost: int | None
) -> None:
    selector = compiled(expression)
    assert matches(selector, DEVICE) is wanted
    if cost is not None:
        assert selector.cost().most == cost


def test_a_device_that_many_may_use_says_so() -> None:
    assert matches(compiled("device.allowMultipleAllocations"), seen("dra.example.com", {}, {}, shared=True))


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("?!", "compilation failed: ERROR: <input>:1:1: Syntax error"),
        ("1", "must evaluate to bool or the unknown type, not int"),
        ("device.attributes", "must evaluate to bool or the unknown type, not map(string, map(string, "),
        ("device.vendor == 'x'", "compilation failed: ERROR: <input>:1:7: undefined field 'vendor'"),
        ("node.name == 'x'", "undeclared reference to 'node'"),
        ("cel.bind(1, true, true)", "cel.bind() variable names must be simple identifiers"),
    ],
)
def test_what_is_no_selector_does_not_compile(expression: str, why: str) -> None:
    with pytest.raises(CompilationFault) as caught:
        compiled(expression)
    assert why in caught.value.message


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ('device.attributes["elsewhere"].speed > 1', "no such key: speed"),
        (f'{OWN}["speed"] > 1', "no such key: speed"),
        (f"{OWN}.model", "CEL result of type string could not be converted to bool"),
        (f"{OWN}.model > 1", "no such overload"),
    ],
)
def test_what_a_device_cannot_answer_is_a_fault(expression: str, why: str) -> None:
    with pytest.raises(EvaluationFault) as caught:
        matches(compiled(expression), DEVICE)
    assert caught.value.message == why


def test_an_expression_that_runs_too_long_is_stopped() -> None:
    expression = "int('1'.find('[0-9]*')) < 100"
    for name in ("z5", "z4", "z3", "z2", "z", "y", "x"):
        expression = LOOP.format(name, expression)
    selector = compiled(expression)
    assert selector.cost().most == 85_555_551 > COSTLIEST
    with pytest.raises(BudgetFault):
        matches(selector, DEVICE)


def test_a_capacity_of_which_nobody_said_how_large_it_is_is_none() -> None:
    device = seen("dra.example.com", {}, {"memory": DeviceCapacity()})
    assert matches(compiled('device.capacity["dra.example.com"].memory.sign() == 0'), device)


@pytest.mark.parametrize(
    ("attribute", "why"),
    [
        ({}, "attribute x: unsupported attribute value"),
        ({"version": "1"}, "attribute x: parse semantic version: No Major.Minor.Patch elements found"),
    ],
)
def test_a_device_without_a_readable_attribute_cannot_be_seen(attribute: dict[str, Any], why: str) -> None:
    with pytest.raises(EvaluationFault) as caught:
        seen("dra.example.com", {"x": DeviceAttribute(**attribute)}, {})
    assert caught.value.message == why
