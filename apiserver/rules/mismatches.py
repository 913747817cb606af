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
