"""What is wrong with a value beside its schema, in the words of upstream's validator (kube-openapi).

Ratcheting: on an update, what has not changed may stay as it is, however wrong.
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-ratcheting
"""

import math
from collections.abc import Iterator
from typing import Any

import msgspec

from api.paths import Fault, Path, invalid, required, show, too_long, too_many
from apiserver.customs import formats
from apiserver.customs.schemas import Schema

Faults = Iterator[Fault]
ABSENT: Any = object()
"""Stands for the old value where there is none."""
NOWHERE = "<nil>"
"""The path of faults of oneOf and the like: upstream tells them without one."""


def faults(value: Any, schema: Schema, path: str = "", old: Any = ABSENT) -> list[Fault]:
    """The faults of an object's document, or of a part of it at `path`."""
    return list(_faults(value, schema, path, old))


def _faults(value: Any, schema: Schema, path: str, old: Any) -> Faults:
    if unchanged(old, value, schema):
        return
    if value is None:
        yield from _type(value, schema, path)
        yield from _enum(value, schema, path)
        return
    yield from _type(value, schema, path)
    yield from _combinations(value, schema, path, old)
    if isinstance(value, str):
        yield from _string(value, schema, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _number(value, schema, path)
    elif isinstance(value, list):
        yield from _list(value, schema, path, old)
    yield from _enum(value, schema, path)
    if isinstance(value, dict):
        yield from _map(value, schema, path, old)


def same(a: Any, b: Any) -> bool:
    """Equality of JSON, in which true is not 1."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(v, b[k]) for k, v in a.items())
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def unchanged(old: Any, value: Any, schema: Schema | None) -> bool:
    """Whether a value says what it said before: the items of a list that is a map may stand in another order."""
    if old is ABSENT or schema is None:
        return old is not ABSENT and same(old, value)
    if isinstance(old, dict) and isinstance(value, dict):
        return old.keys() == value.keys() and all(unchanged(old[k], v, schema.entry(k)) for k, v in value.items())
    if not (isinstance(old, list) and isinstance(value, list)) or schema.list_type != "map" or same(old, value):
        return same(old, value)
    before = _correlated(old, schema)
    return len(old) == len(value) and all(unchanged(before(item), item, schema.items) for item in value)


_TYPES: dict[type, str] = {
    bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object",
    type(None): "null",
}  # fmt: skip


def type_of(value: Any) -> str:
    return _TYPES[type(value)]


def _type(value: Any, schema: Schema, path: str) -> Faults:
    if not schema.types:
        if isinstance(value, str):
            yield from _format(value, schema, path)
        return
    found = type_of(value)
    if found == "null":
        if not schema.nullable:
            yield _mistyped(path, ",".join(schema.types), found)
        return
    fits = (
        found in schema.types
        or (found == "integer" and "number" in schema.types)
        or (found == "number" and "integer" in schema.types and float(value).is_integer())
    )
    if not fits:
        yield _mistyped(path, ",".join(schema.types), found)
    elif found == "string":
        yield from _format(value, schema, path)


def _mistyped(path: str, wanted: str, found: str) -> Fault:
    why = f"{_named(path)} in body must be of type {wanted}: {show(found)}"
    return Fault("FieldValueTypeInvalid", _shown(path), f"Invalid value: {show(found)}: {why}")


def _format(value: str, schema: Schema, path: str) -> Faults:
    name = schema.source.get("format") or ""
    if name and not formats.fits(name, value):
        yield _mistyped(path, name, value)


def _string(value: str, schema: Schema, path: str) -> Faults:
    least, most = schema.source.get("minLength"), schema.source.get("maxLength")
    if most is not None and len(value) > most:
        yield too_long(Path(_shown(path)), most)
    if least is not None and len(value) < least:
        yield _wrong(path, value, f"should be at least {least} chars long")
    if schema.pattern is not None and not schema.pattern.search(value):
        yield _wrong(path, value, f"should match '{schema.source['pattern']}'")


def _number(value: int | float, schema: Schema, path: str) -> Faults:
    source = schema.source
    factor, most, least = source.get("multipleOf"), source.get("maximum"), source.get("minimum")
    if factor and not math.isclose(value / factor, round(value / factor), rel_tol=0, abs_tol=1e-9):
        yield _wrong(path, value, f"should be a multiple of {spelled(factor)}")
    if most is not None:
        if source.get("exclusiveMaximum"):
            if value >= most:
                yield _wrong(path, value, f"should be less than {spelled(most)}")
        elif value > most:
            yield _wrong(path, value, f"should be less than or equal to {spelled(most)}")
    if least is not None:
        if source.get("exclusiveMinimum"):
            if value <= least:
                yield _wrong(path, value, f"should be greater than {spelled(least)}")
        elif value < least:
            yield _wrong(path, value, f"should be greater than or equal to {spelled(least)}")
    if "integer" in schema.types or (not schema.types and isinstance(value, int)):
        yield from _range(value, schema, path)


_RANGES = {"int32": 31, "int64": 63}


def _range(value: int | float, schema: Schema, path: str) -> Faults:
    bits = _RANGES.get(schema.source.get("format") or "")
    if bits is not None and not -(2**bits) <= value < 2**bits:
        limit = f"Checked value must be of type integer with format {schema.source['format']} in body"
        yield Fault("FieldValueInvalid", _shown(path), f"Invalid value: {show(value)}: {limit}")


def spelled(number: int | float) -> str:
    """A number as Go prints it: 1 for 1.0."""
    return str(int(number)) if float(number).is_integer() and abs(number) < 1e21 else str(number)


def _list(value: list[Any], schema: Schema, path: str, old: Any) -> Faults:
    source = schema.source
    least, most = source.get("minItems"), source.get("maxItems")
    if schema.items is not None:
        before = _correlated(old, schema)
        for at, item in enumerate(value):
            yield from _faults(item, schema.items, f"{path}[{at}]", before(item))
    if least is not None and len(value) < least:
        yield _wrong(path, len(value), f"should have at least {least} items")
    if most is not None and len(value) > most:
        yield too_many(Path(_shown(path)), len(value), most)
    if source.get("uniqueItems") and _has_twins(value):
        yield _wrong(path, "", "shouldn't contain duplicates")


def _has_twins(value: list[Any]) -> bool:
    return len({msgspec.json.encode(item, order="sorted") for item in value}) < len(value)


def _correlated(old: Any, schema: Schema) -> Any:
    """From an item to what it was: only the items of lists that are maps are recognized again."""
    if schema.list_type != "map" or not isinstance(old, list):
        return lambda _: ABSENT
    known = {key: item for item in old if (key := key_of(item, schema)) is not None}
    return lambda item: known.get(key_of(item, schema) or b"", ABSENT)


def key_of(item: Any, schema: Schema) -> bytes | None:
    """What tells an item of a list that is a map from the others, as bytes that can be compared."""
    if not isinstance(item, dict):
        return None
    properties = schema.items.properties if schema.items is not None else {}
    key = {}
    for name in schema.list_keys:
        declared = properties.get(name)
        value = item.get(name, declared.default if declared is not None else None)
        if value is not None:
            key[name] = value
    return msgspec.json.encode(key, order="sorted")


def _map(value: dict[str, Any], schema: Schema, path: str, old: Any) -> Faults:
    source = schema.source
    least, most = source.get("minProperties"), source.get("maxProperties")
    if least is not None and len(value) < least:
        yield _wrong(path, len(value), f"should have at least {least} properties")
        return
    if most is not None and len(value) > most:
        yield too_many(Path(_shown(path)), len(value), most)
        return
    for name in source.get("required") or ():
        if name not in value:
            yield required(Path(f"{path}.{name}" if path else name))
    before = old if isinstance(old, dict) else {}
    for name, inner in value.items():
        declared = schema.entry(name)
        if declared is not None:
            at = f"{path}.{name}" if path else name
            yield from _faults(inner, declared, at, before.get(name, ABSENT))


def _enum(value: Any, schema: Schema, path: str) -> Faults:
    allowed = schema.source.get("enum")
    if allowed and not any(same(value, each) for each in allowed):
        words = (each if isinstance(each, str) else show(each) for each in allowed)
        listed = ", ".join(map(show, words))
        message = f"Unsupported value: {show(value)}: supported values: {listed}"
        yield Fault("FieldValueNotSupported", _shown(path), message)


def _combinations(value: Any, schema: Schema, path: str, old: Any) -> Faults:
    if schema.any_of:
        yield from _any_of(value, schema, path, old)
    if schema.one_of:
        yield from _one_of(value, schema, path, old)
    if schema.all_of:
        yield from _all_of(value, schema, path, old)
    if schema.excluded is not None and not list(_faults(value, schema.excluded, path, ABSENT)):
        yield _nowhere(f"{show(path)} must not validate the schema (not)")


def _any_of(value: Any, schema: Schema, path: str, old: Any) -> Faults:
    tried = [list(_faults(value, each, path, old)) for each in schema.any_of]
    if all(tried):
        yield _nowhere(f"{show(path)} must validate at least one schema (anyOf)")
        yield from min(tried, key=len)


def _one_of(value: Any, schema: Schema, path: str, old: Any) -> Faults:
    tried = [list(_faults(value, each, path, old)) for each in schema.one_of]
    fitting = sum(not found for found in tried)
    if fitting != 1:
        found = "Found none valid" if not fitting else f"Found {fitting} valid alternatives"
        yield _nowhere(f"{show(path)} must validate one and only one schema (oneOf). {found}")
        if not fitting:
            yield from min(tried, key=len)


def _all_of(value: Any, schema: Schema, path: str, old: Any) -> Faults:
    tried = [list(_faults(value, each, path, old)) for each in schema.all_of]
    for found in tried:
        yield from found
    if any(tried):
        yield _nowhere(f"{show(path)} must validate all the schemas (allOf){'. None validated' if all(tried) else ''}")


def _nowhere(why: str) -> Fault:
    return Fault("FieldValueInvalid", NOWHERE, f'Invalid value: "": {why}')


def _wrong(path: str, value: Any, why: str) -> Fault:
    return invalid(Path(_shown(path)), value, f"{_named(path)} in body {why}")


def _shown(path: str) -> str:
    return path or NOWHERE


def _named(path: str) -> str:
    return path
