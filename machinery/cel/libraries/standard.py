"""Operators, sizes, and the functions of strings and timestamps that CEL always has."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from machinery.cel import operators
from machinery.cel.faults import EvaluationFault
from machinery.cel.libraries.declaring import Declared, function, member
from machinery.cel.libraries.regexes import matches
from machinery.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    LIST_OF_A,
    MAP_OF_ANY,
    STRING,
    TIMESTAMP,
    UINT,
    A,
    K,
    V,
)
from machinery.cel.values import NANOS, Duration, Timestamp

NUMERIC = (INT, UINT, DOUBLE)


def _never(*_: Any) -> Any:
    raise AssertionError("the planner has its own way for this operator")


def _arithmetic() -> Iterator[Declared]:
    for t in (BYTES, STRING):
        yield function("_+_", f"add_{t}", (t, t), t, operators.add)
    yield function("_+_", "add_list", (LIST_OF_A, LIST_OF_A), LIST_OF_A, operators.add)
    yield function("_+_", "add_double", (DOUBLE, DOUBLE), DOUBLE, lambda a, b: a + b)
    yield function("_+_", "add_int64", (INT, INT), INT, operators.add_ints)
    yield function("_+_", "add_uint64", (UINT, UINT), UINT, operators.unsigned(lambda a, b: a + b))
    yield function("_+_", "add_duration_duration", (DURATION, DURATION), DURATION, operators.add_spans)
    yield function("_+_", "add_duration_timestamp", (DURATION, TIMESTAMP), TIMESTAMP, operators.later)
    yield function("_+_", "add_timestamp_duration", (TIMESTAMP, DURATION), TIMESTAMP, operators.later)
    yield function("_-_", "subtract_double", (DOUBLE, DOUBLE), DOUBLE, lambda a, b: a - b)
    yield function("_-_", "subtract_int64", (INT, INT), INT, lambda a, b: operators.checked(a - b))
    yield function("_-_", "subtract_uint64", (UINT, UINT), UINT, operators.unsigned(lambda a, b: a - b))
    yield function("_-_", "subtract_duration_duration", (DURATION, DURATION), DURATION, operators.between)
    yield function("_-_", "subtract_timestamp_duration", (TIMESTAMP, DURATION), TIMESTAMP, operators.earlier)
    yield function("_-_", "subtract_timestamp_timestamp", (TIMESTAMP, TIMESTAMP), DURATION, operators.between)
    yield function("_*_", "multiply_double", (DOUBLE, DOUBLE), DOUBLE, lambda a, b: a * b)
    yield function("_*_", "multiply_int64", (INT, INT), INT, lambda a, b: operators.checked(a * b))
    yield function("_*_", "multiply_uint64", (UINT, UINT), UINT, operators.unsigned(lambda a, b: a * b))
    yield function("_/_", "divide_double", (DOUBLE, DOUBLE), DOUBLE, operators.divide_doubles)
    yield function("_/_", "divide_int64", (INT, INT), INT, operators.divide)
    yield function("_/_", "divide_uint64", (UINT, UINT), UINT, operators.unsigned(operators.divide))
    yield function("_%_", "modulo_int64", (INT, INT), INT, operators.remainder)
    yield function("_%_", "modulo_uint64", (UINT, UINT), UINT, operators.unsigned(operators.remainder))
    yield function("-_", "negate_double", (DOUBLE,), DOUBLE, lambda a: -a)
    yield function("-_", "negate_int64", (INT,), INT, lambda a: operators.checked(-a))


def _comparisons() -> Iterator[Declared]:
    relations = {
        "_<_": ("less", operators.less),
        "_<=_": ("less_equals", operators.less_or_equal),
        "_>_": ("greater", operators.greater),
        "_>=_": ("greater_equals", operators.greater_or_equal),
    }
    for name, (word, run) in relations.items():
        for t in (BOOL, STRING, BYTES, TIMESTAMP, DURATION):
            yield function(name, f"{word}_{t}", (t, t), BOOL, run)
        for a in NUMERIC:
            for b in NUMERIC:
                yield function(name, f"{word}_{a}_{b}", (a, b), BOOL, run)
    yield function("_==_", "equals", (A, A), BOOL, operators.equal)
    yield function("_!=_", "not_equals", (A, A), BOOL, lambda a, b: not operators.equal(a, b))


def _logic() -> Iterator[Declared]:
    yield function("_?_:_", "conditional", (BOOL, A, A), A, _never)
    yield function("_&&_", "logical_and", (BOOL, BOOL), BOOL, _never)
    yield function("_||_", "logical_or", (BOOL, BOOL), BOOL, _never)
    yield function("!_", "logical_not", (BOOL,), BOOL, lambda a: not a)
    yield function("@not_strictly_false", "not_strictly_false", (BOOL,), BOOL, _never)
    yield function("_[_]", "index_list", (LIST_OF_A, INT), A, operators.index)
    yield function("_[_]", "index_map", (MAP_OF_ANY, K), V, operators.index)
    yield function("@in", "in_list", (A, LIST_OF_A), BOOL, operators.contains)
    yield function("@in", "in_map", (K, MAP_OF_ANY), BOOL, operators.contains)
    yield function("dyn", "to_dyn", (A,), DYN, lambda a: a)


def _text() -> Iterator[Declared]:
    for t in (BYTES, LIST_OF_A, STRING, MAP_OF_ANY):
        yield function("size", f"size_{t.name}", (t,), INT, len)
        yield member("size", f"{t.name}_size", (t,), INT, len)
    yield member("contains", "contains_string", (STRING, STRING), BOOL, lambda a, b: b in a)
    yield member("endsWith", "ends_with_string", (STRING, STRING), BOOL, str.endswith)
    yield member("startsWith", "starts_with_string", (STRING, STRING), BOOL, str.startswith)
    yield function("matches", "matches", (STRING, STRING), BOOL, matches)
    yield member("matches", "matches_string", (STRING, STRING), BOOL, matches)


def _zone(name: str) -> tzinfo:
    """An IANA name, or `-08:00`.  Raises EvaluationFault."""
    sign, hours, minutes = name[:1], name.lstrip("+-").partition(":")[0], name.partition(":")[2]
    if hours.isdigit() and minutes.isdigit():
        away = timedelta(hours=int(hours), minutes=int(minutes))
        if away < timedelta(hours=24):
            return timezone(-away if sign == "-" else away)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as e:
        raise EvaluationFault(f"unknown time zone {name}") from e


_PARTS: dict[str, Callable[[datetime], int]] = {
    "getFullYear": lambda t: t.year,
    "getMonth": lambda t: t.month - 1,
    "getDayOfYear": lambda t: t.timetuple().tm_yday - 1,
    "getDayOfMonth": lambda t: t.day - 1,
    "getDate": lambda t: t.day,
    "getDayOfWeek": lambda t: t.isoweekday() % 7,
    "getHours": lambda t: t.hour,
    "getMinutes": lambda t: t.minute,
    "getSeconds": lambda t: t.second,
    "getMilliseconds": lambda t: t.microsecond // 1000,
}
_SPANS = {"getHours": 3600 * NANOS, "getMinutes": 60 * NANOS, "getSeconds": NANOS}


def _times() -> Iterator[Declared]:
    for name, part in _PARTS.items():
        yield member(name, f"timestamp_{name}", (TIMESTAMP,), INT, _of_time(part))
        yield member(name, f"timestamp_{name}_with_tz", (TIMESTAMP, STRING), INT, _of_local_time(part))
    for name, size in _SPANS.items():
        yield member(name, f"duration_{name}", (DURATION,), INT, _of_span(size))
    yield member("getMilliseconds", "duration_getMilliseconds", (DURATION,), INT, _milliseconds)


def _of_time(part: Callable[[datetime], int]) -> Callable[[Timestamp], int]:
    return lambda t: part(t.at())


def _of_local_time(part: Callable[[datetime], int]) -> Callable[[Timestamp, str], int]:
    def run(t: Timestamp, zone: str) -> int:
        try:
            return part(t.at().astimezone(_zone(zone)))
        except OverflowError as e:
            raise EvaluationFault("timestamp overflow") from e

    return run


def _of_span(size: int) -> Callable[[Duration], int]:
    return lambda d: operators.divide(d.nanos, size)


def _milliseconds(d: Duration) -> int:
    return operators.divide(d.nanos, 1_000_000)


def insert(entries: dict[Any, Any], key: Any, value: Any) -> dict[Any, Any]:
    """What `transformMap` makes its map with; the map belongs to the fold alone."""
    found = operators.hashable(key)
    if found in entries:
        raise EvaluationFault(f"insert failed: key {key} already exists")
    entries[found] = value
    return entries


def insert_all(entries: dict[Any, Any], more: dict[Any, Any]) -> dict[Any, Any]:
    for key, value in more.items():
        insert(entries, key, value)
    return entries


def _maps() -> Iterator[Declared]:
    yield function("cel.@mapInsert", "@mapInsert_map_key_value", (MAP_OF_ANY, K, V), MAP_OF_ANY, insert)
    yield function("cel.@mapInsert", "@mapInsert_map_map", (MAP_OF_ANY, MAP_OF_ANY), MAP_OF_ANY, insert_all)


OVERLOADS: list[Declared] = [*_arithmetic(), *_comparisons(), *_logic(), *_text(), *_times(), *_maps()]
