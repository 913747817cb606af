"""The way from client-side apply to server-side apply.

`kubectl apply` keeps what it applied last in an annotation. When the same user turns to `--server-side`, what the
annotation says and the object still has is theirs, whoever is recorded as its manager; and the annotation is kept up to
date, so that the way back is open.
https://kubernetes.io/docs/reference/using-api/server-side-apply/#upgrading-from-client-side-apply-to-server-side-apply
"""

from typing import Any

import msgspec

from api.errors import ApiError
from apiserver.patching import configurations, field_sets
from apiserver.patching.differences import compare
from apiserver.patching.field_sets import FieldSet
from apiserver.patching.schemas import Node

ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"
LIMIT = 256 * 1024
"""Bytes of all annotations together; the annotation is given up rather than exceed it."""


def fields(root: Node, live: dict[str, Any]) -> FieldSet | None:
    """What the annotation of `live` lists and `live` still has as it was applied; None if nothing."""
    text = _annotations(live).get(ANNOTATION)
    if not text:
        return None
    try:
        applied = msgspec.json.decode(text, type=dict[str, Any])
        owned = configurations.fields_of(root, applied)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ApiError):
        return None
    changed, removed = compare(root, applied, live)
    return field_sets.without(field_sets.difference(owned, changed), removed)


def refresh(merged: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """`merged` with the annotation saying `config`, if it has the annotation."""
    annotations = _annotations(merged)
    if ANNOTATION not in annotations:
        return merged
    metadata = dict(config.get("metadata") or {})
    kept = {k: v for k, v in (metadata.pop("annotations", None) or {}).items() if k != ANNOTATION}
    if kept:
        metadata["annotations"] = kept
    # kubectl ends the text with a newline, and compares it as text.
    text = msgspec.json.encode({**config, "metadata": metadata}, order="sorted").decode() + "\n"
    others = {k: v for k, v in annotations.items() if k != ANNOTATION}
    if sum(len(k.encode()) + len(str(v).encode()) for k, v in [*others.items(), (ANNOTATION, text)]) <= LIMIT:
        others[ANNOTATION] = text
    return {**merged, "metadata": {**merged["metadata"], "annotations": others}}


def _annotations(document: dict[str, Any]) -> dict[str, str]:
    return (document.get("metadata") or {}).get("annotations") or {}
