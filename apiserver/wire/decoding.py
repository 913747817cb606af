"""Protobuf messages → JSON values.

A message is walked once. What is met is looked up by the number and wire type that stand before each value, so an
unknown field costs a skip and nothing else.
"""

import struct
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from apiserver.wire import unions
from apiserver.wire.messages import Field, table
from apiserver.wire.values import FIXED64, LENGTH, READERS, SIZES, VARINT, Malformed, read_varint, signed, skip_to

Read = Callable[[bytes, int, int], Any]


class _Step(NamedTuple):
    """What to do with a value of one field."""

    shape: int
    name: str
    read: Read
    always: bool


_TEXT, _ONE, _MANY, _MAP, _INLINED, _PACKED, _NUMBER, _NUMBERS, _DOUBLE = range(9)
"""Shapes. The first six have a length; _TEXT is a single string, apart from the others because it is so frequent."""

_Plan = dict[int, _Step]
"""By number << 3 | wire type."""

_NUMBERS_OF: dict[str, Callable[[int], int | bool]] = {"int": signed, "bool": bool}


def read(name: str, body: bytes) -> dict[str, Any]:
    """The message called `name`.  Raises Malformed."""
    try:
        return _message(body, 0, len(body), _plans()[name])
    except Malformed:
        raise
    except (IndexError, struct.error):
        raise Malformed("unexpected EOF") from None
    except RecursionError:
        raise Malformed("proto: too deeply nested") from None
    except (ValueError, TypeError, OverflowError) as e:
        raise Malformed(str(e)) from e


def _message(body: bytes, at: int, end: int, plan: _Plan) -> dict[str, Any]:
    found: dict[str, Any] = {}
    step_of = plan.get
    while at < end:
        key = body[at]
        at += 1
        if key > 127:
            key, at = read_varint(body, at - 1)
        step = step_of(key)
        if step is None:
            at = _skip(body, at, end, key & 7)
            continue
        shape, name, reader, always = step
        if shape == _DOUBLE:
            found[name] = struct.unpack_from("<d", body, at)[0]
            at += 8
            continue
        size = body[at]
        at += 1
        if size > 127:
            size, at = read_varint(body, at - 1)
        if shape > _PACKED:
            if size or always or shape == _NUMBERS:
                _number(found, step, size)
            continue
        stop = at + size
        if stop > end:
            raise Malformed("unexpected EOF")
        if shape == _TEXT:
            if size or always:
                found[name] = body[at:stop].decode()
        elif shape == _ONE:
            # What Go holds by value it writes even when there is nothing in it.
            if size or always:
                value = reader(body, at, stop)
                if value or (always and value is not None):
                    found[name] = value
        elif shape == _MANY:
            value = reader(body, at, stop)
            if name in found:
                found[name].append(value)
            else:
                found[name] = [value]
        elif shape == _MAP:
            key, value = reader(body, at, stop)
            found.setdefault(name, {})[key] = value
        elif shape == _INLINED:
            found.update(reader(body, at, stop))
        else:
            found.setdefault(name, []).extend(reader(body, at, stop))
        at = stop
    if at != end:
        raise Malformed("unexpected EOF")
    return found


def _skip(body: bytes, at: int, end: int, wire: int) -> int:
    """Where an unknown field ends."""
    if wire == VARINT:
        return read_varint(body, at)[1]
    size, at = read_varint(body, at) if wire == LENGTH else (SIZES.get(wire, 0), at)
    return skip_to(body, at + size, end, wire)


def _number(found: dict[str, Any], step: _Step, value: int) -> None:
    number = step.read(b"", value, 0)
    if step.shape == _NUMBER:
        found[step.name] = number
    else:
        found.setdefault(step.name, []).append(number)


@cache
def _plans() -> dict[str, _Plan]:
    """One for each message; they refer to each other, so all exist before any is filled."""
    fields = table().fields
    plans: dict[str, _Plan] = {name: {} for name in fields}
    for name, plan in plans.items():
        for field in fields[name]:
            plan.update(_steps(field, plans))
    return plans


def _steps(field: Field, plans: dict[str, _Plan]) -> dict[int, _Step]:
    number, name, always = field.number << 3, field.name, field.always
    if field.type == "double":
        return {number | FIXED64: _Step(_DOUBLE, name, _nothing, always)}
    if field.type in _NUMBERS_OF:
        convert = _NUMBERS_OF[field.type]
        one = _Step(_NUMBERS if field.many else _NUMBER, name, lambda body, value, end: convert(value), always)
        packed = {number | LENGTH: _Step(_PACKED, name, _packed(convert), False)} if field.many else {}
        return {number | VARINT: one, **packed}
    reader = READERS.get(field.type) or _reader(field.type, plans[field.type])
    if field.many == "%":
        return {number | LENGTH: _Step(_MAP, name, _entry(reader), False)}
    single = _INLINED if name == "^" else _TEXT if field.type == "string" else _ONE
    return {number | LENGTH: _Step(_MANY if field.many else single, name, reader, always)}


def _reader(name: str, plan: _Plan) -> Read:
    if (choose := unions.FROM.get(name)) is not None:
        return lambda body, at, end: choose(_message(body, at, end, plan))
    return lambda body, at, end: _message(body, at, end, plan)


def _entry(value: Read) -> Read:
    """A map's entry: a message of a key and a value."""
    text = READERS["string"]
    plan = {1 << 3 | LENGTH: _Step(_TEXT, "k", text, True), 2 << 3 | LENGTH: _Step(_ONE, "v", value, True)}

    def read(body: bytes, at: int, end: int) -> tuple[str, Any]:
        entry = _message(body, at, end, plan)
        return entry.get("k", ""), entry["v"] if "v" in entry else value(b"", 0, 0)

    return read


def _packed(convert: Callable[[int], Any]) -> Read:
    """Numbers one after the other, as newer writers say a list of them."""

    def read(body: bytes, at: int, end: int) -> list[Any]:
        found: list[Any] = []
        while at < end:
            value, at = read_varint(body, at)
            found.append(convert(value))
        return found

    return read


def _nothing(body: bytes, at: int, end: int) -> None:
    """For what needs no reader."""
