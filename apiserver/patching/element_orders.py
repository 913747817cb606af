"""The order of a merged list: what the patch says, then what the object had.

https://github.com/kubernetes/design-proposals-archive/blob/main/cli/preserve-order-in-strategic-merge-patch.md
Items are told apart by the value under their merge key, scalars ("" as the key) by themselves.
"""

from collections.abc import Hashable
from typing import Any


def identity(item: Any, key: str) -> Hashable:
    """What an item is found by; equal for equal values only (true is not 1)."""
    value = item.get(key) if key and isinstance(item, dict) else item
    return type(value), value if isinstance(value, Hashable) else repr(value)


def in_order(merged: list[Any], wanted: list[Any], live: list[Any], key: str) -> list[Any]:
    """Items of `merged`: those in `wanted` in its order, the others put among them as they stood in `live`."""
    by_wish = _places(wanted, key)
    by_life = _places(live, key)
    ours = [item for item in merged if identity(item, key) in by_wish]
    theirs = [item for item in merged if identity(item, key) not in by_wish]
    ours.sort(key=lambda item: by_wish[identity(item, key)])
    theirs.sort(key=lambda item: by_life.get(identity(item, key), len(live)))
    out: list[Any] = []
    at = 0
    for item in ours:
        place = by_life.get(identity(item, key))
        while place is not None and at < len(theirs) and by_life.get(identity(theirs[at], key), place) < place:
            out.append(theirs[at])
            at += 1
        out.append(item)
    return out + theirs[at:]


def matches_order(changes: list[Any], order: list[Any], key: str) -> bool:
    """Whether the items that a patch changes stand in the order that it states, and are all in it."""
    if not changes or not order:
        return True
    left = iter([identity(item, key) for item in order])
    kept = [identity(c, key) for c in changes if not (isinstance(c, dict) and "$patch" in c)]
    return all(change in left for change in kept)


def _places(items: list[Any], key: str) -> dict[Hashable, int]:
    places: dict[Hashable, int] = {}
    for at, item in enumerate(items):
        places.setdefault(identity(item, key), at)
    return places
