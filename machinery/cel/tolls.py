"""What a call costs while an expression is evaluated, in upstream's units.

A unit is about the time of reading a field.  The figures decide which requests are refused for costing too much, so
they are Kubernetes' own: https://kubernetes.io/docs/reference/using-api/cel/#resource-constraints
"""

from collections.abc import Callable, Sequence
from math import ceil
from typing import Any

TRAVERSAL = 0.1
"""Of one character or byte."""
REGEX_LENGTH = 0.25
LIST = 10
MAP = 30
STRUCT = 40
CHECK = 350_000
"""An authorization check; an expression has room for two."""

Toll = Callable[[Sequence[Any], Any], int]


def size(value: Any) -> int:
    return len(value) if isinstance(value, (str, bytes, list, dict)) else 1


def walk(value: Any) -> int:
    """The cost of looking at everything in a value."""
    if isinstance(value, (str, bytes)):
        return int(len(value) * TRAVERSAL)
    if isinstance(value, list):
        return sum(map(walk, value))
    if isinstance(value, dict):
        return sum(walk(k) + walk(v) for k, v in value.items())
    return 1


def _first(factor: float) -> Toll:
    return lambda values, _: ceil(size(values[0]) * factor)


def _matching(values: Sequence[Any], _: Any) -> int:
    return ceil((1 + size(values[0])) * TRAVERSAL) * ceil(size(values[1]) * REGEX_LENGTH)


def _containing(values: Sequence[Any], _: Any) -> int:
    return ceil(size(values[0]) * TRAVERSAL) * ceil(size(values[1]) * TRAVERSAL)


def _comparing(values: Sequence[Any], _: Any) -> int:
    return ceil(min(size(values[0]), size(values[1])) * TRAVERSAL)


def _ordering(values: Sequence[Any], result: Any) -> int:
    return _comparing(values, result) if isinstance(values[0], (str, bytes)) else 1


def _adding(values: Sequence[Any], _: Any) -> int:
    if isinstance(values[0], (str, bytes)):
        return ceil((len(values[0]) + size(values[1])) * TRAVERSAL)
    return 1


def _including(values: Sequence[Any], _: Any) -> int:
    return len(values[1]) if isinstance(values[1], list) else 1


def _walking(values: Sequence[Any], _: Any) -> int:
    return walk(values[0])


def _joining(_: Sequence[Any], result: Any) -> int:
    return ceil(size(result) * 2 * TRAVERSAL)


def _pairing(values: Sequence[Any], _: Any) -> int:
    return size(values[0]) * size(values[1])


def _both(values: Sequence[Any], result: Any) -> int:
    return 2 * _pairing(values, result)


def _network(values: Sequence[Any], _: Any) -> int:
    return ceil(2 * 16 * TRAVERSAL) + (ceil(size(values[1]) * TRAVERSAL) if isinstance(values[1], str) else 1)


def _text_only(values: Sequence[Any], result: Any) -> int:
    return ceil(size(values[0]) * TRAVERSAL) if isinstance(values[0], (str, bytes)) else 1


def _validating(values: Sequence[Any], _: Any) -> int:
    return ceil((1 + size(values[1])) * TRAVERSAL) * ceil(60 * REGEX_LENGTH)


_TOLLS: dict[str, Toll] = {
    "check": lambda values, _: CHECK,
    "_+_": _adding,
    "_==_": _comparing,
    "_!=_": _comparing,
    "@in": _including,
    "matches": _matching,
    "find": _matching,
    "findAll": _matching,
    "contains": _containing,
    "validate": _validating,
    "join": _joining,
    "startsWith": _first(TRAVERSAL),
    "endsWith": _first(TRAVERSAL),
    "bytes": _text_only,
    "string": _text_only,
    "format": _first(TRAVERSAL),
    "strings.quote": _first(TRAVERSAL),
    "sets.contains": _pairing,
    "sets.intersects": _pairing,
    "sets.equivalent": _both,
    "containsIP": _network,
    "containsCIDR": _network,
    "ip.isCanonical": _first(2 * TRAVERSAL),
    "ip": _text_only,
    **dict.fromkeys(("_<_", "_<=_", "_>_", "_>=_"), _ordering),
    **dict.fromkeys(("isSorted", "sum", "max", "min", "indexOf", "lastIndexOf"), _walking),
    **dict.fromkeys(("url", "lowerAscii", "upperAscii", "substring", "trim"), _first(TRAVERSAL)),
    **dict.fromkeys(("replace", "split"), _first(2 * TRAVERSAL)),
    **dict.fromkeys(("cidr", "isIP", "isCIDR", "quantity", "isQuantity"), _first(TRAVERSAL)),
    **dict.fromkeys(("semver", "isSemver"), _first(TRAVERSAL)),
}


def toll(function: str) -> Toll | None:
    """None: 1."""
    return _TOLLS.get(function)
