"""The language itself: what expressions come to, and what is wrong with those that come to nothing."""

from typing import Any

import pytest

from machinery.cel import BudgetFault, CompilationFault, Environment, EvaluationFault, types
from machinery.cel.types import DYN, INT, STRING
from machinery.cel.values import NOTHING, Duration, Optional, Timestamp, Uint, to_json

OBJECT: dict[str, Any] = {
    "spec": {"replicas": 3, "names": ["a", "b"], "weight": 1.5, "none": None},
    "labels": {"a": "b"},
}
ENVIRONMENT = Environment({"object": DYN, "n": INT, "s": STRING})
GIVEN: dict[str, Any] = {"object": OBJECT, "n": 7, "s": "text"}


def value(source: str) -> Any:
    return ENVIRONMENT.compile(source).evaluate(GIVEN)


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("1 + 2 * 3 - 4 / 2 % 3", 5),
        ("-7 / 2", -3),
        ("-7 % 3", -1),
        ("7u / 2u", Uint(3)),
        ("-n", -7),
        ("!(n == 7)", False),
        ("--n", 7),
        ("0x1F + 0", 31),
        ("-9223372036854775808", -(2**63)),
        ("1.5e3 + .5", 1500.5),
        ("n > 3 ? 'big' : 'small'", "big"),
        ("'a' + \"b\" + r'\\n' + '''x'y'''", "ab\\nx'y"),
        ("b'\\xff\\x41'", b"\xffA"),
        ("'\\u00e9\\101\\t'", "éA\t"),
        ("dyn(1) == 1.0 && dyn(1u) == 1 && 1 < 1.5", True),
        ("dyn(true) == dyn(1)", False),
        ("dyn([1, 2]) == [1.0, 2.0]", True),
        ("{'a': [1]} == {'a': [1]}", True),
        ("dyn('a') == 1", False),
        ("2 in [1, 2]", True),
        ("'a' in {'a': 1}", True),
        ("{1: 'x'}[dyn(1u)]", "x"),
        ("[[1, 2], [3]][0][1]", 2),
        ("object.spec.replicas == 3", True),
        ("object['spec'].names[1]", "b"),
        ("has(object.spec.nothing)", False),
        ("has(object.spec.none)", True),
        ("size(object.spec.names) + 'äb'.size() + size(b'abc')", 7),
        ("type(1) == int && type([]) == list && type(null) == null_type", True),
        ("type(duration('1s')) == google.protobuf.Duration", True),
        ("1 // comment\n + 1", 2),
        ("[1, 2,]", [1, 2]),
        ("string(1.0) + string(1u) + string(true) + string(1e30)", "11true1e+30"),
        ("int('42') + int(3.9) + int(4u)", 49),
        ("double('1.5') + double(1)", 2.5),
        ("bool('true') && !bool('F')", True),
        ("bytes('é').size()", 2),
        ("duration('1h30m').getMinutes()", 90),
        ("string(duration('90s') + duration('500ms'))", "90.5s"),
        ("timestamp('2024-02-29T12:00:00Z').getDayOfMonth()", 28),
        ("timestamp('2024-02-29T23:30:00Z').getDate('+01:00')", 1),
        ("timestamp('2024-07-01T00:00:00Z').getHours('Europe/Berlin')", 2),
        ("string(timestamp('2024-01-01T00:00:00.5Z') + duration('24h'))", "2024-01-02T00:00:00.5Z"),
        ("timestamp('2024-01-02T00:00:00Z') - timestamp('2024-01-01T00:00:00Z') == duration('24h')", True),
        ("s.startsWith('te') && s.endsWith('xt') && s.contains('ex')", True),
        ("s.matches('^t.*t$') && matches(s, 'e')", True),
    ],
)
def test_expressions_come_to_what_the_language_says(source: str, wanted: Any) -> None:
    found = value(source)
    assert (found, type(found)) == (wanted, type(wanted))


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("[1, 2, 3].all(x, x > 0)", True),
        ("[1, 2, 3].exists(x, x > 2)", True),
        ("[1, 2, 3].exists_one(x, x > 2)", True),
        ("[1, 2, 3].existsOne(x, x > 1)", False),
        ("[1, 2, 3].filter(x, x % 2 == 1)", [1, 3]),
        ("[1, 2].map(x, x * 10)", [10, 20]),
        ("[1, 2, 3].map(x, x > 1, x * 10)", [20, 30]),
        ("{'a': 1, 'b': 2}.map(k, k)", ["a", "b"]),
        ("[[1], [2, 3]].map(x, x.map(y, y + n))", [[8], [9, 10]]),
        ("[3, 2].all(i, v, i < v)", True),
        ("{'a': 1}.exists(k, v, k == 'a' && v == 1)", True),
        ("[5, 5].existsOne(i, v, i == 1 && v == 5)", True),
        ("[1, 2].transformList(i, v, i + v)", [1, 3]),
        ("{'a': 1, 'b': 2}.transformList(k, v, v > 1, k)", ["b"]),
        ("{'a': 1, 'b': 2}.transformMap(k, v, v * 2)", {"a": 2, "b": 4}),
        ("[7, 8].transformMap(i, v, i > 0, v)", {1: 8}),
        ("{'a': 'x'}.transformMapEntry(k, v, {v: k})", {"x": "a"}),
        ("[1, 2].map(x, [x]).map(x, x[0])", [1, 2]),
        ("[].all(x, x > 0)", True),
        ("[1, 0, 2].exists(x, 4 / x == 2)", True),
        ("[0, 2].all(x, 4 / x == 3)", False),
    ],
)
def test_macros_go_through_lists_and_maps(source: str, wanted: Any) -> None:
    assert value(source) == wanted


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("object.?spec.?replicas.orValue(1)", 3),
        ("object.?nothing.?replicas.orValue(1)", 1),
        ("object.labels[?'a'].value()", "b"),
        ("object.labels[?'c'].hasValue()", False),
        ("[1][?3].orValue(9)", 9),
        ("object.?spec.names[0]", Optional("a")),
        ("optional.of(1).or(optional.of(2)).value()", 1),
        ("optional.none().orValue('x')", "x"),
        ("optional.ofNonZeroValue('')", NOTHING),
        ("optional.of(2).optMap(x, x + 1)", Optional(3)),
        ("optional.of(2).optFlatMap(x, optional.of(x * n))", Optional(14)),
        ("{?'a': object.?nothing, 'b': dyn(1)}", {"b": 1}),
        ("[?object.?nothing, dyn(2)]", [2]),
    ],
)
def test_optional_values_need_no_questions_asked_before(source: str, wanted: Any) -> None:
    assert value(source) == wanted


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("1 / 0", "division by zero"),
        ("1 % 0", "modulus by zero"),
        ("9223372036854775807 + 1", "integer overflow"),
        ("0u - 1u", "unsigned integer overflow"),
        ("object.nothing", "no such key: nothing"),
        ("object['nothing']", "no such key: nothing"),
        ("[1][1]", "index out of bounds: 1"),
        ("object.spec.replicas + 'x'", "no such overload"),
        ("object.spec.replicas.name", "no such key: name"),
        ("optional.none().value()", "optional.none() dereference"),
        ("dyn(1) ? 2 : 3", "no such overload"),
        ("object.spec.names.all(x, x > 1)", "no such overload"),
        ("int('x')", "type conversion error from 'string' to 'int'"),
        ("{'a': 1, 'a': 2}", "Failed with repeated key: a"),
        ("timestamp('9999-12-31T23:59:59Z') + duration('1s')", "timestamp overflow"),
    ],
)
def test_what_has_no_value_says_why(source: str, message: str) -> None:
    with pytest.raises(EvaluationFault) as caught:
        value(source)
    assert caught.value.message == message


