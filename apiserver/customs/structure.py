"""Whether a schema is structural, in upstream's words.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
"""

from collections.abc import Iterator
from typing import Any

from api.paths import Fault, Path, forbidden, invalid, not_supported, required

Tree = dict[str, Any]
Faults = Iterator[Fault]
TYPES = ("array", "boolean", "integer", "number", "object", "string")
STRUCTURE = ("type", "description", "title", "default", "additionalProperties", "nullable")
"""What may be said at places of their own only, not in allOf and the like."""
EXTENSIONS = (
    "x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource", "x-kubernetes-int-or-string",
    "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type", "x-kubernetes-validations",
)  # fmt: skip
UNKNOWN = ("$ref", "definitions", "dependencies", "id", "patternProperties", "additionalItems")
_INT_OR_STRING: list[Tree] = [{"type": "integer"}, {"type": "string"}]


def faults(schema: Tree, path: Path) -> Faults:
    """Of the schema of a whole object."""
    if schema.get("type") != "object":
        if schema.get("type"):
            yield invalid(path.child("type"), schema["type"], "must be object at the root")
        else:
            yield required(path.child("type"), "must not be empty at the root")
    if schema.get("nullable"):
        yield forbidden(path.child("nullable"), "nullable cannot be true at the root")
    yield from _place(schema, path, "root")
    metadata = (schema.get("properties") or {}).get("metadata")
    if isinstance(metadata, dict):
        yield from _metadata(metadata, path.child("properties").key("metadata"))


def _metadata(schema: Tree, path: Path) -> Faults:
    allowed = {"description", "properties", "type"}
    extra = [name for name in schema if name not in allowed]
    if extra or set(schema.get("properties") or {}) - {"name", "generateName"}:
        why = "must not specify anything other than name and generateName, but metadata is implicitly specified"
        yield forbidden(path, why)


def _place(schema: Tree, path: Path, level: str) -> Faults:
    yield from _known(schema, path)
    free = schema.get("x-kubernetes-int-or-string") or schema.get("x-kubernetes-preserve-unknown-fields")
    if not schema.get("type") and not free and level != "root":
        where = {"items": "array items", "field": "object fields"}[level]
        yield required(path.child("type"), f"must not be empty for specified {where}")
    yield from _extensions(schema, path)
    if schema.get("type") == "array" and schema.get("items") is None:
        yield required(path.child("items"), "must be specified")
    if isinstance(schema.get("items"), list):
        yield forbidden(path.child("items"), "items must be a schema object and not an array")
    if schema.get("properties") and schema.get("additionalProperties") not in (None, False):
        yield forbidden(path.child("additionalProperties"), "additionalProperties and properties are mutual exclusive")
    if schema.get("additionalProperties") is False:
        yield forbidden(path.child("additionalProperties"), "additionalProperties cannot be set to false")
    if schema.get("uniqueItems"):
        why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        yield forbidden(path.child("uniqueItems"), why)
    yield from _combined(schema, path)
    yield from _below(schema, path)


def _below(schema: Tree, path: Path) -> Faults:
    for name, inner in (schema.get("properties") or {}).items():
        yield from _place(inner, path.child("properties").key(name), "field")
    if isinstance(inner := schema.get("additionalProperties"), dict):
        yield from _place(inner, path.child("additionalProperties"), "field")
    if isinstance(inner := schema.get("items"), dict):
        yield from _place(inner, path.child("items"), "items")


def _known(schema: Tree, path: Path) -> Faults:
    for name in UNKNOWN:
        if schema.get(name):
            why = f"{name} is not supported" if name != "id" else "id is not supported"
            yield forbidden(path.child(name), why)
    type_ = schema.get("type")
    if type_ and type_ not in TYPES:
        if type_ == "null":
            yield forbidden(path.child("type"), "type cannot be set to null, use nullable as an alternative")
        else:
            yield not_supported(path.child("type"), type_, TYPES)


def _extensions(schema: Tree, path: Path) -> Faults:
    type_ = schema.get("type") or ""
    for name in ("x-kubernetes-preserve-unknown-fields",):
        if schema.get(name) is False:
            yield invalid(path.child(name), False, "must be true or undefined")
    if schema.get("x-kubernetes-preserve-unknown-fields") and type_ not in ("", "object"):
        yield invalid(path.child("type"), type_, "must be object if x-kubernetes-preserve-unknown-fields is true")
    if schema.get("x-kubernetes-embedded-resource"):
        if type_ != "object":
            if type_:
                why = "must be object if x-kubernetes-embedded-resource is true"
                yield invalid(path.child("type"), type_, why)
            else:
                yield required(path.child("type"), "must be object if x-kubernetes-embedded-resource is true")
        if not schema.get("x-kubernetes-preserve-unknown-fields") and not schema.get("properties"):
            why = (
                "must not be empty if x-kubernetes-embedded-resource is true without "
                "x-kubernetes-preserve-unknown-fields"
            )
            yield required(path.child("properties"), why)
    if schema.get("x-kubernetes-int-or-string") and type_:
        yield invalid(path.child("type"), type_, "must be empty if x-kubernetes-int-or-string is true")
    yield from _list_type(schema, path)
    map_type = schema.get("x-kubernetes-map-type")
    if map_type:
        if type_ != "object":
            yield invalid(path.child("type"), type_, "must be object if x-kubernetes-map-type is specified")
        if map_type not in ("atomic", "granular"):
            yield not_supported(path.child("x-kubernetes-map-type"), map_type, ["atomic", "granular"])


