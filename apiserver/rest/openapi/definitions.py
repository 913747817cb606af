"""The published schema's definitions, as OpenAPI documents of version 2 and 3 hold them."""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from api import schema
from api.kinds import Kind
from apiserver.customs.publishing import API_VERSION, CONVENTIONS, KIND, referring
from apiserver.rest.discovery import Subresource

Tree = dict[str, Any]

V2 = "#/definitions/"
V3 = "#/components/schemas/"
_SCALARS: dict[str, tuple[Tree, Tree]] = {
    # definition: (in version 2, in version 3)
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": (
        {"type": "string", "format": "int-or-string"},
        {"oneOf": [{"type": "integer"}, {"type": "string"}], "format": "int-or-string"},
    ),
    "io.k8s.apimachinery.pkg.api.resource.Quantity": (
        {"type": "string"},
        {"oneOf": [{"type": "string"}, {"type": "number"}]},
    ),
}


def reached(names: Iterable[str]) -> set[str]:
    """The definitions named, as far as there are such, and all that they refer to."""
    definitions, found = schema.definitions(), set[str]()
    left = list(names)
    while left:
        name = left.pop()
        if name in definitions and name not in found:
            found.add(name)
            left += _references(definitions[name])
    return found


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(found := node.get("$ref"), str):
            yield found.removeprefix(schema.PREFIX)
        node = list(node.values())
    if isinstance(node, list):
        for value in node:
            yield from _references(value)


def definition(name: str, prefix: str) -> Tree:
    """The definition called `name`, with its references below `prefix`."""
    published = schema.definitions()[name]
    if name in _SCALARS:
        described = {"description": published["description"]} if "description" in published else {}
        return described | _SCALARS[name][prefix == V3]
    return _rewritten(published, prefix)  # type: ignore[no-any-return]


def _rewritten(node: Any, prefix: str) -> Any:
    """The published schema allows null everywhere and pins apiVersion and kind; OpenAPI documents do not."""
    if isinstance(node, list):
        return [_rewritten(value, prefix) for value in node]
    if not isinstance(node, dict):
        return node
    found: Tree = {}
    for key, value in node.items():
        if key == "$ref" and isinstance(value, str):
            found[key] = prefix + value.removeprefix(schema.PREFIX)
        elif key == "type" and isinstance(value, list):
            found[key] = next(t for t in value if t != "null")
        elif key == "properties":
            found[key] = {name: _rewritten(prop, prefix) for name, prop in value.items()}
        elif key == "enum" or key.startswith("$"):
            continue
        else:
            found[key] = _rewritten(value, prefix)
    if prefix == V3 and "$ref" in found and len(found) > 1:
        # Version 3.0 ignores what stands beside a reference.
        reference = found.pop("$ref")
        found["allOf"] = [{"$ref": reference}]
    return found


@cache
def _by_kind() -> dict[tuple[str, str, str], str]:
    found = {}
    for name, definition in schema.definitions().items():
        names = definition.get("x-kubernetes-group-version-kind", ())
        if len(names) == 1:  # DeleteOptions and the like are said to be of every group
            found[names[0]["group"], names[0]["version"], names[0]["kind"]] = name
    return found


def full_name(kind: Kind) -> str:
    if kind.custom:
        return ".".join([*reversed(kind.group.split(".")), kind.version, kind.name])
    return _by_kind()[kind.group, kind.version, kind.name]


def of_subresource(kind: Kind, sub: Subresource) -> str | None:
    if (sub.group, sub.version, sub.kind) == (kind.group, kind.version, kind.name):
        return full_name(kind)
    return _by_kind().get((sub.group, sub.version, sub.kind))


def custom_definitions(kind: Kind, prefix: str) -> dict[str, Tree]:
    """The definitions of a custom kind and of its list."""
    name = full_name(kind)
    about = {"group": kind.group, "version": kind.version}
    whole: Tree = kind.shape.published(prefix)
    listed: Tree = {
        "description": f"{kind.name}List is a list of {kind.name}",
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"description": API_VERSION, "type": "string"},
            "items": {
                "description": f"List of {kind.plural}. More info: {CONVENTIONS}",
                "type": "array",
                "items": {"$ref": prefix + name},
            },
            "kind": {"description": KIND, "type": "string"},
            "metadata": referring(f"{prefix}{schema.META}ListMeta", LIST_METADATA, prefix),
        },
        "x-kubernetes-group-version-kind": [{**about, "kind": kind.shape.definition.list_kind}],
    }
    marks: Tree = {"x-kubernetes-group-version-kind": [{**about, "kind": kind.name}]}
    if kind.shape.selectable:
        marks["x-kubernetes-selectable-fields"] = [{"fieldPath": field} for field in kind.shape.selectable]
    return {
        name: whole | marks,
        f"{name}List": listed,
    }


LIST_METADATA = f"Standard list metadata. More info: {CONVENTIONS}#types-kinds"
