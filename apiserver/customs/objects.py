"""Custom objects from document to storage: the same steps as `apiserver.rules` has for built-in kinds.

decode (prune, strictness) ▸ default ▸ prepare ▸ validate
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from api import custom
from api.custom import CustomObject
from api.errors import BadRequest
from api.kinds import Kind
from api.names import dns_subdomain_faults
from api.paths import Fault, Path, invalid, show
from apiserver.customs import defaulting, lists, metadata, pruning, values
from apiserver.customs.schemas import Schema
from apiserver.customs.values import ABSENT, NOWHERE
from apiserver.patching import go_values
from apiserver.rules import decoding, strictness
from apiserver.rules.validation import metadata as object_metadata

Tree = dict[str, Any]
UNCHECKED = (
    "some validation rules were not checked because the object was invalid; correct the existing errors to complete "
    "validation"
)
_BLOCKING = ("FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid")
_MOST = 2**31 - 1


def decode(kind: Kind, document: bytes, *, validation: str = "") -> tuple[CustomObject, list[str]]:
    """As `apiserver.rules.decode`: unknown fields are dropped, and so are nulls that may not be."""
    tree = _tree(kind, document)
    faults = [] if validation == "Ignore" else strictness.duplicates(document, tree)
    dropped = tidy(kind, tree)
    obj = _object(kind, tree)
    if validation == "Ignore":
        return obj, []
    faults += [f'unknown field "{path}"' for path in dropped]
    if faults and validation == "Strict":
        raise decoding.unfit(kind, "strict decoding error: " + ", ".join(faults))
    return obj, faults


def _object(kind: Kind, tree: Tree) -> CustomObject:
    if fault := metadata.malformed(tree, kind.shape.schema):
        raise decoding.unfit(kind, str(fault))
    try:
        return custom.from_tree(tree)
    except msgspec.ValidationError as e:
        try:
            head = metadata.read(tree["metadata"])
        except metadata.Malformed as why:
            raise decoding.unfit(kind, str(why)) from e
        return custom.from_tree({**tree, "metadata": msgspec.to_builtins(head)})


def _tree(kind: Kind, document: bytes) -> Tree:
    try:
        tree = msgspec.json.decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise decoding.unreadable(kind, document) from e
    if not isinstance(tree, dict):
        raise decoding.unreadable(kind, document)
    for name, word in (("kind", "Kind"), ("apiVersion", "apiVersion")):
        if not tree.get(name):
            text = document.decode(errors="replace")
            raise decoding.unrecognized(kind, document, f"Object '{word}' is missing in '{text}'")
    if not isinstance(tree["apiVersion"], str) or not isinstance(tree["kind"], str):
        raise decoding.unreadable(kind, document)
    if tree["apiVersion"] != kind.api_version:
        raise BadRequest(
            f"the API version in the data ({tree['apiVersion']}) does not match the expected API version "
            f"({kind.api_version})"
        )
    return _whole(tree)  # type: ignore[no-any-return]


def _whole(value: Any) -> Any:
    """Numbers as Go has them: 1.0 is 1."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if isinstance(inner, dict | list | float):
                value[name] = _whole(inner)
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            if isinstance(inner, dict | list | float):
                value[at] = _whole(inner)
    elif isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        return int(value)
    return value


def tidy(kind: Kind, tree: Tree) -> list[str]:
    """Drop in place what the kind does not know, and say what it was."""
    head = tree.get("metadata")
    dropped = []
    if isinstance(head, dict):
        dropped = sorted(f"metadata.{name}" for name in head if name not in metadata.names())
        for path in dropped:
            del head[path.removeprefix("metadata.")]
    dropped += sorted(pruning.prune(tree, kind.shape.schema))
    metadata.coerce(tree, kind.shape.schema, dropped=dropped)
    return dropped


def default(kind: Kind, obj: CustomObject) -> None:
    """Nulls that may not be go too."""
    defaulting.default(obj.content, kind.shape.schema)


def _settle(kind: Kind, obj: CustomObject) -> None:
    """What admission has added is pruned and defaulted like what the client sent."""
    pruning.prune(obj.content, kind.shape.schema)
    metadata.coerce(obj.content, kind.shape.schema)
    default(kind, obj)


def prepare_create(kind: Kind, obj: CustomObject) -> None:
    head = obj.metadata
    head.deletionTimestamp = head.selfLink = ""
    head.deletionGracePeriodSeconds = None
    head.generation = 1
    if kind.shape.status:
        obj.content.pop("status", None)
    _settle(kind, obj)


def prepare_update(kind: Kind, new: CustomObject, old: CustomObject, subresource: str = "") -> None:
    """`new` shares parts of `old` afterwards."""
    if subresource == "status":
        _take_status(new, old)
        _settle(kind, new)
        return
    head, before = new.metadata, old.metadata
    head.uid = head.uid or before.uid
    head.selfLink = ""
    head.creationTimestamp = before.creationTimestamp
    head.deletionTimestamp, head.deletionGracePeriodSeconds = (
        before.deletionTimestamp, before.deletionGracePeriodSeconds,
    )  # fmt: skip
    if kind.shape.status:
        new.content.pop("status", None)
        if "status" in old.content:
            new.content["status"] = old.content["status"]
    _settle(kind, new)
    head.generation = before.generation or 1
    if _changed(kind, new, old):
        head.generation += 1


