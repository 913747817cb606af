"""Fields that a document has twice, or that its kind does not have.

https://kubernetes.io/docs/reference/using-api/api-concepts/#field-validation
"""

import json
from functools import cache
from typing import Any

import msgspec

from api.kinds import Kind
from apiserver.rules import strict_types
from apiserver.rules.shapes import Shape, struct

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
        # A key that was dropped takes its colon along; colons inside strings are the same on both sides.
        if document.count(b":") == _encode(_decode(document)).count(b":"):
            return []
    found: list[str] = []
    _walk(json.loads(document, object_pairs_hook=_Pairs), struct(full), "", found)
    return list(dict.fromkeys(found))


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
