"""The document of version 2 as protobuf, which client-go reads: kubectl before 1.30 cannot apply without it.

Names and numbers of the fields are those of gnostic's openapi.v2 package, as far as our documents have them.
https://github.com/google/gnostic/blob/main/openapiv2/OpenAPIv2.proto
"""

import struct
from collections.abc import Callable
from typing import Any

import msgspec

from apiserver.wire.values import FIXED64, LENGTH, VARINT, sized, tag, unsigned

MEDIA = (
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
)
"""What it is called, the older name last: upstream serves both."""

Say = Callable[[Any], bytes]


def pack(document: dict[str, Any]) -> bytes:
    """The message `openapi.v2.Document`. What it has no field for is left out."""
    return _message("Document")(document)


def _text(number: int) -> Say:
    return lambda value: _sized(number, value.encode())


def _texts(number: int) -> Say:
    return lambda values: b"".join(_sized(number, each.encode()) for each in values)


def _flag(number: int) -> Say:
    return lambda value: tag(number, VARINT) + unsigned(int(value)) if value else b""


def _whole(number: int) -> Say:
    return lambda value: tag(number, VARINT) + unsigned(value)


def _real(number: int) -> Say:
    return lambda value: tag(number, FIXED64) + struct.pack("<d", value)


def _any(number: int) -> Say:
    return lambda value: _sized(number, _yaml(value))


def _anys(number: int) -> Say:
    return lambda values: b"".join(_sized(number, _yaml(each)) for each in values)


def _one(number: int, say: Say) -> Say:
    return lambda value: _sized(number, say(value))


def _many(number: int, say: Say) -> Say:
    return lambda values: b"".join(_sized(number, say(each)) for each in values)


def _named(number: int, say: Say) -> Say:
    """A map as a list of names and values; extensions are elsewhere."""
    return lambda values: b"".join(
        _sized(number, _sized(1, name.encode()) + _sized(2, say(value)))
        for name, value in values.items()
        if not (name.startswith("x-") and say is not _schema)
    )


def _sized(number: int, body: bytes) -> bytes:
    return tag(number, LENGTH) + sized(body)


def _yaml(value: Any) -> bytes:
    """gnostic's Any: its field `yaml`. JSON is YAML."""
    return _sized(2, msgspec.json.encode(value))


def _message(name: str) -> Say:
    def say(value: dict[str, Any]) -> bytes:
        fields, extension = _MESSAGES[name]
        parts = []
        for key, inner in value.items():
            if key in fields:
                parts.append(fields[key](inner))
            elif extension and key.startswith("x-"):
                parts.append(_sized(extension, _sized(1, key.encode()) + _sized(2, _yaml(inner))))
        return b"".join(parts)

    return say


def _additional(value: Any) -> bytes:
    return _whole(2)(int(value)) if isinstance(value, bool) else _sized(1, _schema(value))


def _type(value: Any) -> bytes:
    return _texts(1)([value] if isinstance(value, str) else value)


def _items(value: Any) -> bytes:
    return _many(1, _schema)(value if isinstance(value, list) else [value])


def _parameter(value: dict[str, Any]) -> bytes:
    if "$ref" in value:
        return _sized(2, _text(1)(value["$ref"]))
    if value["in"] == "body":
        return _sized(1, _sized(1, _message("BodyParameter")(value)))
    place, shape = {"query": (3, "QueryParameter"), "header": (1, "PathParameter")}.get(
        value["in"], (4, "PathParameter")
    )
    return _sized(1, _sized(2, _sized(place, _message(shape)(value))))


def _response(value: dict[str, Any]) -> bytes:
    return _sized(1, _message("Response")(value))


_schema, _operation = _message("Schema"), _message("Operation")
_COMMON = {"required": _flag(1), "in": _text(2), "description": _text(3), "name": _text(4)}

# For each message its fields by their JSON names, and the number of its extensions.
_MESSAGES: dict[str, tuple[dict[str, Say], int]] = {
    "Document": ({
        "swagger": _text(1), "info": _one(2, _message("Info")), "host": _text(3), "basePath": _text(4),
        "schemes": _texts(5), "consumes": _texts(6), "produces": _texts(7),
        "paths": _one(8, _named(2, _message("PathItem"))), "definitions": _one(9, _named(1, _schema)),
    }, 16),
    "Info": ({"title": _text(1), "version": _text(2), "description": _text(3)}, 7),
    "PathItem": ({
        "get": _one(2, _operation), "put": _one(3, _operation), "post": _one(4, _operation),
        "delete": _one(5, _operation), "options": _one(6, _operation), "head": _one(7, _operation),
        "patch": _one(8, _operation), "parameters": _many(9, _parameter),
    }, 10),
    "Operation": ({
        "tags": _texts(1), "summary": _text(2), "description": _text(3), "operationId": _text(5),
        "produces": _texts(6), "consumes": _texts(7), "parameters": _many(8, _parameter),
        "responses": _one(9, _named(1, _response)), "schemes": _texts(10), "deprecated": _flag(11),
    }, 13),
    "Response": ({"description": _text(1), "schema": _one(2, lambda value: _sized(1, _schema(value)))}, 5),
    "BodyParameter": ({
        "description": _text(1), "name": _text(2), "in": _text(3), "required": _flag(4), "schema": _one(5, _schema),
    }, 6),
    "QueryParameter": ({**_COMMON, "type": _text(6), "format": _text(7), "uniqueItems": _flag(20)}, 23),
    "PathParameter": ({**_COMMON, "type": _text(5), "format": _text(6), "uniqueItems": _flag(19)}, 22),
    "Schema": ({
        "$ref": _text(1), "format": _text(2), "title": _text(3), "description": _text(4), "default": _any(5),
        "multipleOf": _real(6), "maximum": _real(7), "exclusiveMaximum": _flag(8), "minimum": _real(9),
        "exclusiveMinimum": _flag(10), "maxLength": _whole(11), "minLength": _whole(12), "pattern": _text(13),
        "maxItems": _whole(14), "minItems": _whole(15), "uniqueItems": _flag(16), "maxProperties": _whole(17),
        "minProperties": _whole(18), "required": _texts(19), "enum": _anys(20),
        "additionalProperties": _one(21, _additional), "type": _one(22, _type), "items": _one(23, _items),
        "allOf": _many(24, _schema), "properties": _one(25, _named(1, _schema)), "discriminator": _text(26),
        "readOnly": _flag(27), "example": _any(30),
    }, 31),
}  # fmt: skip