def test_one_side_of_a_logical_operator_can_decide_whatever_is_wrong_with_the_other() -> None:
    assert value("1 / 0 == 1 || true") is True
    assert value("object.nothing && false") is False
    with pytest.raises(EvaluationFault, match="division by zero"):
        value("1 / 0 == 1 || false")


STARTS = (
    "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}"
)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x", "ERROR: <input>:1:1: undeclared reference to 'x' (in container '')\n | x\n | ^"),
        (
            "n > '1'",
            "ERROR: <input>:1:3: found no matching overload for '_>_' applied to '(int, string)'\n | n > '1'\n | ..^",
        ),
        (
            "s.size(1)",
            "ERROR: <input>:1:7: found no matching overload for 'size' applied to 'string.(int)'\n"
            " | s.size(1)\n | ......^",
        ),
        ("n.a", "ERROR: <input>:1:2: type 'int' does not support field selection\n | n.a\n | .^"),
        (
            "true\n  && f(1)",
            "ERROR: <input>:2:7: undeclared reference to 'f' (in container '')\n |   && f(1)\n | ......^",
        ),
        ("[1, 'a']", "ERROR: <input>:1:5: expected type 'int' but found 'string'\n | [1, 'a']\n | ....^"),
        (
            "n.all(x, x)",
            "ERROR: <input>:1:1: expression of type 'int' cannot be range of a comprehension "
            "(must be list, map, or dynamic)\n | n.all(x, x)\n | ^",
        ),
        ("1 +", f"ERROR: <input>:1:4: Syntax error: mismatched input '<EOF>' expecting {STARTS}\n | 1 +\n | ...^"),
        (
            "n = 42",
            "ERROR: <input>:1:3: Syntax error: token recognition error at: '= '\n | n = 42\n | ..^\n"
            "ERROR: <input>:1:5: Syntax error: extraneous input '42' expecting <EOF>\n | n = 42\n | ....^",
        ),
        ("if", "ERROR: <input>:1:1: reserved identifier: if\n | if\n | ^"),
        ("[1].all(1, true)", "ERROR: <input>:1:9: argument must be a simple name\n | [1].all(1, true)\n | ........^"),
        ("has(n)", "ERROR: <input>:1:5: invalid argument to has() macro\n | has(n)\n | ....^"),
        ("T{a: 1}", "ERROR: <input>:1:2: undeclared reference to 'T' (in container '')\n | T{a: 1}\n | .^"),
        ("s.matches('(')", "ERROR: <input>:1:11: invalid matches argument\n | s.matches('(')\n | ..........^"),
        ("duration('x')", "ERROR: <input>:1:10: invalid duration argument\n | duration('x')\n | .........^"),
    ],
)
def test_what_cannot_be_compiled_is_shown_as_upstream_shows_it(source: str, message: str) -> None:
    with pytest.raises(CompilationFault) as caught:
        ENVIRONMENT.compile(source)
    assert caught.value.message == message


