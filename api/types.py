"""`from api.types import Pod`: the typed objects of Kubernetes, built from the schema when first named.

`api.schema` has the rules; `python -m api.schema > api/types.pyi` tells a type checker about them.
"""

import sys
from typing import Any

from api import schema

_builder = schema.Builder(__name__)


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    try:
        struct = _builder.build(name)
    except KeyError:
        raise AttributeError(f"Kubernetes {schema.VERSION} has no type {name}") from None
    # Forward references between Structs are looked up in their module.
    for built, type_ in _builder.built.items():
        setattr(sys.modules[__name__], built, type_)
    return struct