def _list_type(schema: Tree, path: Path) -> Faults:
    list_type, keys = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys") or ()
    if list_type and schema.get("type") != "array":
        if not schema.get("type"):
            yield required(path.child("type"), "must be array if x-kubernetes-list-type is specified")
        else:
            yield invalid(path.child("type"), schema["type"], "must be array if x-kubernetes-list-type is specified")
    if list_type and list_type not in ("atomic", "map", "set"):
        yield not_supported(path.child("x-kubernetes-list-type"), list_type, ["atomic", "set", "map"])
    here = path.child("x-kubernetes-list-map-keys")
    if list_type != "map":
        if keys:
            why = "must be map if x-kubernetes-list-map-keys is non-empty"
            if list_type:
                yield invalid(path.child("x-kubernetes-list-type"), list_type, why)
            else:
                yield required(path.child("x-kubernetes-list-type"), why)
        if list_type == "set":
            yield from _set_items(schema.get("items"), path.child("items"))
        return
    if not keys:
        yield required(here, "must not be empty if x-kubernetes-list-type is map")
    items = schema.get("items")
    if not isinstance(items, dict):
        yield required(path.child("items"), "must have a schema if x-kubernetes-list-type is map")
        return
    if items.get("type") != "object":
        why = "must be object if parent array's x-kubernetes-list-type is map"
        yield invalid(path.child("items", "type"), items.get("type") or "", why)
    yield from _list_keys(items, keys, path)


def _list_keys(items: Tree, keys: Any, path: Path) -> Faults:
    here = path.child("x-kubernetes-list-map-keys")
    properties, needed = items.get("properties") or {}, set(items.get("required") or ())
    for at, key in enumerate(keys):
        declared = properties.get(key)
        if declared is None:
            yield invalid(here, list(keys), "entries must all be names of item properties")
            continue
        if declared.get("type") in ("array", "object"):
            why = "must be a scalar type if parent array's x-kubernetes-list-type is map"
            yield invalid(path.child("items").child("properties").key(key).child("type"), declared["type"], why)
        if key not in needed and declared.get("default") is None:
            why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
            yield required(path.child("items").child("properties").key(key).child("default"), why)
        if key in list(keys)[:at]:
            yield Fault("FieldValueDuplicate", str(here.index(at)), f'Duplicate value: "{key}"')


def _set_items(items: Any, path: Path) -> Faults:
    if not isinstance(items, dict):
        return
    if items.get("nullable"):
        why = "cannot be nullable when x-kubernetes-list-type is set"
        yield forbidden(path.child("nullable"), why)
    match items.get("type"):
        case "object":
            if items.get("x-kubernetes-map-type") != "atomic":
                why = "must be atomic as item of a list with x-kubernetes-list-type=set"
                yield invalid(path.child("x-kubernetes-map-type"), items.get("x-kubernetes-map-type"), why)
        case "array":
            if items.get("x-kubernetes-list-type") not in (None, "atomic"):
                why = "must be atomic as item of a list with x-kubernetes-list-type=set"
                yield invalid(path.child("x-kubernetes-list-type"), items.get("x-kubernetes-list-type"), why)


def _combined(schema: Tree, path: Path) -> Faults:
    for name in ("allOf", "anyOf", "oneOf"):
        for at, inner in enumerate(schema.get(name) or ()):
            if schema.get("x-kubernetes-int-or-string") and _is_int_or_string(schema, name):
                continue
            yield from _nested(inner, schema, path.child(name).index(at))
    if isinstance(inner := schema.get("not"), dict):
        yield from _nested(inner, schema, path.child("not"))


def _is_int_or_string(schema: Tree, name: str) -> bool:
    """The two forms in which an integer or a string may be said twice."""
    if name == "anyOf":
        return bool(schema["anyOf"] == _INT_OR_STRING)
    return name == "allOf" and schema["allOf"][0] == {"anyOf": _INT_OR_STRING}


def _nested(inner: Tree, outer: Tree, path: Path) -> Faults:
    """Conditions on values that have been specified outside of them."""
    for name in STRUCTURE:
        if inner.get(name):
            yield forbidden(
                path.child(name), f"must be {'undefined' if name == 'default' else 'empty'} to be structural"
            )
    for name in EXTENSIONS:
        if inner.get(name) and name != "x-kubernetes-validations":
            yield forbidden(path.child(name), "must be false to be structural")
    for name, below in (inner.get("properties") or {}).items():
        at = path.child("properties").key(name)
        if name == "metadata" and outer.get("x-kubernetes-embedded-resource"):
            yield forbidden(at, "must not be specified in a nested context")
        elif (declared := (outer.get("properties") or {}).get(name)) is None and not outer.get("additionalProperties"):
            missing = str(at).rpartition(".properties")[0]
            base = missing
            for mark in (".allOf[", ".anyOf[", ".oneOf[", ".not"):
                base = base.split(mark)[0]
            yield required(Path(base).child("properties").key(name), f"because it is defined in {at}")
        else:
            yield from _nested(below, declared or outer.get("additionalProperties") or {}, at)
    if isinstance(below := inner.get("items"), dict):
        declared = outer.get("items")
        if declared is None:
            yield required(path.child("items"), "must be specified outside")
        else:
            yield from _nested(below, declared if isinstance(declared, dict) else {}, path.child("items"))
    yield from _combined({k: v for k, v in inner.items() if k in ("allOf", "anyOf", "oneOf", "not")} | {
        "properties": outer.get("properties"), "items": outer.get("items"),
        "additionalProperties": outer.get("additionalProperties"),
    }, path)  # fmt: skip
