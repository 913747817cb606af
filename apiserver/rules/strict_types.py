"""Twins of the types of `api.types` that refuse unknown fields: the cheapest way to learn that there are none."""

import sys
from typing import Any

import msgspec

from api import schema

_builder = schema.Builder(__name__, forbid_unknown_fields=True)


def twin(name: str) -> type[Any]:
    """The strict twin of `api.types.NAME`."""
    struct = _builder.build(name)
    for built, type_ in _builder.built.items():
        setattr(sys.modules[__name__], built, type_)  # forward references are looked up here
    return struct


def decoder(name: str) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(twin(name))
