"""Fields that a document has twice, or that its kind does not have.

https://kubernetes.io/docs/reference/using-api/api-concepts/#field-validation
"""

import json
from functools import cache
from itertools import islice
from typing import Any

import msgspec

from api.kinds import Kind
from apiserver.rules import strict_types
from apiserver.rules.shapes import Shape, struct

MOST = 100
"""Fields that are told of one document, as upstream."""
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


@cache
def _twin(type_name: str) -> msgspec.json.Decoder[Any]:
    return strict_types.decoder(type_name)


def faults(kind: Kind, full: str, document: bytes, clean: Any = None) -> list[str]:
    """Duplicate and unknown fields, as upstream prints them, in the order of the document.

    `document` must be JSON of the right types; `clean` is its content without nulls, if it has any (the twin would
    refuse the document for them).  Cheap when there is nothing to say: one strict decoding, and a count of colons
    against those of the same document without duplicates.
    """
    try:
        _twin(kind.type.__name__).decode(document if clean is None else _encode(clean))
    except msgspec.ValidationError:
        pass
    else:
        if says_once(document, _decode(document)):
            return []
    found: list[str] = []
    _walk(_read(document), struct(full), "", found)
    return _told(found)


def duplicates(document: bytes, tree: Any) -> list[str]:
    """Fields that a document has twice, as upstream prints them. `tree` is its content."""
    if says_once(document, tree):
        return []
    found: list[str] = []
    _walk_plain(_read(document), "", found)
    return _told(found)


def says_once(document: bytes, tree: Any) -> bool:
    """Whether the document names no field twice. `tree` is its content.

    A key that was dropped takes its colon along; colons inside strings are the same on both sides.
    """
    return document.count(b":") == _encode(tree).count(b":")


OPERATION = frozenset({"op", "path", "from", "value"})
"""The fields of an operation of a JSON patch."""


def of_patch(body: bytes, patch_type: str) -> list[str]:
    """Fields that a patch has twice, and in a JSON patch those that no operation has, as upstream prints them.

    They are gone from the document that the patch makes. Nothing is said of a body that cannot be read.
    """
    try:
        plain = _decode(body)
        if patch_type != "json":
            return duplicates(body, plain)
        operations = _read(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return []
    found: list[str] = []
    if isinstance(operations, list) and not isinstance(operations, _Pairs):
        for at, operation in enumerate(operations):
            _walk_operation(operation, f"[{at}]", found)
    return _told(found)


def _walk_plain(value: Any, path: str, found: list[str]) -> None:
    if isinstance(value, _Pairs):
        seen: set[str] = set()
        for name, inner in value:
            at = f"{path}.{name}" if path else name
            if name in seen:
                found.append(f'duplicate field "{at}"')
            seen.add(name)
            _walk_plain(inner, at, found)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _walk_plain(item, f"{path}[{index}]", found)


def _walk_operation(operation: Any, path: str, found: list[str]) -> None:
    seen: set[str] = set()
    for name, _ in operation if isinstance(operation, _Pairs) else ():
        if name not in OPERATION:
            found.append(f'json patch unknown field "{path}.{name}"')
        elif name in seen:
            found.append(f'json patch duplicate field "{path}.{name}"')
        seen.add(name)


def _read(document: bytes) -> Any:
    """Numbers stay texts: Python makes no integer of more than 4,300 digits, and none is needed."""
    return json.loads(document, object_pairs_hook=_Pairs, parse_int=str)


def _told(found: list[str]) -> list[str]:
    return list(islice(dict.fromkeys(found), MOST))


class _Pairs(list[tuple[str, Any]]):
    """An object with all its fields, in order."""


def _walk(value: Any, shape: Shape, path: str, found: list[str]) -> None:
    if isinstance(value, _Pairs):
        if shape.kind == "struct":
            fields = shape.fields()
        elif shape.inner is None:
            return
        else:
            fields = dict.fromkeys((name for name, _ in value), shape.inner)
        seen = set()
        for name, inner in value:
            at = f"{path}.{name}" if path else name
            if name not in fields:
                found.append(f'unknown field "{at}"')
                continue
            if name in seen:
                found.append(f'duplicate field "{at}"')
            seen.add(name)
            _walk(inner, fields[name], at, found)
    elif isinstance(value, list) and shape.inner is not None:
        for i, inner in enumerate(value):
            _walk(inner, shape.inner, f"{path}[{i}]", found)
