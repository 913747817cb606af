"""Values of the wrong JSON type, and nulls: what Go's decoder does with them, and its words.

Only documents that msgspec refused come here, so nothing in this module needs to be quick.
"""

from typing import Any

from api import quantities
from apiserver.rules.shapes import Shape

BOUNDS = {"int32": 2**31, "int64": 2**63}


def without_nulls(value: Any, shape: Shape) -> Any:
    """The document with each null as Go reads it: an absent field, or the zero value in a list or map."""
    if isinstance(value, dict):
        if shape.kind == "struct":
            fields = shape.fields()
            return {k: without_nulls(v, fields[k]) if k in fields else v for k, v in value.items() if v is not None}
        if shape.kind == "map" and shape.inner is not None:
            return {k: _or_zero(v, shape.inner) for k, v in value.items()}
    if isinstance(value, list) and shape.kind == "list" and shape.inner is not None:
        return [_or_zero(v, shape.inner) for v in value]
    return value


def _or_zero(value: Any, shape: Shape) -> Any:
    if value is not None:
        return without_nulls(value, shape)
    zero = {"struct": {}, "map": {}, "list": [], "int": 0, "number": 0, "bool": False, "quantity": "0"}
    return zero.get(shape.kind, "" if shape.kind != "free" else None)


def first_mismatch(value: Any, shape: Shape) -> str | None:
    """What Go says of the first value, in the order of the document, that does not fit; None if all fit."""
    return _find(value, shape, "", "")


def _find(value: Any, shape: Shape, owner: str, path: str) -> str | None:
    if value is None or shape.kind == "free":
        return None
    match shape.kind:
        case "struct" if isinstance(value, dict):
            fields = shape.fields()
            for name, item in value.items():
                if name in fields:
                    at = f"{path}.{name}" if path else name
                    if found := _find(item, fields[name], shape.struct, at):
                        return found
            return None
        case "map" | "list" if isinstance(value, dict if shape.kind == "map" else list):
            assert shape.inner is not None
            for item in value.values() if isinstance(value, dict) else value:
                if found := _find(item, shape.inner, owner, path):
                    return found
            return None
        case "string" | "bytes" if isinstance(value, str):
            return None
        case "bool" if isinstance(value, bool):
            return None
        case "number" if isinstance(value, int | float) and not isinstance(value, bool):
            return None
        case "int" if isinstance(value, int) and not isinstance(value, bool) and _fits(value, shape.go):
            return None
        case "intorstring":
            if isinstance(value, str) or (_is_int(value) and _fits(value, "int32")):
                return None
            return f"json: cannot unmarshal {_json_kind(value, number=True)} into Go value of type int32"
        case "quantity":
            return _quantity(value)
        case "time":
            if isinstance(value, str):
                return None
            return f"json: cannot unmarshal {_json_kind(value)} into Go value of type string"
    shown = _json_kind(value, number=shape.kind == "int")
    where = f"struct field {owner}.{path}" if path else "value"
    return f"json: cannot unmarshal {shown} into Go {where} of type {shape.go}"


def first_unrestorable(value: Any, shape: Shape) -> str | None:
    """The same for a tree that upstream turns into an object without a text in between; None if its words are those
    of the decoder."""
    if value is None:
        return None
    match shape.kind:
        case "struct":
            if not isinstance(value, dict):
                return f"cannot restore struct from: {_go_kind(value)}"
            fields = shape.fields()
            found = (first_unrestorable(item, fields[name]) for name, item in value.items() if name in fields)
            return next(filter(None, found), None)
        case "map" | "list" if isinstance(value, dict if shape.kind == "map" else list):
            assert shape.inner is not None
            items = value.values() if isinstance(value, dict) else value
            return next(filter(None, (first_unrestorable(item, shape.inner) for item in items)), None)
        case "map":
            return f"cannot restore map from {_go_kind(value)}"
        case "list":
            return f"cannot restore slice from {_go_kind(value)}"
        case "bytes" if not isinstance(value, str):
            return f"cannot restore slice from {_go_kind(value)}"
        case "string" if _is_int(value):  # which Go could take for the number of a letter
            return f"cannot convert int64 to {shape.go}"
        case "string" if not isinstance(value, str):
            return "unrecognized type: string"
        case "bool" if not isinstance(value, bool):
            return "unrecognized type: bool"
        case "int" if isinstance(value, float):
            return f"cannot convert float64 to {shape.go}"
        case "int" | "number" if isinstance(value, bool) or not isinstance(value, int | float):
            return f"unrecognized type: {shape.go}"
    return None


def _go_kind(value: Any) -> str:
    """As reflect has it for a value out of JSON."""
    names = {dict: "map", list: "slice", str: "string", bool: "bool", int: "int64"}
    return names.get(type(value), "float64")


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _fits(value: int, go: str) -> bool:
    return -BOUNDS[go] <= value < BOUNDS[go]


def _quantity(value: Any) -> str | None:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            quantities.parse(value)
        except ValueError as e:
            return str(e)
        return None
    return quantities.MESSAGE


def _json_kind(value: Any, *, number: bool = False) -> str:
    match value:
        case bool():
            return "bool"
        case str():
            return "string"
        case int() | float():
            return f"number {value}" if number else "number"
        case list():
            return "array"
    return "object"
