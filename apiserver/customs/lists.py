"""Lists that are sets or maps hold nothing twice.

https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from api.paths import Fault, Path, duplicate
from apiserver.customs.schemas import Schema
from apiserver.customs.values import ABSENT, key_of


def faults(value: Any, schema: Schema, path: Path = Path(), old: Any = ABSENT) -> list[Fault]:  # noqa: B008
    """`old` is what stood here before: if anything was wrong with it by this schema, nothing is said.

    So upstream measures it: whoever must repair an object whose definition became stricter can do so step by step.
    """
    found = [*_faults(value, schema, path)]
    return [] if found and old is not ABSENT and any(_faults(old, schema, path)) else found


def _faults(value: Any, schema: Schema, path: Path) -> Iterator[Fault]:
    if isinstance(value, dict):
        for name, inner in value.items():
            declared = schema.entry(name)
            if declared is not None:
                yield from _faults(inner, declared, path.child(name))
    elif isinstance(value, list) and schema.items is not None:
        yield from _twins(value, schema, path)
        for at, item in enumerate(value):
            yield from _faults(item, schema.items, path.index(at))


def _twins(value: list[Any], schema: Schema, path: Path) -> Iterator[Fault]:
    seen: set[bytes] = set()
    told: set[bytes] = set()
    for at, item in enumerate(value):
        if schema.list_type == "set":
            key, shown = msgspec.json.encode(item, order="sorted"), item
        elif schema.list_type == "map":
            found = key_of(item, schema)
            if found is None:
                continue
            key, shown = found, msgspec.json.decode(found)
        else:
            return
        if key in seen and key not in told:
            told.add(key)
            yield duplicate(path.index(at), shown)
        seen.add(key)
