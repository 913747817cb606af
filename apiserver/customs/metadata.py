"""The metadata of resources that are embedded in custom ones: what ObjectMeta does not have is dropped."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec

from api.names import dns_subdomain_faults
from api.paths import Fault, Path, invalid, required
from api.types import ObjectMeta
from apiserver.customs.schemas import Schema

Tree = dict[str, Any]


@cache
def names() -> frozenset[str]:
    """The fields of ObjectMeta."""
    return frozenset(ObjectMeta.__struct_encode_fields__)


def coerce(value: Any, schema: Schema, path: str = "", *, dropped: list[str] | None = None) -> None:
    """Drop unknown fields from the metadata of embedded resources, in place."""
    if isinstance(value, dict):
        for name, inner in value.items():
            at = f"{path}.{name}" if path else name
            if schema.embedded and name == "metadata" and isinstance(inner, dict):
                _strip(inner, at, dropped)
            elif (declared := schema.entry(name)) is not None:
                coerce(inner, declared, at, dropped=dropped)
    elif isinstance(value, list) and schema.items is not None:
        for at_, item in enumerate(value):
            coerce(item, schema.items, f"{path}[{at_}]", dropped=dropped)


def _strip(metadata: Tree, path: str, dropped: list[str] | None) -> None:
    for name in [n for n in metadata if n not in names()]:
        del metadata[name]
        if dropped is not None:
            dropped.append(f"{path}.{name}")


def faults(value: Any, schema: Schema, path: Path = Path(), *, root: bool = True) -> Iterator[Fault]:  # noqa: B008
    """What is wrong with the identity of embedded resources."""
    if isinstance(value, dict):
        if schema.embedded and not root:
            yield from _identity(value, path)
        for name, inner in value.items():
            declared = schema.entry(name)
            if declared is not None:
                yield from faults(inner, declared, path.child(name), root=False)
    elif isinstance(value, list) and schema.items is not None:
        for at, item in enumerate(value):
            yield from faults(item, schema.items, path.index(at), root=False)


def _identity(value: Tree, path: Path) -> Iterator[Fault]:
    for name in ("apiVersion", "kind"):
        found = value.get(name)
        if not found:
            yield required(path.child(name), "must not be empty")
        elif not isinstance(found, str):
            yield invalid(path.child(name), found, "must be a string")
    metadata = value.get("metadata")
    if metadata is None:
        return
    try:
        found = msgspec.convert(metadata, ObjectMeta)
    except msgspec.ValidationError as e:
        yield invalid(path.child("metadata"), metadata, str(e))
        return
    if found.name:
        for why in dns_subdomain_faults(found.name):
            yield invalid(path.child("metadata", "name"), found.name, why)
