"""Merging an applied configuration into the live object, and taking out what its manager has given up."""

from collections import deque
from typing import Any

from apiserver.patching.differences import Repeated, step_to, steps
from apiserver.patching.field_sets import FieldSet, is_member
from apiserver.patching.schemas import ANYTHING, Node

_ABSENT: Any = object()
MANAGERS = "managedFields"


def merge(root: Node, live: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """`live` with everything that `config` says, without managedFields."""
    merged: dict[str, Any] = _merge(root, without_managers(live), config)
    return merged


def without_managers(document: dict[str, Any]) -> dict[str, Any]:
    metadata = document.get("metadata")
    if not metadata or MANAGERS not in metadata:
        return document
    return {**document, "metadata": {k: v for k, v in metadata.items() if k != MANAGERS}}


def _merge(node: Node, live: Any, config: Any) -> Any:
    if node.atomic or not (live or config):
        return _new(node, config)
    if isinstance(live, dict) and isinstance(config, dict | None) and node.form != "list":
        out = dict(live)
        for name, value in (config or {}).items():
            before = live.get(name, _ABSENT)
            if before is not _ABSENT:
                out[name] = _merge(node.child(name), before, value)
            elif value is not None or name not in node.fields:
                out[name] = _new(node.child(name), value)
        return out
    if isinstance(live, list) and isinstance(config, list | None) and node.form == "list":
        return _merge_lists(node, live, config or [])
    return _new(node, config)


def _new(node: Node, value: Any) -> Any:
    """A value that meets nothing, without the declared fields that it sets to null: null says nothing then."""
    if isinstance(value, dict):
        return {k: _new(node.child(k), v) for k, v in value.items() if v is not None or k not in node.fields}
    if isinstance(value, list):
        element = node.element or ANYTHING
        return [_new(element, v) for v in value]
    return value


def _merge_lists(node: Node, live: list[Any], config: list[Any]) -> list[Any]:
    """Items of both, in the order of `config`.

    Those that only `live` has keep their place before the next item that both have, and stand before new ones.
    """
    before, after = steps(node, live), steps(node, config)
    if before is None or after is None:
        return config
    element = node.element or ANYTHING
    pending = deque((step_to(node, item) or "", item) for item in live)
    shared = deque(step for step in after if step in before)
    out: list[Any] = []

    def keep_theirs(until: str) -> None:
        while pending and pending[0][0] != until:
            step, item = pending.popleft()
            if step not in after:
                out.append(item)

    for step, value in after.items():
        keep_theirs(shared[0] if shared else "")
        if step in before:
            shared.popleft()
            there = before[step]
            out.append(_new(element, value) if isinstance(there, Repeated) else _merge(element, there, value))
        else:
            out.append(_new(element, value))
    keep_theirs("")
    return out


def prune(node: Node, value: Any, last: FieldSet, claimed: FieldSet | None) -> Any:
    """`value` without what is in `last` and nobody claims any more.

    As upstream does, a struct whose owned fields are all given up goes as a whole, with what nobody owns in it, and so
    does the item of a list; what was never owned stays in anything that stays.
    """
    if node.atomic or not last:
        return value
    if isinstance(value, dict):
        kept: dict[str, Any] = {}
        for name, item in value.items():
            named = name in node.fields
            pruned = _prune_child(
                node.child(name), item, last.get(f"f:{name}"), (claimed or {}).get(f"f:{name}"), named
            )
            if pruned is not _ABSENT:
                kept[name] = pruned
        return kept
    if not isinstance(value, list) or node.form != "list":
        return value
    element = node.element or ANYTHING
    left = []
    for item in value:
        step = step_to(node, item) or ""
        left.append(_prune_child(element, item, last.get(step), (claimed or {}).get(step), False))
    return [v for v in left if v is not _ABSENT]


def _prune_child(node: Node, value: Any, last: FieldSet | None, claimed: FieldSet | None, named: bool) -> Any:
    if last is None:
        return value
    held = is_member(claimed) or (named and claimed is not None)
    if (named or is_member(last)) and not held:
        return _ABSENT
    pruned = prune(node, value, last, claimed)
    # Emptied by this, and nobody said that it should exist: gone. `emptyDir: {}` is something that somebody said.
    return _ABSENT if value and pruned in ({}, []) and not is_member(claimed) else pruned
