"""Which fields two revisions of an object differ in.

This runs on every write, so equal parts are told apart by one comparison of dicts, and only what differs is walked.
"""

from typing import Any, NamedTuple

from apiserver.patching.field_sets import LEAF, FieldSet, key_step, value_step
from apiserver.patching.schemas import ANYTHING, UNTRACKED, Node, key_of

_ABSENT: Any = object()


class Difference(NamedTuple):
    changed: FieldSet | None
    """Added or modified. Of an added struct, map or list item, it and all in it."""
    removed: FieldSet | None
    """The topmost paths that are no more; what was below them is not listed."""


UNCHANGED = Difference(None, None)


def compare(node: Node, old: Any, new: Any) -> Difference:
    """How `new` differs from `old`, which are JSON values at `node`."""
    if old == new:
        return UNCHANGED
    if node.leaf or not (old or new):  # a leaf, or empty both ways: {} and null differ as leaves do
        return Difference(LEAF, None)
    some = old if new is None else new
    if isinstance(some, dict) and isinstance(old, dict | None) and node.form != "list":
        return _compare_maps(node, old or {}, new or {})
    if isinstance(some, list) and isinstance(old, list | None) and node.form == "list":
        return _compare_lists(node, old or [], new or [])
    return Difference(LEAF, None)


def _compare_maps(node: Node, old: dict[str, Any], new: dict[str, Any]) -> Difference:
    changed: FieldSet = {}
    removed: FieldSet = {}
    fields, element = node.fields, node.element or ANYTHING
    for name, value in new.items():
        before = old.get(name, _ABSENT)
        if before == value:
            continue
        declared = fields.get(name)
        step, child = declared or (f"f:{name}", element)
        if child is UNTRACKED:
            continue
        if before is _ABSENT:
            changed[step] = LEAF if child.leaf else added(child, value)
            continue
        below = compare(child, before, value)
        if below.changed is not None:
            changed[step] = below.changed
        if below.removed is not None:
            removed[step] = below.removed
    for name in old.keys() - new.keys():
        if node.child(name) is not UNTRACKED:
            removed[f"f:{name}"] = LEAF
    return Difference(changed or None, removed or None)


def _compare_lists(node: Node, old: list[Any], new: list[Any]) -> Difference:
    before, after = steps(node, old), steps(node, new)
    if before is None or after is None:
        return Difference(LEAF, None)
    changed: FieldSet = {}
    removed: FieldSet = dict.fromkeys(before.keys() - after.keys(), LEAF)
    element = node.element or ANYTHING
    for step, value in after.items():
        was = before.get(step, _ABSENT)
        if was is _ABSENT:
            changed[step] = added(element, value)
            continue
        if isinstance(was, Repeated) or isinstance(value, Repeated):
            if was != value:
                changed[step] = added(element, value)
            continue
        below = compare(element, was, value)
        if below.changed is not None:
            changed[step] = below.changed
        if below.removed is not None:
            removed[step] = below.removed
    return Difference(changed or None, removed or None)


def added(node: Node, value: Any) -> FieldSet:
    """The set of a value that was not there before: itself and everything in it."""
    if node.leaf or not value or isinstance(value, Repeated):
        return LEAF
    if isinstance(value, dict):
        out: FieldSet = {".": LEAF}
        fields, element = node.fields, node.element or ANYTHING
        for name, item in value.items():
            declared = fields.get(name)
            step, child = declared or (f"f:{name}", element)
            if child is not UNTRACKED:
                out[step] = LEAF if child.leaf else added(child, item)
        return out
    if isinstance(value, list) and node.form == "list":
        items = steps(node, value)
        if items is not None:
            element = node.element or ANYTHING
            out = {".": LEAF}
            for step, item in items.items():
                out[step] = LEAF if element.leaf else added(element, item)
            return out
    return LEAF


class Repeated(list[Any]):
    """The items of a list that one step leads to, where there should be one: they are owned together, as a whole."""


def steps(node: Node, items: list[Any]) -> dict[str, Any] | None:
    """The item of a list that each step leads to; Repeated if there are several.

    None if an item cannot be told from the others: such a list is owned as one.
    """
    out: dict[str, Any] = {}
    for item in items:
        step = step_to(node, item)
        if step is None:
            return None
        if step not in out:
            out[step] = item
        elif isinstance(known := out[step], Repeated):
            known.append(item)
        else:
            out[step] = Repeated([known, item])
    return out


def step_to(node: Node, item: Any) -> str | None:
    """The step to one item of a list that is a map or a set; None if the item has no place in it."""
    if node.keys:
        key = key_of(node, item)
        return None if key is None else key_step(key)
    return None if isinstance(item, dict | list) or item is None else value_step(item)
