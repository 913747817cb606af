"""JSON values → protobuf messages. What JSON does not say is left out: whoever reads takes zero for it."""

import struct
from collections.abc import Callable
from functools import cache
from typing import Any

from apiserver.wire import unions
from apiserver.wire.messages import Field, table
from apiserver.wire.values import FIXED64, LENGTH, VARINT, WRITERS, sized, tag, unsigned, varint

Write = Callable[[Any], bytes]


class _Plan:
    """How one message is written."""

    __slots__ = ("fields", "inlined")

    def __init__(self) -> None:
        self.fields: dict[str, Write] = {}
        """By the name of a field: its value → all its bytes, tags included."""
        self.inlined: list[tuple[bytes, _Plan]] = []
        """Messages whose fields stand in the same JSON object: (tag, how)."""


def write(name: str, value: dict[str, Any]) -> bytes:
    """The message called `name`. Fields that it does not have are left out."""
    return _message(value, _plans()[name])


def _message(value: dict[str, Any], plan: _Plan) -> bytes:
    fields = plan.fields
    parts = [say(value[name]) for name in value if (say := fields.get(name)) is not None and value[name] is not None]
    for lead, inner in plan.inlined:
        body = _message(value, inner)
        parts += (lead, varint(len(body)), body)
    return b"".join(parts)


@cache
def _plans() -> dict[str, _Plan]:
    fields = table().fields
    plans = {name: _Plan() for name in fields}
    for name, plan in plans.items():
        for field in fields[name]:
            if field.name == "^":
                plan.inlined.append((tag(field.number, LENGTH), plans[field.type]))
            else:
                plan.fields[field.name] = _writer(field, plans)
    return plans


def _writer(field: Field, plans: dict[str, _Plan]) -> Write:
    if field.type in ("int", "bool", "double"):
        return _number(field)
    lead = tag(field.number, LENGTH)
    say = WRITERS.get(field.type) or _sayer(field.type, plans[field.type])
    if field.many == "*":
        return lambda values: b"".join([lead + sized(say(value)) for value in values])
    if field.many == "%":
        return lambda entries: b"".join([_entry(lead, key, say(value)) for key, value in entries.items()])

    def one(value: Any) -> bytes:
        body = say(value)
        return lead + varint(len(body)) + body

    return one


def _sayer(name: str, plan: _Plan) -> Write:
    if (choice := unions.TO.get(name)) is not None:
        return lambda value: _message(choice(value), plan)
    return lambda value: _message(value, plan)


def _entry(lead: bytes, key: str, body: bytes) -> bytes:
    return lead + sized(b"\x0a" + sized(key.encode()) + b"\x12" + sized(body))


def _number(field: Field) -> Write:
    lead = tag(field.number, FIXED64 if field.type == "double" else VARINT)
    say: Write = _double if field.type == "double" else unsigned
    if field.many:
        return lambda values: b"".join([lead + say(value) for value in values])
    return lambda value: lead + say(value)


def _double(value: float) -> bytes:
    return struct.pack("<d", value)
