import pytest

from api import paths
from api.paths import Path
from api.types import LabelSelector

HERE = Path("spec").child("a", "b").index(0).key("x/y")


def test_paths_print_as_upstreams():
    assert str(HERE) == "spec.a.b[0][x/y]"
    assert str(Path().child("a")) == "a"


@pytest.mark.parametrize(
    ("fault", "reason", "message"),
    [
        (paths.invalid(HERE, "v", "why"), "FieldValueInvalid", 'Invalid value: "v": why'),
        (paths.invalid(HERE, 'a"b<é', "why"), "FieldValueInvalid", 'Invalid value: "a\\"b<é": why'),
        (paths.invalid(HERE, {"b": 1, "a": 2}, "why"), "FieldValueInvalid", 'Invalid value: {"a":2,"b":1}: why'),
        (paths.invalid(HERE, None, "why"), "FieldValueInvalid", "Invalid value: null: why"),
        (paths.invalid(HERE, True, "why"), "FieldValueInvalid", "Invalid value: true: why"),
        (paths.invalid(HERE, LabelSelector(matchLabels={"a": "b"}), "why"), "FieldValueInvalid", 'Invalid value: {"matchLabels":{"a":"b"}}: why'),
        (paths.required(HERE), "FieldValueRequired", "Required value"),
        (paths.required(HERE, "why"), "FieldValueRequired", "Required value: why"),
        (paths.duplicate(HERE, 1), "FieldValueDuplicate", "Duplicate value: 1"),
        (paths.duplicate(HERE, 1, "why"), "FieldValueDuplicate", "Duplicate value: 1: why"),
        (paths.not_supported(HERE, "v", ["b", "a"]), "FieldValueNotSupported", 'Unsupported value: "v": supported values: "a", "b"'),
        (paths.forbidden(HERE, "why"), "FieldValueForbidden", "Forbidden: why"),
        (paths.too_long(HERE, 5), "FieldValueTooLong", "Too long: may not be more than 5 bytes"),
        (paths.too_many(HERE, 6, 5), "FieldValueTooMany", "Too many: 6: must have at most 5 items"),
        (paths.not_found(HERE, "v"), "FieldValueNotFound", 'Not found: "v"'),
    ],
)  # fmt: skip
def test_faults(fault, reason, message):
    assert (fault.reason, fault.path, fault.message) == (reason, str(HERE), message)
    assert str(fault) == f"{HERE}: {message}"


def test_one_fault_is_told_as_it_is_and_several_in_brackets_each_once():
    one, two = paths.required(Path("a")), paths.required(Path("b"))
    assert paths.refusal("", "Pod", "p", [one]).message == 'Pod "p" is invalid: a: Required value'
    error = paths.refusal("apps", "Deployment", "d", [one, two, one])
    assert error.message == 'Deployment.apps "d" is invalid: [a: Required value, b: Required value]'
    assert error.to_status() == {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": error.message,
        "reason": "Invalid", "code": 422,
        "details": {
            "name": "d", "group": "apps", "kind": "Deployment",
            "causes": [{"reason": "FieldValueRequired", "message": "Required value", "field": f} for f in "ab"],
        },
    }  # fmt: skip
