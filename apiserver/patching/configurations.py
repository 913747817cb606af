"""What somebody applies: whether it fits the schema, and which fields it claims.

The messages are those of upstream's structured-merge-diff, which checks an applied configuration before any validation
does; a configuration that does not fit is answered with a plain 500 there, and as its author's fault (400) here.
"""

from typing import Any

from api import schema
from api.errors import BadRequest
from apiserver.patching import documents, field_sets, go_values
from apiserver.patching.field_sets import LEAF, FieldSet, key_step, value_step
from apiserver.patching.schemas import ANYTHING, KEY_DEFAULTS, UNTRACKED, Node, key_of

Path = tuple[str, ...]
Faults = list[str]


def relevant(root: Node, config: dict[str, Any], api_version: str, definition: str | Node) -> dict[str, Any]:
    """`config` without what this request cannot set.  Raises BadRequest if it is about something else."""
    documents.check_depth(config)
    version, kind = config.get("apiVersion", ""), config.get("kind", "")
    group_version_kind = f"{version if '/' in version else '/' + version}, Kind={kind}"
    if kind not in _kinds(definition, kind):
        raise BadRequest(f"invalid object type: {group_version_kind}")
    if version != api_version:
        raise BadRequest(
            f"Incorrect version specified in apply patch. Specified patch version: {version}, expected: {api_version}"
        )
    metadata = config.get("metadata")
    if isinstance(metadata, dict) and metadata.get("managedFields") is not None:
        raise BadRequest("metadata.managedFields must be nil")
    head = ("apiVersion", "kind", "metadata")
    out = {k: v for k, v in config.items() if k in head or root.child(k) is not UNTRACKED}
    if isinstance(metadata, dict):
        # A null here is what `kubectl create --dry-run -o yaml` leaves of the server's fields.
        out["metadata"] = {
            k: v for k, v in metadata.items() if v is not None or root.child("metadata").child(k) is not UNTRACKED
        }
    return out


def _kinds(definition: str | Node, otherwise: str) -> list[str]:
    full = schema.names().get(definition, "") if isinstance(definition, str) else ""
    properties = schema.definitions().get(full, {}).get("properties", {})
    return properties.get("kind", {}).get("enum") or [otherwise]


def fields_of(root: Node, config: dict[str, Any]) -> FieldSet | None:
    """The fields that a configuration claims.  Raises BadRequest naming every fault if it does not fit."""
    faults: Faults = []
    owned = _map(root, config, (), faults)
    if faults:
        metadata = config.get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        version = config.get("apiVersion", "")
        about = (
            f"{metadata.get('namespace', '')}/{metadata.get('name', '')}; "
            f"{version if '/' in version else '/' + version}, Kind={config.get('kind', '')}"
        )
        listed = faults[0] if len(faults) == 1 else "errors:\n" + "\n".join(f"  {f}" for f in faults)
        raise BadRequest(f"failed to create typed patch object ({about}): {listed}")
    return owned


def _value(node: Node, value: Any, path: Path, faults: Faults) -> FieldSet | None:
    """The set of a value at `path`; LEAF if it is owned as a whole, None if there is nothing in it to own."""
    if node.form == "map":
        if isinstance(value, dict):
            return _map(node, value, path, faults)
        if value is not None:
            _fault(faults, path, f"expected map, got &{{{go_values.plain(value)}}}")
    elif node.form == "list":
        if isinstance(value, list):
            return _list(node, value, path, faults)
        if value is not None:
            _fault(faults, path, f"expected list, got &{{{go_values.plain(value)}}}")
    elif node.form == "scalar":
        _scalar(node, value, path, faults)
    elif isinstance(value, dict):
        return _map(node, value, path, faults)
    return LEAF


def _map(node: Node, value: dict[str, Any], path: Path, faults: Faults) -> FieldSet | None:
    out: FieldSet = {}
    for name, item in value.items():
        declared = node.fields.get(name)
        if declared is None and not node.open:
            _fault(faults, (*path, f"f:{name}"), "field not declared in schema")
            continue
        step, child = declared or (f"f:{name}", node.element or ANYTHING)
        if child is UNTRACKED:
            continue
        below = _value(child, item, (*path, step), faults)
        if item is None or item == {} or declared is None:
            below = field_sets.union(below, LEAF)
        if below is not None:
            out[step] = below
    return LEAF if node.atomic else out or None


def _list(node: Node, items: list[Any], path: Path, faults: Faults) -> FieldSet | None:
    element = node.element or ANYTHING
    if node.atomic:
        for at, item in enumerate(items):
            _value(element, item, (*path, f"i:{at}"), faults)
        return LEAF
    out: FieldSet = {}
    for at, item in enumerate(items):
        wrong = _wrong_item(node, item)
        if wrong:
            _fault(faults, path, f"element {at}: {wrong}")
            continue
        step = key_step(key_of(node, item) or {}) if node.keys else value_step(item)
        if step in out:
            _fault(faults, path, f"duplicate entries for key {field_sets.show_step(step)}")
        out[step] = field_sets.union(_value(element, item, (*path, step), faults), LEAF) or LEAF
    return out or None


def _wrong_item(node: Node, item: Any) -> str:
    """Why an item cannot stand in a list that is a map or a set; "" if it can."""
    if node.keys:
        if item is None:
            return "associative list with keys may not have a null element"
        if not isinstance(item, dict):
            return "associative list with keys may not have non-map elements"
        missing = [k for k in node.keys if k not in item and k not in KEY_DEFAULTS]
        if missing and (missing[0] not in OPTIONAL_KEYS or len(missing) == len(node.keys)):
            return (
                f'associative list with keys has an element that omits key field "{missing[0]}" '
                "(and doesn't have default value)"
            )
        return ""
    if isinstance(item, dict):
        return "associative list without keys has an element that's a map type"
    if isinstance(item, list):
        return "not supported: associative list with lists as elements"
    return "associative list without keys has an element that's an explicit null" if item is None else ""


OPTIONAL_KEYS = {"shareID"}


def _scalar(node: Node, value: Any, path: Path, faults: Faults) -> None:
    if value is None:
        return
    if node.scalar == "string" and not isinstance(value, str):
        _fault(faults, path, f"expected string, got &value.valueUnstructured{{Value:{go_values.syntax(value)}}}")
    elif node.scalar == "number" and (isinstance(value, bool) or not isinstance(value, int | float)):
        _fault(faults, path, f"expected numeric (int or float), got {go_values.type_name(value)}")
    elif node.scalar == "boolean" and not isinstance(value, bool):
        _fault(faults, path, f"expected boolean, got &{{{go_values.plain(value)}}}")
    elif not node.scalar and isinstance(value, dict | list):
        _fault(faults, path, f"expected any scalar, got &{{{go_values.plain(value)}}}")


def _fault(faults: Faults, path: Path, why: str) -> None:
    faults.append(f"{field_sets.show(path)}: {why}")
