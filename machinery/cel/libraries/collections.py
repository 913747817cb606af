"""Lists as Kubernetes has them, and sets as cel-go has them."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from machinery.cel import operators
from machinery.cel.faults import EvaluationFault
from machinery.cel.libraries.declaring import Declared, function, member
from machinery.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    INT,
    LIST_OF_A,
    STRING,
    TIMESTAMP,
    UINT,
    A,
    Type,
    listed,
)
from machinery.cel.values import Duration, Uint, span

COMPARABLE = (INT, UINT, DOUBLE, BOOL, DURATION, TIMESTAMP, STRING, BYTES)
SUMMABLE = (INT, UINT, DOUBLE, DURATION)


def _is_sorted(items: list[Any]) -> bool:
    try:
        return all(not a > b for a, b in pairwise(items))
    except TypeError as e:
        raise operators.no_such_overload() from e


def _extreme(items: list[Any], name: str, choose: Any) -> Any:
    if not items:
        raise EvaluationFault(f"{name} called on empty list")
    try:
        return choose(items)
    except TypeError as e:
        raise operators.no_such_overload() from e


def _min(items: list[Any]) -> Any:
    return _extreme(items, "min", min)


def _max(items: list[Any]) -> Any:
    return _extreme(items, "max", max)


def _sum(items: list[Any]) -> Any:
    """Of the first element's type; nothing adds up to 0."""
    if not items:
        return 0
    if any(type(item) is not type(items[0]) for item in items):
        raise operators.no_such_overload()
    match items[0]:
        case Duration():
            return span(sum(d.nanos for d in items))
        case Uint():
            return operators.checked_unsigned(sum(map(int, items)))
        case bool():
            raise operators.no_such_overload()
        case int():
            return operators.checked(sum(items))
        case float():
            return sum(items)
    raise operators.no_such_overload()


def _zero_or_sum(zero: Any) -> Any:
    return lambda items: _sum(items) if items else zero


def _index_of(items: list[Any], wanted: Any) -> int:
    return next((at for at, item in enumerate(items) if operators.equal(item, wanted)), -1)


def _last_index_of(items: list[Any], wanted: Any) -> int:
    at = _index_of(items[::-1], wanted)
    return len(items) - 1 - at if at >= 0 else -1


def _covers(items: list[Any], wanted: list[Any]) -> bool:
    return all(operators.contains(item, items) for item in wanted)


def _equivalent(a: list[Any], b: list[Any]) -> bool:
    return _covers(a, b) and _covers(b, a)


def _intersects(a: list[Any], b: list[Any]) -> bool:
    return any(operators.contains(item, a) for item in b)


_ZEROS: dict[Type, Any] = {INT: 0, UINT: Uint(0), DOUBLE: 0.0, DURATION: Duration(0)}


def _overloads() -> Iterator[Declared]:
    for t in COMPARABLE:
        yield member("isSorted", f"list_{t}_is_sorted_bool", (listed(t),), BOOL, _is_sorted)
        yield member("max", f"list_{t}_max_{t}", (listed(t),), t, _max)
        yield member("min", f"list_{t}_min_{t}", (listed(t),), t, _min)
    for t in SUMMABLE:
        yield member("sum", f"list_{t}_sum_{t}", (listed(t),), t, _zero_or_sum(_ZEROS[t]))
    yield member("indexOf", "list_a_index_of_int", (LIST_OF_A, A), INT, _index_of)
    yield member("lastIndexOf", "list_a_last_index_of_int", (LIST_OF_A, A), INT, _last_index_of)
    yield function("sets.contains", "list_sets_contains_list", (LIST_OF_A, LIST_OF_A), BOOL, _covers)
    yield function("sets.equivalent", "list_sets_equivalent_list", (LIST_OF_A, LIST_OF_A), BOOL, _equivalent)
    yield function("sets.intersects", "list_sets_intersects_list", (LIST_OF_A, LIST_OF_A), BOOL, _intersects)


OVERLOADS: list[Declared] = list(_overloads())
