"""The types that expressions have, and the declarations of functions.

https://github.com/google/cel-spec/blob/master/doc/langdef.md#gradual-type-checking
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, eq=False)
class Type:
    """`kind` is the type's own name for simple types; `list`, `map`, `struct`, `opaque` and `param` take more.

    `most` bounds the number of elements (characters, bytes, entries) of a value, if a schema does.
    """

    kind: str
    name: str
    parameters: tuple["Type", ...] = ()
    fields: Mapping[str, "Field"] = field(default_factory=dict)
    most: int | None = None
    least_bytes: int = 1
    """How short its JSON can be."""
    convert: Callable[[Any], Any] | None = None
    """How a JSON value of this type becomes a CEL value; None if it is one already."""
    keywords: bool = False
    """Of a struct: fields named like reserved words may be written as they are."""

    def __str__(self) -> str:
        if self.kind in ("list", "map") or (self.kind in ("opaque", "type") and self.parameters):
            return f"{self.name}({', '.join(map(str, self.parameters))})"
        return self.name

    def field(self, name: str) -> "Field | None":
        return self.fields.get(name) or (self.fields.get(f"__{name}__") if self.keywords else None)


@dataclass(frozen=True, slots=True)
class Field:
    """`property` is the name in the document; the field's may be escaped."""

    property: str
    type: Type


def simple(name: str, kind: str = "") -> Type:
    return Type(kind or name, name)


DYN = simple("dyn")
ERROR = simple("!error!", "error")
NULL = simple("null")
BOOL = simple("bool")
INT = simple("int")
UINT = simple("uint")
DOUBLE = simple("double")
STRING = simple("string")
BYTES = simple("bytes")
TIMESTAMP = simple("timestamp")
DURATION = simple("duration")
TYPE = simple("type")

QUANTITY = simple("kubernetes.Quantity", "opaque")
URL = simple("kubernetes.URL", "opaque")
IP = simple("net.IP", "opaque")
CIDR = simple("net.CIDR", "opaque")
SEMVER = simple("kubernetes.Semver", "opaque")
FORMAT = simple("kubernetes.NamedFormat", "opaque")


def listed(element: Type, most: int | None = None, convert: Callable[[Any], Any] | None = None) -> Type:
    return Type("list", "list", (element,), most=most, least_bytes=2, convert=convert)


def mapped(key: Type, value: Type, most: int | None = None, convert: Callable[[Any], Any] | None = None) -> Type:
    return Type("map", "map", (key, value), most=most, least_bytes=2, convert=convert)


def optional(of: Type) -> Type:
    return Type("opaque", "optional_type", (of,))


def typed(of: Type) -> Type:
    return Type("type", "type", (of,))


def param(name: str) -> Type:
    return Type("param", name)


A, B, K, V = param("A"), param("B"), param("K"), param("V")
LIST_OF_A = listed(A)
MAP_OF_ANY = mapped(K, V)


@dataclass(frozen=True, slots=True, eq=False)
class Overload:
    """One signature of a function; of a member function, the first parameter is the target."""

    id: str
    parameters: tuple[Type, ...]
    result: Type
    run: Callable[..., Any]
    member: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    name: str
    overloads: tuple[Overload, ...]


def functions(overloads: Iterable[tuple[str, Overload]]) -> dict[str, Function]:
    """Overloads by the function's name, in the order in which they come."""
    found: dict[str, list[Overload]] = {}
    for name, overload in overloads:
        found.setdefault(name, []).append(overload)
    return {name: Function(name, tuple(overloads)) for name, overloads in found.items()}


NAMED_TYPES: dict[str, Type] = {
    **{t.name: t for t in (BOOL, BYTES, DOUBLE, DYN, INT, STRING, UINT)},
    **{t.name: t for t in (QUANTITY, URL, IP, CIDR, SEMVER, FORMAT)},
    "list": listed(DYN),
    "map": mapped(DYN, DYN),
    "null_type": NULL,
    "type": TYPE,
    "optional_type": optional(DYN),
    "google.protobuf.Timestamp": TIMESTAMP,
    "google.protobuf.Duration": DURATION,
}
"""What an identifier that names a type stands for."""
