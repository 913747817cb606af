"""Lists that are sets or maps hold nothing twice.

https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from api.paths import Fault, Path, duplicate
from apiserver.customs.schemas import Schema
from apiserver.customs.values import ABSENT, key_of, same


def faults(value: Any, schema: Schema, path: Path = Path(), old: Any = ABSENT) -> Iterator[Fault]:  # noqa: B008
    """`old` is what stood here before: what did not change may stay."""
    if old is not ABSENT and same(old, value):
        return
    if isinstance(value, dict):
        before = old if isinstance(old, dict) else {}
        for name, inner in value.items():
            declared = schema.entry(name)
            if declared is not None:
                yield from faults(inner, declared, path.child(name), before.get(name, ABSENT))
    elif isinstance(value, list) and schema.items is not None:
        yield from _twins(value, schema, path)
        for at, item in enumerate(value):
            yield from faults(item, schema.items, path.index(at))


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
