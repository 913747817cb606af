"""Sets of fields in the form in which managedFields stores them (FieldsV1), and the algebra on them.

A set is a tree of plain dicts: a key is one step of a path (`f:spec`, `k:{"name":"web"}`, `v:"x"`, `i:0`), `{}` is a
member without anything below, and `"."` marks a member that also has members below it.  Working on the stored form
saves decoding and encoding every manager's fields on every write.  The empty set is None: `{}` is taken.

Sets are shared freely and never changed in place.
"""

import json
from collections.abc import Iterator
from typing import Any

import msgspec

FieldSet = dict[str, Any]
LEAF: FieldSet = {}
"""A member with nothing below it. Never written to."""
STEPS = {"f": 0, "k": 1, "v": 2, "i": 3}
_encode = msgspec.json.Encoder(order="sorted").encode


def union(a: FieldSet | None, b: FieldSet | None) -> FieldSet | None:
    if a is None or b is None or a is b:
        return b if a is None else a
    if not a or not b:
        whole = a or b
        return whole if "." in whole or not whole else {".": LEAF, **whole}
    out = dict(a)
    for step, below in b.items():
        mine = out.get(step)
        out[step] = below if mine is None else union(mine, below)
    return out


def difference(a: FieldSet | None, b: FieldSet | None) -> FieldSet | None:
    """Members of `a` that are not members of `b`."""
    if a is None or b is None:
        return a
    if not b:
        return {k: v for k, v in a.items() if k != "."} or None
    if not a:
        return None if "." in b else a
    out: FieldSet = {}
    for step, below in a.items():
        other = b.get(step)
        if other is None:
            out[step] = below
        elif step != "." and (rest := difference(below, other)) is not None:
            out[step] = rest
    return _tidy(out)


def without(a: FieldSet | None, b: FieldSet | None) -> FieldSet | None:
    """Members of `a` that are neither leaves of `b` nor below one."""
    if a is None or b is None:
        return a
    if not b:
        return None
    out: FieldSet = {}
    for step, below in a.items():
        other = b.get(step)
        if other is None:
            out[step] = below
        elif (rest := without(below, other)) is not None:
            out[step] = rest
    if not a:
        return a
    return _tidy(out)


def intersection(a: FieldSet | None, b: FieldSet | None) -> FieldSet | None:
    """Members of both."""
    if a is None or b is None:
        return None
    if not a:
        return LEAF if is_member(b) else None
    if not b:
        return LEAF if is_member(a) else None
    out: FieldSet = {}
    for step, below in a.items():
        if (common := intersection(below, b.get(step))) is not None:
            out[step] = common
    return _tidy(out)


def ordered(a: FieldSet | None) -> FieldSet | None:
    """The same set, written as upstream writes it: there are clients that compare the text.

    Without calling itself: what is stored may be nested more deeply than twice as many calls can be.
    """
    if not a:
        return a
    out: FieldSet = {}
    pending = [(a, out)]
    while pending:
        given, written = pending.pop()
        for step, below in sorted(given.items()):
            written[step] = below
            if below:
                written[step] = {}
                pending.append((below, written[step]))
    return out


def is_member(entry: FieldSet | None) -> bool:
    """Whether the path that leads to `entry` is itself in the set."""
    return entry is not None and (not entry or "." in entry)


def _tidy(out: FieldSet) -> FieldSet | None:
    if len(out) == 1 and "." in out:
        return LEAF
    return out or None


def paths(fields: FieldSet | None, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every member, the shallow ones first, in upstream's order."""
    steps = sorted((s for s in fields or () if s != "."), key=lambda s: (STEPS.get(s[0], 9), s))
    for step in steps:
        if is_member((fields or {})[step]):
            yield (*prefix, step)
    for step in steps:
        yield from paths((fields or {})[step], (*prefix, step))


def show(path: tuple[str, ...]) -> str:
    """A path as messages have it: `.spec.containers[name="web"].image`."""
    return "".join(show_step(step) for step in path)


def show_step(step: str) -> str:
    form, _, rest = step.partition(":")
    if form == "f":
        return f".{rest}"
    if form == "k":
        pairs = sorted(json.loads(rest).items())
        return "[" + ",".join(f"{k}={json.dumps(v, ensure_ascii=False)}" for k, v in pairs) + "]"
    return f"[={rest}]" if form == "v" else f"[{rest}]"


def key_step(key: dict[str, Any]) -> str:
    """The step to the item of a list with these values under its keys."""
    return "k:" + _encode(key).decode()


def value_step(value: Any) -> str:
    """The step to a member of a list of scalars that is a set."""
    return "v:" + _encode(value).decode()


class Malformed(ValueError):
    """What a client sent as managedFields is not that."""


def canonical(fields: Any) -> FieldSet | None:
    """A set that a client sent, with its steps written as ours are.  Raises Malformed if it is not one."""
    if not isinstance(fields, dict):
        raise Malformed("not a set of fields")
    out: FieldSet = {}
    for step, below in fields.items():
        out[step if step == "." else _canonical_step(step)] = canonical(below) or LEAF
    return _tidy(out)


def _canonical_step(step: str) -> str:
    form, _, rest = step.partition(":")
    if form == "f" or (form == "i" and rest.lstrip("-").isdigit()):
        return step
    try:
        parsed = json.loads(rest)
    except (ValueError, RecursionError) as e:
        raise Malformed(f"not a path element: {step}") from e
    if form == "k" and isinstance(parsed, dict):
        return key_step(parsed)
    if form != "v":
        raise Malformed(f"not a path element: {step}")
    return value_step(parsed)
