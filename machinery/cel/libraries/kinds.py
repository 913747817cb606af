"""Which type a value is of, as expressions and overloads see it."""

from typing import Any

from machinery.cel.values import Duration, Instance, Optional, Timestamp, TypeValue, Uint

_NAMES: dict[type, str] = {
    type(None): "null_type",
    bool: "bool",
    int: "int",
    Uint: "uint",
    float: "double",
    str: "string",
    bytes: "bytes",
    list: "list",
    dict: "map",
    Timestamp: "google.protobuf.Timestamp",
    Duration: "google.protobuf.Duration",
    TypeValue: "type",
    Optional: "optional_type",
}
_KINDS = {
    "null_type": "null",
    "google.protobuf.Timestamp": "timestamp",
    "google.protobuf.Duration": "duration",
}


def type_of(value: Any) -> TypeValue:
    if isinstance(value, Instance):
        return TypeValue(value.type)
    return TypeValue(name_of(type(value)))


def name_of(python: type) -> str:
    """Classes that are not CEL's own say their name in `cel_type`."""
    for base in python.__mro__:
        if base in _NAMES:
            return _NAMES[base]
    return str(getattr(python, "cel_type", "dyn"))


def kind_of(python: type) -> str:
    name = name_of(python)
    return _KINDS.get(name, name)
