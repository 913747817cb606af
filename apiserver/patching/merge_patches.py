"""JSON merge patch: https://www.rfc-editor.org/rfc/rfc7386"""

from typing import Any

from api.errors import BadRequest
from apiserver.patching import documents


def merge_patch(document: dict[str, Any], patch: bytes) -> dict[str, Any]:
    """`document` as the patch makes it.  Raises BadRequest if the patch is not a JSON object."""
    try:
        wanted = documents.read_map(patch)
    except BadRequest as e:
        raise BadRequest("Invalid JSON Patch") from e
    return merge(document, wanted)


def merge(target: Any, patch: dict[str, Any]) -> dict[str, Any]:
    """RFC 7386's MergePatch for an object; parts that do not change are shared with `target`."""
    out = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            out.pop(name, None)
        elif isinstance(value, dict):
            out[name] = merge(out.get(name), value)
        else:
            out[name] = value
    return out