def _take_status(new: CustomObject, old: CustomObject) -> None:
    """An update of the status leaves all else as it is, metadata too."""
    content = {name: value for name, value in old.content.items() if name != "status"}
    if "status" in new.content:
        content["status"] = new.content["status"]
    new.content = content
    head = msgspec.structs.replace(old.metadata)
    head.managedFields, head.resourceVersion = new.metadata.managedFields, new.metadata.resourceVersion
    new.metadata = head


def _changed(kind: Kind, new: CustomObject, old: CustomObject) -> bool:
    apart = {"status"} if kind.shape.status else set[str]()
    return not values.same(
        {k: v for k, v in new.content.items() if k not in apart},
        {k: v for k, v in old.content.items() if k not in apart},
    )


def validate(kind: Kind, obj: CustomObject) -> Iterator[Fault]:
    if faults := _identity(kind, obj):
        yield from faults
        return
    yield from object_metadata.created(obj.metadata, kind.namespaced, dns_subdomain_faults)
    yield from _content(kind, custom.to_tree(obj), ABSENT)


def validate_update(
    kind: Kind, new: CustomObject, old: CustomObject, subresource: str = ""
) -> Iterator[Fault]:  # fmt: skip
    if faults := _identity(kind, new):
        yield from faults
        return
    yield from object_metadata.updated(new.metadata, old.metadata)
    yield from _content(kind, custom.to_tree(new), custom.to_tree(old), subresource)


def warnings(new: CustomObject, old: CustomObject | None) -> list[str]:
    """What is let through, but may meet what others mean by the same name."""
    before = old.metadata.finalizers if old is not None else []
    added = sorted({*new.metadata.finalizers} - {*before})
    return [
        f"metadata.finalizers: {show(name)}: prefer a domain-qualified finalizer name "
        f"{'including a path (/) ' if '.' in name else ''}to avoid accidental conflicts with other finalizer writers"
        for name in added
        if not object_metadata.is_standard_finalizer(name)
    ]


def _identity(kind: Kind, obj: CustomObject) -> list[Fault]:
    faults = []
    if obj.kind != kind.name:
        faults.append(invalid(Path("kind"), obj.kind, f"must be {kind.name}"))
    if obj.apiVersion != kind.api_version:
        faults.append(invalid(Path("apiVersion"), obj.apiVersion, f"must be {kind.api_version}"))
    return faults


def _content(kind: Kind, tree: Tree, old: Any, subresource: str = "") -> list[Fault]:
    """Of an update of the status, what is not the status is not looked at again but by the rules for the whole."""
    shape = kind.shape
    only_status = subresource == "status"
    faults = _status(shape.schema, tree, old) if only_status else values.faults(tree, shape.schema, "", old)
    if shape.scale is not None:
        faults += _scale(shape.scale, tree, only_status=only_status)
    if not only_status:
        faults += metadata.faults(tree, shape.schema)
    faults += lists.faults(tree, shape.schema, old=old)
    if shape.rules:
        if any(fault.reason in _BLOCKING for fault in faults):
            faults.append(Fault("FieldValueInvalid", NOWHERE, f"Invalid value: null: {UNCHECKED}"))
        else:
            faults += shape.rules.faults(tree, old)
    return faults


def _status(schema: Schema, tree: Tree, old: Tree) -> list[Fault]:
    declared = schema.properties.get("status")
    if declared is None or "status" not in tree:
        return []
    return values.faults(tree["status"], declared, "status", old.get("status", ABSENT))


def _scale(scale: Any, tree: Tree, *, only_status: bool) -> list[Fault]:
    numbers = (scale.status_replicas,) if only_status else (scale.replicas, scale.status_replicas)
    faults = [fault for names in numbers if (fault := _number_of_replicas(tree, names))]
    if scale.selector and (why := _mistyped(tree, scale.selector, "string")):
        faults.append(invalid(Path("." + ".".join(scale.selector)), "", why))
    return faults


def _number_of_replicas(tree: Tree, names: tuple[str, ...]) -> Fault | None:
    path = Path("." + ".".join(names))
    if why := _mistyped(tree, names, "int64"):
        return invalid(path, 0, why)
    found = reached(tree, names) or 0
    if found < 0:
        return invalid(path, found, "should be a non-negative integer")
    return invalid(path, found, f"should be less than or equal to {_MOST}") if found > _MOST else None


def _mistyped(tree: Any, names: tuple[str, ...], wanted: str) -> str:
    """Why what is at the end of the path is not of that type, in Go's words; "" if it is, or is not there."""
    for at, name in enumerate(names):
        if tree is None:
            return ""
        if not isinstance(tree, dict):
            return _accessor_error(names[: at + 1], tree, "map[string]interface{}")
        if name not in tree:
            return ""
        tree = tree[name]
    return _accessor_error(names, tree, wanted) if go_values.type_name(tree) != wanted else ""


def _accessor_error(names: tuple[str, ...], value: Any, wanted: str) -> str:
    found = f"{go_values.plain(value)} is of the type {go_values.type_name(value)}"
    return f".{'.'.join(names)} accessor error: {found}, expected {wanted}"


def reached(tree: Any, names: tuple[str, ...]) -> Any:
    """What is at the end of a path of names; None if there is nothing."""
    for name in names:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree if names else None
