"""What a mutation's expression makes of an object.

https://kubernetes.io/docs/reference/access-authn-authz/mutating-admission-policy/#create-a-mutating-admission-policy
"""

from typing import Any

import msgspec

from api.errors import ApiError
from api.kinds import Kind
from apiserver import patching
from apiserver.admission.policies.evaluating import Fault
from apiserver.admission.webhooks.forms import Tree
from apiserver.patching import merging, schemas
from apiserver.patching.schemas import Node
from machinery.cel import EvaluationFault
from machinery.cel.admitting import OBJECT
from machinery.cel.values import Instance, to_json


def applied(tree: Tree, kind: Kind, value: Any) -> Tree:
    """`tree` with what an ApplyConfiguration says, merged as server-side apply does.  Raises Fault."""
    _check_names(value, OBJECT)
    wanted = _json(value)
    root = _node(kind, tree)
    if atomics := list(_atomics(root, wanted, "")):
        raise Fault(
            "error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: "
            + ", ".join(atomics)
        )
    managers = tree.get("metadata", {}).get("managedFields")
    merged = merging.merge(root, tree, wanted)
    if managers is not None:
        merged = {**merged, "metadata": {**merged["metadata"], "managedFields": managers}}
    return merged


def _node(kind: Kind, tree: Tree) -> Node:
    if kind.custom:
        node: Node = kind.shape.node
        return node
    return schemas.node_of(schemas.definition_of(tree.get("apiVersion", ""), tree.get("kind", "")))


def _check_names(value: Any, name: str) -> None:
    """An `Object.spec` stands in the field `spec` of an `Object`, and nowhere else.  Raises Fault."""
    if isinstance(value, Instance):
        if value.type != name:
            raise Fault(
                f'type mismatch: unexpected type name "{value.type}", expected "{name}", '
                "which matches field name path from root Object type"
            )
        for field, inner in value.items():
            _check_names(inner, f"{name}.{field}")
    elif isinstance(value, list):
        for item in value:
            _check_names(item, name)


def _atomics(node: Node, value: Any, path: str) -> list[str]:
    """Where a configuration would replace something as a whole: what it does not name would be lost."""
    found = [path] if node.atomic and isinstance(value, (dict, list)) else []
    if isinstance(value, dict):
        for name, inner in value.items():
            found += _atomics(node.child(name), inner, f"{path}.{name}")
    elif isinstance(value, list):
        element = node.element or schemas.ANYTHING
        for at, inner in enumerate(value):
            found += _atomics(element, inner, f"{path}[{at}]")
    return found


def patched(tree: Tree, operations: Any) -> Tree:
    """`tree` after a JSONPatch; as it was if one of its tests fails.  Raises Fault."""
    if not isinstance(operations, list) or not all(isinstance(o, Instance) for o in operations):
        raise Fault("type mismatch: JSONPatchType.expression should evaluate to array of JSONPatch")
    try:
        made: Tree = patching.json_patch(tree, msgspec.json.encode([_operation(o) for o in operations]))
    except ApiError as e:
        why = str(e.__cause__ or e.message)
        if "test failed" in why:
            return tree
        raise Fault(f"JSONPath: {why}") from e
    return made


def _operation(operation: Instance) -> Tree:
    value = operation.get("value")
    if isinstance(value, Instance):
        _check_names(value, value.type)
    return _json(operation)


def _json(value: Any) -> Tree:
    try:
        found: Tree = to_json(value)
    except EvaluationFault as e:
        raise Fault(e.message) from e
    return found
