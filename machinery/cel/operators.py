"""What the operators do with values.

https://github.com/google/cel-spec/blob/master/doc/langdef.md#list-of-standard-definitions
"""

import math
from collections.abc import Callable
from typing import Any

from machinery.cel.faults import BudgetFault, EvaluationFault
from machinery.cel.values import (
    INT_MAX,
    INT_MIN,
    UINT_MAX,
    Duration,
    Optional,
    Timestamp,
    Uint,
    UniqueList,
    bounded,
    span,
)

NUMBERS = frozenset({int, Uint, float})
LONGEST = 16 * 1024 * 1024
"""No value that an expression builds may be longer: a few operations could fill any memory otherwise."""


def no_such_overload() -> EvaluationFault:
    return EvaluationFault("no such overload")


def fits(length: int) -> None:
    """Raises BudgetFault for a value of so many characters or elements that nobody needs it."""
    if length > LONGEST:
        raise BudgetFault("operation cancelled: actual cost limit exceeded")


# --- equality and order


def equal(a: Any, b: Any) -> bool:
    """Numbers are equal across types, and nothing else is."""
    ta, tb = type(a), type(b)
    if ta in NUMBERS or tb in NUMBERS:
        return bool(ta in NUMBERS and tb in NUMBERS and a == b)
    if isinstance(a, list):
        if not isinstance(b, list) or len(a) != len(b):
            return False
        return _same_items(a, b) if isinstance(a, UniqueList) else all(map(equal, a, b))
    if isinstance(a, dict):
        return isinstance(b, dict) and len(a) == len(b) and all(k in b and equal(v, b[k]) for k, v in a.items())
    if ta is Optional:
        return tb is Optional and a.present == b.present and equal(a.value, b.value)
    return bool(ta is tb and a == b)


def _same_items(a: UniqueList, b: list[Any]) -> bool:
    """In any order."""
    found = {identity(a.key(item)): item for item in a}
    return all(
        (key := identity(a.key(item))) in found and (found[key] is item or equal(found[key], item)) for item in b
    )


def identity(value: Any) -> Any:
    """Something hashable that is equal for equal values."""
    if isinstance(value, list):
        return ("list", *map(identity, value))
    if isinstance(value, dict):
        return ("map", *sorted(((k, identity(v)) for k, v in value.items()), key=str))
    return (bool, value) if type(value) is bool else value


def contains(needle: Any, collection: Any) -> bool:
    if isinstance(collection, dict):
        return hashable(needle) in collection
    if type(needle) is str:
        return needle in collection
    return any(equal(needle, item) for item in collection)


def hashable(key: Any) -> Any:
    """A key of a map.  Raises EvaluationFault for what cannot be one."""
    if type(key) in (str, int, Uint, bool):
        return key
    if type(key) is float:
        return int(key) if key == math.floor(key) else key
    raise EvaluationFault("unsupported key type")


def less(a: Any, b: Any) -> bool:
    return bool(a < b)


def less_or_equal(a: Any, b: Any) -> bool:
    return bool(a <= b)


def greater(a: Any, b: Any) -> bool:
    return bool(a > b)


def greater_or_equal(a: Any, b: Any) -> bool:
    return bool(a >= b)


# --- arithmetic


def checked(number: int) -> int:
    if not INT_MIN <= number <= INT_MAX:
        raise EvaluationFault("integer overflow")
    return number


def checked_unsigned(number: int) -> Uint:
    if not 0 <= number <= UINT_MAX:
        raise EvaluationFault("unsigned integer overflow")
    return Uint(number)


def add(a: Any, b: Any) -> Any:
    """Of strings, bytes, lists."""
    fits(len(a) + len(b))
    if not isinstance(a, UniqueList):
        return a + b
    new = {identity(a.key(item)): item for item in b}
    return a.like([*(new.pop(identity(a.key(item)), item) for item in a), *new.values()])


def add_ints(a: int, b: int) -> int:
    return checked(a + b)


def add_spans(a: Duration, b: Duration) -> Duration:
    return span(a.nanos + b.nanos)


def later(a: Any, b: Any) -> Timestamp:
    """A timestamp and a duration, in either order."""
    return bounded(a.nanos + b.nanos)


def earlier(a: Timestamp, b: Duration) -> Timestamp:
    return bounded(a.nanos - b.nanos)


def between(a: Any, b: Any) -> Duration:
    return span(a.nanos - b.nanos)


def divide(a: int, b: int) -> int:
    """Towards zero."""
    if b == 0:
        raise EvaluationFault("division by zero")
    quotient = abs(a) // abs(b)
    return checked(quotient if (a < 0) == (b < 0) else -quotient)


def divide_doubles(a: float, b: float) -> float:
    if b:
        return a / b
    return math.nan if not a or math.isnan(a) else math.copysign(math.inf, a) * math.copysign(1.0, b)


def remainder(a: int, b: int) -> int:
    """With the sign of the dividend."""
    if b == 0:
        raise EvaluationFault("modulus by zero")
    rest = abs(a) % abs(b)
    return -rest if a < 0 else rest


def unsigned(operation: Callable[[int, int], int]) -> Callable[[int, int], Uint]:
    return lambda a, b: checked_unsigned(operation(int(a), int(b)))


def index(container: Any, key: Any) -> Any:
    if isinstance(container, dict):
        try:
            return container[hashable(key)]
        except KeyError:
            raise EvaluationFault(f"no such key: {key}") from None
    position = key
    if type(key) is float and key != math.floor(key):
        raise EvaluationFault(f"unsupported index value: {key}")
    if not 0 <= position < len(container):
        raise EvaluationFault(f"index out of bounds: {position}")
    return container[int(position)]
