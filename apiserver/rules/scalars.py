"""Quantities in their one canonical form, and the scalars that the schema calls strings but Go parses.

For each type of object a plan is made once: the attributes that lead to quantities, times or base64 text, and what to
do there.  Following a plan touches nothing else of the object.
"""

import base64
import binascii
import re
from collections.abc import Callable
from functools import cache
from typing import Any

from api import quantities, schema
from apiserver.rules.shapes import Shape, struct

Step = Callable[[Any], Any]
Plan = tuple[tuple[str, Step], ...]

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:\d\d)")
LAYOUT = "2006-01-02T15:04:05Z07:00"


def settle(obj: Any, full: str) -> None:
    """Normalise the quantities of `obj`, whose definition is called `full`, in place and check its times and bytes.

    Raises ValueError in Go's words.
    """
    plan = _plan(full)
    if plan:
        _follow(obj, plan)


def _follow(obj: Any, plan: Plan) -> None:
    for attribute, step in plan:
        value = getattr(obj, attribute)
        if value or value == 0:
            new = step(value)
            if new is not value:
                setattr(obj, attribute, new)


@cache
def _plan(full: str) -> Plan:
    return _steps(struct(full), frozenset())


def _steps(shape: Shape, within: frozenset[str]) -> Plan:
    if shape.name in within:  # a schema that contains itself holds no quantities
        return ()
    inside = within | {shape.name}
    found = ((schema.attribute(name), _step(field, inside)) for name, field in shape.fields().items())
    return tuple((name, step) for name, step in found if step is not None)


def _step(shape: Shape, within: frozenset[str]) -> Step | None:
    match shape.kind:
        case "quantity":
            return quantities.canonical
        case "time":
            return _time
        case "bytes":
            return _bytes
        case "struct":
            plan = _steps(shape, within)
            return _in_struct(plan) if plan else None
        case "list" if shape.inner is not None and (step := _step(shape.inner, within)):
            return _in_list(step)
        case "map" if shape.inner is not None and (step := _step(shape.inner, within)):
            return _in_map(step)
    return None


def _in_struct(plan: Plan) -> Step:
    def step(value: Any) -> Any:
        _follow(value, plan)
        return value

    return step


def _in_list(each: Step) -> Step:
    def step(values: Any) -> Any:
        for i, value in enumerate(values):
            new = each(value)
            if new is not value:
                values[i] = new
        return values

    return step


def _in_map(each: Step) -> Step:
    def step(values: Any) -> Any:
        for key, value in values.items():
            new = each(value)
            if new is not value:
                values[key] = new
        return values

    return step


def _time(value: Any) -> Any:
    if not TIME.fullmatch(value):
        raise ValueError(f'parsing time "{value}" as "{LAYOUT}": cannot parse "{value}" as "2006"')
    return value


def _bytes(value: Any) -> Any:
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as e:
        good = re.match("[A-Za-z0-9+/]*", value)
        raise ValueError(f"illegal base64 data at input byte {good.end() if good else 0}") from e
    return value
