"""Values that JSON does not have.

CEL's other values are Python's: None, bool, int (of 64 bits), float, str, bytes, list, dict.
"""

import base64
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from machinery.cel.faults import EvaluationFault

INT_MIN, INT_MAX = -(2**63), 2**63 - 1
UINT_MAX = 2**64 - 1
NANOS = 1_000_000_000


class Uint(int):
    """An unsigned integer; plain `int` is the signed one."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    nanos: int

    def __str__(self) -> str:
        """As protobuf's JSON has it: seconds."""
        whole, rest = divmod(abs(self.nanos), NANOS)
        fraction = f".{rest:09d}".rstrip("0") if rest else ""
        return f"{'-' if self.nanos < 0 else ''}{whole}{fraction}s"


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST = -62135596800 * NANOS
LATEST = 253402300800 * NANOS - 1


@dataclass(frozen=True, slots=True, order=True)
class Timestamp:
    """Nanoseconds since 1970."""

    nanos: int

    def at(self) -> datetime:
        """To the microsecond, below which datetime cannot see."""
        return _EPOCH + timedelta(microseconds=self.nanos // 1000)

    def __str__(self) -> str:
        whole, rest = divmod(self.nanos, NANOS)
        fraction = f".{rest:09d}".rstrip("0") if rest else ""
        return f"{(_EPOCH + timedelta(seconds=whole)).strftime('%Y-%m-%dT%H:%M:%S').rjust(19, '0')}{fraction}Z"


@dataclass(frozen=True, slots=True)
class Optional:
    """`NOTHING`, or something (which may be null)."""

    value: Any = None
    present: bool = True


NOTHING = Optional(None, False)


@dataclass(frozen=True, slots=True)
class TypeValue:
    """What `type(x)` is."""

    name: str


class Instance(dict[str, Any]):
    """An object that an expression has made: `Object.spec{replicas: 3}`. `type` is its name."""

    __slots__ = ("type",)

    def __init__(self, name: str, fields: dict[str, Any]) -> None:
        super().__init__(fields)
        self.type = name


class Defaulted(dict[str, Any]):
    """A map in which every key is found, with an empty map where there was nothing; only `in` tells the difference."""

    __slots__ = ()

    def __missing__(self, _: str) -> dict[str, Any]:
        return {}


class UniqueList(list[Any]):
    """A list that is a set: its order does not matter, and what is added to it is there once."""

    __slots__ = ()

    def key(self, item: Any) -> Any:
        return item

    def like(self, items: list[Any]) -> "UniqueList":
        return UniqueList(items)


class KeyedList(UniqueList):
    """A list that is a map by some fields of its items: adding replaces those with the same."""

    __slots__ = ("keys",)

    def __init__(self, items: list[Any], keys: tuple[str, ...]) -> None:
        super().__init__(items)
        self.keys = keys

    def key(self, item: Any) -> Any:
        return [item.get(k) if isinstance(item, dict) else None for k in self.keys]

    def like(self, items: list[Any]) -> "KeyedList":
        return KeyedList(items, self.keys)


class Selectable(ABC):
    """A value whose fields are worked out when they are asked for."""

    @abstractmethod
    def select(self, field: str) -> Any:
        """Raises EvaluationFault."""

    @abstractmethod
    def has(self, field: str) -> bool: ...


_TIMESTAMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?(?:([Zz])|([+-])(\d\d):(\d\d))"
)


def timestamp(text: str) -> Timestamp:
    """RFC 3339 → Timestamp.  Raises EvaluationFault."""
    found = _TIMESTAMP.fullmatch(text)
    if not found:
        raise EvaluationFault(f'invalid timestamp "{text}"')
    year, month, day, hour, minute, second = map(int, found.groups()[:6])
    try:
        seconds = round((datetime(year, month, day, hour, minute, second, tzinfo=UTC) - _EPOCH).total_seconds())
    except ValueError as e:
        raise EvaluationFault(f'invalid timestamp "{text}"') from e
    if found[9]:
        away = (int(found[10]) * 60 + int(found[11])) * 60
        seconds += -away if found[9] == "+" else away
    return bounded(seconds * NANOS + int((found[7] or "0").ljust(9, "0")))


def bounded(nanos: int) -> Timestamp:
    """Raises EvaluationFault for what is no year between 1 and 9999."""
    if not EARLIEST <= nanos <= LATEST:
        raise EvaluationFault("timestamp overflow")
    return Timestamp(nanos)


def span(nanos: int) -> Duration:
    if not INT_MIN <= nanos <= INT_MAX:
        raise EvaluationFault("duration overflow")
    return Duration(nanos)


_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": NANOS,
    "m": 60 * NANOS,
    "h": 3600 * NANOS,
}
_DURATION = re.compile(r"([+-]?)((?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+)")
_PART = re.compile(r"(\d*)\.?(\d*)(ns|us|µs|μs|ms|s|m|h)")
MOST_DIGITS = 19


def duration(text: str) -> Duration:
    """Go's form, `1h30m`, → Duration.  Raises EvaluationFault."""
    if text in ("0", "+0", "-0"):
        return Duration(0)
    found = _DURATION.fullmatch(text)
    if not found:
        raise EvaluationFault(f'time: invalid duration "{text}"')
    nanos = 0
    for whole, fraction, unit in _PART.findall(found[2]):
        size, whole, fraction = _UNITS[unit], whole.lstrip("0"), fraction[:MOST_DIGITS]
        # Nobody could wait for more, and Python makes no integer of thousands of digits.
        if len(whole) > MOST_DIGITS:
            raise EvaluationFault("duration overflow")
        nanos += int(whole or 0) * size + (int(fraction) * size // 10 ** len(fraction) if fraction else 0)
    return span(-nanos if found[1] == "-" else nanos)


def to_json(value: Any) -> Any:
    """A CEL value → what JSON has for it.  Raises EvaluationFault if there is nothing."""
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if isinstance(value, list):
        return [to_json(v) for v in value]
    if isinstance(value, dict):
        return {_key(k): to_json(v) for k, v in value.items()}
    if kind is Uint:
        return int(value)
    if kind in (Timestamp, Duration):
        return str(value)
    if kind is bytes:
        return base64.b64encode(value).decode()
    raise EvaluationFault(f"a value of type {kind.__name__.lower()} cannot be part of an object")


def _key(key: Any) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)
