"""Patches of all four kinds: the document as it stands ▸ the patch ▸ the document that is then written as an update."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from api.errors import BadRequest, UnsupportedMediaType
from api.kinds import Kind
from apiserver import patching
from apiserver.patching import go_values, managed_fields, scale_managers
from apiserver.patching.schemas import Node
from apiserver.requests import Request

Tree = dict[str, Any]
Patch = Callable[[Tree], Tree]

TYPES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}


def patch_of(kind: Kind, body: bytes, patch_type: str, definition: str = "") -> Patch:
    """What the patch does to a document.  Raises BadRequest or Invalid when it is called, in upstream's words."""
    definition = definition or kind.type.__name__
    match patch_type:
        case "json":
            return lambda tree: patching.json_patch(tree, body)
        case "merge":
            return lambda tree: patching.merge_patch(tree, body)
        case "strategic":
            return lambda tree: patching.strategic_merge(tree, body, definition)
    raise unsupported()


def shown(body: bytes) -> str:
    """A patch as upstream's messages show it."""
    return go_values.plain(msgspec.json.decode(body))


def unsupported(*unknown: str) -> UnsupportedMediaType:
    """The refusal of a patch of another type, where these are unknown too."""
    known = ", ".join(media for name, media in TYPES.items() if name not in unknown)
    return UnsupportedMediaType(
        f"the body of the request was in an unknown format - accepted media types include: {known}"
    )


def configuration(body: bytes) -> Tree:
    """The object of a server-side apply, which the doors have turned into JSON.  Raises BadRequest."""
    try:
        tree = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
        raise BadRequest(f"error decoding YAML: {e}") from e
    if not isinstance(tree, dict):
        raise BadRequest("error decoding YAML: the configuration is not an object")
    return tree


def repeated(lines: Sequence[str]) -> BadRequest:
    """The refusal of a configuration in YAML that has keys twice."""
    listed = "\n  ".join(["yaml: unmarshal errors:", *lines])
    return BadRequest(f"error strict decoding YAML: error converting YAML to JSON: {listed}")


def _definition(kind: Kind) -> str | Node:
    """What field ownership is decided by."""
    return kind.shape.node if kind.custom else kind.type.__name__


def applied(request: Request, live: Tree | None, wanted: Tree, now: str, definition: str = "") -> Tree:
    """The document that results when the request's manager applies `wanted`.  Raises Conflict, BadRequest."""
    metadata = wanted.get("metadata")
    version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
    result = managed_fields.apply(
        live, wanted, definition=definition or _definition(request.kind), manager=request.field_manager,
        force=request.force, now=now, subresource=request.subresource,
        api_version=scale_managers.VERSION if definition == "Scale" else request.kind.api_version,
    )  # fmt: skip
    if version:
        result.setdefault("metadata", {})["resourceVersion"] = version
    return result
