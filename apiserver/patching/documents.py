"""Reading patches: JSON that is about to be walked."""

from typing import Any

import msgspec

from api.errors import BadRequest
from apiserver import syntax

MAX_DEPTH = 300
"""Levels of nesting. Merging takes a stack frame or two for each, and no object of Kubernetes comes near."""


def read(body: bytes) -> Any:
    """The value of a JSON text.  Raises BadRequest if it is none, or nested too deeply."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
        raise BadRequest(f"error decoding patch: {syntax.fault_of(body)}") from e
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH:
        check_depth(value)
    return value


def check_depth(value: Any) -> None:
    """Raises BadRequest if a value is nested too deeply to be walked."""
    if _depth(value) > MAX_DEPTH:
        raise BadRequest("error decoding patch: exceeded max depth")


def read_map(body: bytes) -> dict[str, Any]:
    """A JSON object; otherwise as `read`."""
    value = read(body)
    if not isinstance(value, dict):
        raise BadRequest(f"error decoding patch: expected an object, got {type(value).__name__}")
    return value


def _depth(value: Any) -> int:
    levels, layer = 0, [value]
    while layer and levels <= MAX_DEPTH:
        below: list[Any] = []
        for v in layer:
            if isinstance(v, dict):
                below.extend(v.values())
            elif isinstance(v, list):
                below.extend(v)
        layer, levels = below, levels + 1
    return levels


def copy(value: Any) -> Any:
    """A copy that shares nothing; ten times faster than copy.deepcopy."""
    return msgspec.json.decode(msgspec.json.encode(value))
