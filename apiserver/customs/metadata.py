"""The metadata of custom resources and of those embedded in them: what ObjectMeta does not have is dropped."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec

from api import schema as published
from api.names import dns_1035_faults, path_segment_faults
from api.paths import Fault, Path, invalid, required
from api.types import ObjectMeta
from apiserver.customs.schemas import Schema
from apiserver.rules.mismatches import first_mismatch, without_nulls
from apiserver.rules.shapes import struct
from apiserver.rules.validation.metadata import created

Tree = dict[str, Any]


@cache
def names() -> frozenset[str]:
    """The fields of ObjectMeta."""
    return frozenset(ObjectMeta.__struct_encode_fields__)


class Malformed(ValueError):
    """No metadata, in the words of Go's decoder."""


def read(value: Any) -> ObjectMeta:
    """A null is what is not there, as Go's own clients send it (`creationTimestamp: null`).  Raises Malformed."""
    try:
        return msgspec.convert(value, ObjectMeta)
    except msgspec.ValidationError as e:
        shape = struct(published.names()[ObjectMeta.__name__])
        if why := first_mismatch(value, shape):
            raise Malformed(why) from e
        return msgspec.convert(without_nulls(value, shape), ObjectMeta)


def coerce(value: Any, schema: Schema, path: str = "", *, dropped: list[str] | None = None) -> None:
    """Drop unknown fields from the metadata of embedded resources, in place."""
    if not schema.embeds:
        return
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


def faults(tree: Tree, schema: Schema) -> Iterator[Fault]:
    """What is wrong with the identity of embedded resources."""
    for value, path in _embedded(tree, schema, Path()):
        yield from _identity(value, path)


def malformed(tree: Tree, schema: Schema) -> Fault | None:
    """The first metadata of an embedded resource that is none."""
    return next(filter(None, (_misread(value, path) for value, path in _embedded(tree, schema, Path()))), None)


def _embedded(value: Any, schema: Schema, path: Path, *, root: bool = True) -> Iterator[tuple[Tree, Path]]:
    if not schema.embeds:
        return
    if isinstance(value, dict):
        if schema.embedded and not root:
            yield value, path
        for name, inner in value.items():
            if (declared := schema.properties.get(name)) is not None:
                yield from _embedded(inner, declared, path.child(name), root=False)
            elif isinstance(schema.additional, Schema):
                yield from _embedded(inner, schema.additional, path.key(name), root=False)
    elif isinstance(value, list) and schema.items is not None:
        for at, item in enumerate(value):
            yield from _embedded(item, schema.items, path.index(at), root=False)


def _identity(value: Tree, path: Path) -> Iterator[Fault]:
    for name, form in (("apiVersion", _group_version_faults), ("kind", _kind_faults)):
        found = value.get(name, "")
        if not isinstance(found, str):
            yield invalid(path.child(name), found, "must be a string")
        elif not found:
            yield required(path.child(name))
        elif why := form(found):
            yield invalid(path.child(name), found, why)
    if value.get("metadata") is None:
        return
    if fault := _misread(value, path):
        yield fault
        return
    found = read(value["metadata"])
    found.name = found.name or "fakename"
    yield from created(found, bool(found.namespace), path_segment_faults, path.child("metadata"))


def _misread(value: Tree, path: Path) -> Fault | None:
    metadata = value.get("metadata")
    try:
        if metadata is not None:
            read(metadata)
    except Malformed as e:
        return invalid(path.child("metadata"), metadata, str(e))
    return None


def _group_version_faults(text: str) -> str:
    return f"unexpected GroupVersion string: {text}" if text.count("/") > 1 else ""


def _kind_faults(text: str) -> str:
    found = dns_1035_faults(text.lower())
    return "may have mixed case, but should otherwise match: " + ",".join(found) if found else ""
