"""Kubernetes' own merge patch, which knows from the schema which lists are merged by a key.

https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md
What upstream does not foresee is a plain 500 there, in the same words; the fault is the patch's, so it is a 400 here.
"""

from collections.abc import Hashable
from typing import Any

from api.errors import BadRequest, Invalid
from apiserver.patching import documents, go_values
from apiserver.patching.element_orders import identity, in_order, matches_order
from apiserver.patching.json_patches import NOT_APPLICABLE
from apiserver.patching.schemas import ANYTHING, Node, node_of

DIRECTIVE = "$patch"
RETAIN_KEYS = "$retainKeys"
DELETE_FROM = "$deleteFromPrimitiveList/"
SET_ORDER = "$setElementOrder/"

Map = dict[str, Any]


def strategic_merge(document: Map, patch: bytes, definition: str) -> Map:
    """`document`, of the kind with that definition, as the patch makes it.

    Raises BadRequest for a patch without the form or one that does not fit the schema.
    """
    return merge_maps(document, documents.read_map(patch), node_of(definition))


def merge_maps(original: Map, patch: Map, node: Node) -> Map:
    """`original` is at `node` in the schema; neither argument is changed."""
    if DIRECTIVE in patch:
        directive = patch[DIRECTIVE]
        rest = {k: v for k, v in patch.items() if k != DIRECTIVE}
        if directive == "replace":
            return plain_map(rest)
        if directive == "delete":
            return {}
        if directive != "merge":
            raise BadRequest(f"unknown patch type: {directive} in map: {go_values.plain(patch)}")
        patch = rest
    out = _retain_keys(original, patch)
    done = {RETAIN_KEYS}
    for name in patch:
        if name.startswith(SET_ORDER):
            listed = name.removeprefix(SET_ORDER)
            _merge_in_order(out, listed, patch, _field(node, listed))
            done |= {name, listed}
    for name, value in patch.items():
        if name.startswith(DELETE_FROM):
            _delete_from(out, name.removeprefix(DELETE_FROM), value)
        elif name not in done:
            _merge_field(out, name, value, node)
    return out


def _merge_field(out: Map, name: str, value: Any, node: Node) -> None:
    if value is None:
        out.pop(name, None)
        return
    before = out.get(name)
    if isinstance(before, dict) and isinstance(value, dict):
        child = _field(node, name)
        out[name] = value if child.strategy == "replace" else merge_maps(before, value, child)
    elif isinstance(before, list) and isinstance(value, list):
        out[name] = merge_lists(before, value, _field(node, name))
    else:
        out[name] = plain(value)


def _field(node: Node, name: str) -> Node:
    if name in node.fields or node.open or not node.name:
        return node.child(name)
    raise BadRequest(f'unable to find api field in struct {node.name} for the json field "{name}"')


def _retain_keys(original: Map, patch: Map) -> Map:
    """A copy of `original`, of which `$retainKeys` leaves only the fields it lists."""
    if RETAIN_KEYS not in patch:
        return dict(original)
    retained = patch[RETAIN_KEYS]
    if not isinstance(retained, list):
        raise BadRequest("invalid patch format of retainKeys")
    kept = {name for name in retained if isinstance(name, str)}
    if any(v is not None and not _is_directive(name) and name not in kept for name, v in patch.items()):
        raise BadRequest("invalid patch format of retainKeys")
    return {k: v for k, v in original.items() if k in kept}


def _delete_from(out: Map, name: str, values: Any) -> None:
    if not isinstance(values, list) or not name:
        raise BadRequest("invalid patch format of primitive list")
    if isinstance(out.get(name), list):
        gone = {identity(v, "") for v in values}
        out[name] = [v for v in out[name] if identity(v, "") not in gone]


def _merge_in_order(out: Map, name: str, patch: Map, node: Node) -> None:
    """Merges one list whose order the patch states with `$setElementOrder/NAME`."""
    order, changes, before = patch[SET_ORDER + name], patch.get(name), out.get(name)
    if not isinstance(order, list) or not isinstance(changes, list | None) or not isinstance(before, list | None):
        raise BadRequest("invalid patch format of setElementOrder list")
    if node.merge_key:
        for item in order:
            _check_key(item, node.merge_key)
    if before is None and changes is None:
        return
    if not matches_order(changes or [], order, node.merge_key):
        raise BadRequest(
            f"The order in patch list:\n{go_values.plain(changes)}\n doesn't match $setElementOrder list:\n"
            f"{go_values.plain(order)}\n"
        )
    if changes is None:
        merged = before or []
    else:
        merged = plain(changes) if before is None else merge_lists(before, changes, node)
    out[name] = in_order(merged, order, before or [], node.merge_key)


def merge_lists(original: list[Any], patch: list[Any], node: Node) -> list[Any]:
    if node.strategy != "merge":
        return patch
    if not original and not patch:
        return original
    if not isinstance(_example(original, patch), dict):
        merged = list(dict.fromkeys([*original, *patch]))
        return in_order(merged, patch, original, "")
    if not node.merge_key:
        raise BadRequest("cannot merge lists without merge key for type struct")
    return _merge_keyed(original, patch, node)


def _example(original: list[Any], patch: list[Any]) -> Any:
    """One item of lists that must all hold the same type of item."""
    types = {go_values.type_name(v) for v in [*original, *patch]}
    if "[]interface {}" in types:
        raise Invalid(NOT_APPLICABLE)
    if len(types) > 1:
        raise BadRequest(f"list element types are not identical: {go_values.plain([original, patch])}")
    return (original or patch)[0]


def _merge_keyed(original: list[Map], patch: list[Map], node: Node) -> list[Any]:
    key, element = node.merge_key, node.element or ANYTHING
    changes: list[Map] = []
    gone: set[Hashable] = set()
    replace = False
    for item in patch:
        directive = item.get(DIRECTIVE)
        if DIRECTIVE not in item:
            changes.append(item)
        elif directive == "delete":
            _check_key(item, key)
            gone.add(identity(item, key))
        elif directive == "replace":
            replace = True
        elif directive == "merge":
            raise BadRequest("merging lists cannot yet be specified in the patch")
        else:
            raise BadRequest(f"unknown patch type: {directive} in map: {go_values.plain(item)}")
    if replace:
        return changes
    before = [item for item in original if identity(item, key) not in gone]
    merged = list(before)
    places: dict[Hashable, int] = {}
    for at, item in enumerate(before):
        _check_key(item, key)
        places.setdefault(identity(item, key), at)
    for item in changes:
        _check_key(item, key)
        value = identity(item, key)
        if value in places:
            merged[places[value]] = merge_maps(merged[places[value]], item, element)
        else:
            places[value] = len(merged)
            merged.append(plain(item))
    return in_order(merged, changes, before, key)


def _check_key(item: Any, key: str) -> None:
    if not isinstance(item, dict):
        raise BadRequest(f"value for key {key} is not a map.")
    if key not in item:
        raise BadRequest(f"map: {go_values.plain(item)} does not contain declared merge key: {key}")


def plain(value: Any) -> Any:
    """A value of a patch that meets nothing in the object: without nulls and directives."""
    if isinstance(value, dict):
        return plain_map(value)
    if isinstance(value, list):
        return [plain(v) for v in value if not (isinstance(v, dict) and DIRECTIVE in v)]
    return value


def plain_map(value: Map) -> Map:
    return {k: plain(v) for k, v in value.items() if v is not None and not _is_directive(k)}


def _is_directive(name: str) -> bool:
    return name in (DIRECTIVE, RETAIN_KEYS) or name.startswith((DELETE_FROM, SET_ORDER))
