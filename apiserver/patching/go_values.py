"""JSON values as Go prints them, for messages that upstream builds that way."""

import json
from typing import Any


def plain(value: Any) -> str:
    """As `%v` does: `map[a:1 b:[x y]]`, keys sorted."""
    if isinstance(value, dict):
        return "map[" + " ".join(f"{k}:{plain(value[k])}" for k in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(plain(v) for v in value) + "]"
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def syntax(value: Any) -> str:
    """As `%#v` does, for scalars; composite values are printed plainly."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else plain(value)


def type_name(value: Any) -> str:
    """As `%T` does for a decoded JSON value."""
    names = {dict: "map[string]interface {}", list: "[]interface {}", str: "string", bool: "bool", int: "int64"}
    return names.get(type(value), "float64" if isinstance(value, float) else "<nil>")
