"""OpenAPI schemas → the types that expressions see.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from machinery.cel import values
from machinery.cel.faults import EvaluationFault
from machinery.cel.lexing import KEYWORDS, RESERVED
from machinery.cel.libraries.conversions import from_base64
from machinery.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    Field,
    Type,
    listed,
    mapped,
)
from machinery.cel.values import KeyedList, UniqueList

LONGEST_DOCUMENT = 3 * 1024 * 1024
_IDENTIFIER = re.compile(r"[a-zA-Z_.\-/$][a-zA-Z0-9_.\-/$]*", re.ASCII)
_ESCAPES = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}
_TO_ESCAPE = re.compile(r"__|\.|-|/")

Schema = Mapping[str, Any]


def escape(name: str) -> str:
    """A property's name as expressions write it; "" if they cannot."""
    if not _IDENTIFIER.fullmatch(name) or "$" in name:
        return ""
    if name in KEYWORDS or name in RESERVED:
        return f"__{name}__"
    return _TO_ESCAPE.sub(lambda found: _ESCAPES[found[0]], name)


_TO_UNESCAPE = {escaped: plain for plain, escaped in _ESCAPES.items()}
_ESCAPED = re.compile("|".join(_TO_UNESCAPE))


def unescape(name: str) -> str:
    """The property that an expression means by a name."""
    if name.startswith("__") and name.endswith("__") and (name[2:-2] in KEYWORDS or name[2:-2] in RESERVED):
        return name[2:-2]
    return _ESCAPED.sub(lambda found: _TO_UNESCAPE[found[0]], name)


def declared(schema: Schema, *, root: bool = False, name: str = "object", keywords: bool = False) -> Type | None:
    """The type of what a schema describes; None if expressions cannot see it.

    `root`: it is a whole object, whose kind, apiVersion and metadata's names are always there.  `name` is the type's
    in messages.  `keywords`: fields that are reserved words can be written without escapes too.
    """
    if schema.get("x-kubernetes-int-or-string"):
        longest = schema.get("maxLength")
        most = max(longest, 0) * 4 if longest is not None else LONGEST_DOCUMENT - 2
        return replace(DYN, most=most, least_bytes=1)
    if root or schema.get("x-kubernetes-embedded-resource"):
        schema = _with_identity(schema)
    match schema.get("type"):
        case "array":
            return _array(schema, name, keywords)
        case "object":
            return _object(schema, name, keywords)
        case "string":
            return _string(schema)
        case "boolean":
            return replace(BOOL, most=0, least_bytes=4)
        case "number":
            return replace(DOUBLE, most=0, least_bytes=1, convert=_number)
        case "integer":
            return replace(INT, most=0, least_bytes=1, convert=_integer)
    return None


_TEXT = {"type": "string"}


def _with_identity(schema: Schema) -> Schema:
    properties = schema.get("properties") or {}
    metadata = properties.get("metadata") or {}
    identity = {"type": "object", "properties": {"name": _TEXT, "generateName": _TEXT}}
    if {"name", "generateName"} <= set(metadata.get("properties") or {}):
        identity = metadata
    properties = {**properties, "kind": _TEXT, "apiVersion": _TEXT, "metadata": identity}
    return {**schema, "type": "object", "properties": properties}


def _array(schema: Schema, name: str, keywords: bool) -> Type | None:
    items = schema.get("items")
    element = declared(items, name=f"{name}.@idx", keywords=keywords) if isinstance(items, Mapping) else None
    if element is None:
        return None
    most = schema.get("maxItems")
    if most is None:
        most = (LONGEST_DOCUMENT - 2) // (element.least_bytes + 1)
    convert = _each(element.convert) if element.convert is not None else None
    return _by_list_type(listed(element, max(most, 0), convert), schema)


def _by_list_type(t: Type, schema: Schema) -> Type:
    """Sets and maps in lists are compared and added as such."""
    match schema.get("x-kubernetes-list-type"):
        case "set":
            return replace(t, convert=_after(t.convert, UniqueList))
        case "map":
            keys = tuple(schema.get("x-kubernetes-list-map-keys") or ())
            return replace(t, convert=_after(t.convert, lambda items: KeyedList(items, keys)))
    return t


def _after(first: Callable[[Any], Any] | None, then: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        if not isinstance(value, list):
            return value
        return then(first(value) if first is not None else value)

    return convert


def _object(schema: Schema, name: str, keywords: bool) -> Type | None:
    additional = schema.get("additionalProperties")
    if isinstance(additional, Mapping):
        value = declared(additional, name=f"{name}.@elem", keywords=keywords)
        if value is None:
            return None
        most = schema.get("maxProperties")
        if most is None:
            most = (LONGEST_DOCUMENT - 2) // (value.least_bytes + 6)
        convert = _each_value(value.convert) if value.convert is not None else None
        return mapped(replace(STRING, most=LONGEST_DOCUMENT - 2), value, max(most, 0), convert)
    fields: dict[str, Field] = {}
    least, required = 2, set(schema.get("required") or ())
    for prop, inner in (schema.get("properties") or {}).items():
        escaped = escape(prop)
        found = declared(inner, name=f"{name}.{escaped}", keywords=keywords)
        if found is None:
            continue
        if escaped:
            fields[escaped] = Field(prop, found)
        if prop in required and inner.get("default") is None:
            least += len(prop) + found.least_bytes + 4
    converts = {f.property: f.type.convert for f in fields.values() if f.type.convert is not None}
    convert = _each_field(converts) if converts else None
    return Type("struct", name, fields=fields, most=0, least_bytes=least, convert=convert, keywords=keywords)


def _string(schema: Schema) -> Type:
    longest = schema.get("maxLength")
    whole = LONGEST_DOCUMENT - 2
    match schema.get("format"):
        case "byte":
            most = max(longest, 0) if longest is not None else whole
            return replace(BYTES, most=most, least_bytes=2, convert=_of_text(from_base64))
        case "duration":
            return replace(DURATION, most=32, least_bytes=3, convert=_of_text(values.duration))
        case "date":
            return replace(TIMESTAMP, most=12, least_bytes=12, convert=_of_text(_date))
        case "date-time":
            return replace(TIMESTAMP, most=32, least_bytes=21, convert=_of_text(values.timestamp))
    if longest is not None:
        return replace(STRING, most=max(longest, 0) * 4, least_bytes=2)
    if schema.get("enum"):
        return replace(STRING, most=max(len(v) for v in schema["enum"] if isinstance(v, str)), least_bytes=2)
    return replace(STRING, most=whole, least_bytes=2)


# --- values


def _number(value: Any) -> Any:
    return float(value) if type(value) is int else value


def _integer(value: Any) -> Any:
    return int(value) if type(value) is float and value.is_integer() else value


def _date(text: str) -> values.Timestamp:
    return values.timestamp(f"{text}T00:00:00Z")


def _of_text(parse: Callable[[str], Any]) -> Callable[[Any], Any]:
    """What is malformed stays text: the schema's own validation speaks about it."""

    def convert(value: Any) -> Any:
        if type(value) is not str:
            return value
        try:
            return parse(value)
        except EvaluationFault:
            return value

    return convert


def _each(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: [convert(v) for v in value] if isinstance(value, list) else value


def _each_value(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: {k: convert(v) for k, v in value.items()} if isinstance(value, dict) else value


def _each_field(converts: Mapping[str, Callable[[Any], Any]]) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        changed = dict(value)
        for name, change in converts.items():
            if name in changed:
                changed[name] = change(changed[name])
        return changed

    return convert