def test_the_result_must_be_of_a_type_that_is_wanted() -> None:
    with pytest.raises(CompilationFault, match=r"^must evaluate to bool but got int$"):
        ENVIRONMENT.compile("n", (types.BOOL,))
    with pytest.raises(CompilationFault, match=r"^must evaluate to bool but got dyn$"):
        ENVIRONMENT.compile("object.a", (types.BOOL,))
    ENVIRONMENT.compile("null", (types.STRING, types.NULL))


@pytest.mark.parametrize("source", ["(" * 500 + "1" + ")" * 500, "!(" * 200 + "true" + ")" * 200, "1" + " + 1" * 5000])
def test_expressions_too_deep_to_be_worked_on_are_refused(source: str) -> None:
    with pytest.raises(CompilationFault, match="recursion limit exceeded"):
        ENVIRONMENT.compile(source)


def test_long_chains_of_conditions_are_not_deep() -> None:
    assert ENVIRONMENT.compile(" && ".join(["n == 7"] * 3000)).evaluate(GIVEN) is True


def test_an_expression_that_costs_too_much_is_stopped() -> None:
    program = Environment({"l": types.listed(INT)}).compile("l.all(a, l.all(b, l.all(c, l.all(d, a < 1000))))")
    with pytest.raises(BudgetFault, match="operation cancelled: actual cost limit exceeded"):
        program.evaluate({"l": list(range(100))})


def test_an_expression_cannot_fill_the_memory() -> None:
    program = Environment({"s": STRING}).compile("s.replace('', s).replace('', s)")
    with pytest.raises(BudgetFault):
        program.evaluate({"s": "x" * 10_000})


def test_regular_expressions_take_linear_time() -> None:
    assert Environment({"s": STRING}).compile("s.matches('(a+)+$')").evaluate({"s": "a" * 5000 + "b"}) is False


def test_values_become_json() -> None:
    assert to_json([Timestamp(0), Duration(1_500_000_000), b"hi", Uint(1), {"a": None}]) == [
        "1970-01-01T00:00:00Z",
        "1.5s",
        "aGk=",
        1,
        {"a": None},
    ]
