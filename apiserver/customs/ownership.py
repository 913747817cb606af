"""A structural schema as field ownership and server-side apply see it."""

from api import schema as published
from apiserver.customs.schemas import Schema
from apiserver.patching.schemas import ANYTHING, SCALAR_TYPES, Node, node_of

__all__ = ["root"]


def root(schema: Schema, *, undivided: bool) -> Node:
    """`undivided`: there is no subresource for the status."""
    node = _node(schema)
    if node is ANYTHING:
        node = Node("map")
        node.open = True
        node.element = ANYTHING
    node.fields = {**node.fields, **_identity()}
    node.atomic = node.leaf = False
    node.undivided = undivided
    if node.open:
        node.fields.setdefault("status", ("f:status", ANYTHING))
    return node


def _identity() -> dict[str, tuple[str, Node]]:
    text = Node("scalar")
    text.scalar = "string"
    return {"apiVersion": ("f:apiVersion", text), "kind": ("f:kind", text), "metadata": ("f:metadata", _metadata())}


def _metadata() -> Node:
    return node_of(published.name_of()[published.META + "ObjectMeta"])


def _node(schema: Schema) -> Node:
    if schema.int_or_string:
        return Node("scalar")
    match schema.types:
        case ("array",):
            return _list(schema)
        case ("object",):
            return _map(schema)
        case (name,):
            node = Node("scalar")
            node.scalar = SCALAR_TYPES.get(name, "")
            return node
    return ANYTHING


def _list(schema: Schema) -> Node:
    node = Node("list")
    node.element = _node(schema.items) if schema.items is not None else ANYTHING
    if schema.list_type == "map":
        node.keys = tuple(sorted(schema.list_keys))
    node.atomic = node.leaf = schema.list_type not in ("map", "set")
    return node


def _map(schema: Schema) -> Node:
    node = Node("map")
    node.fields = {name: (f"f:{name}", _node(inner)) for name, inner in schema.properties.items()}
    if isinstance(schema.additional, Schema):
        node.element, node.open = _node(schema.additional), True
    elif schema.additional or schema.open:
        node.element, node.open = ANYTHING, True
    if schema.embedded:
        node.fields = {**_identity(), **node.fields}
    node.atomic = node.leaf = schema.map_type == "atomic"
    if not node.fields and node.open and node.element is ANYTHING and not node.atomic:
        return ANYTHING
    return node
