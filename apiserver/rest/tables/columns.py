"""What a table of a kind is made of: its columns, and the function from an object to its cells."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from api import labels, times

Cells = Callable[[Any, float], list[Any]]
"""(object, now in seconds since the epoch) → one value for each column."""


@dataclass(frozen=True, slots=True)
class Column:
    """A TableColumnDefinition. Columns of priority 1 are shown by `kubectl get -o wide` only."""

    name: str
    type: str = "string"
    format: str = ""
    priority: int = 0
    description: str = ""

    def definition(self) -> dict[str, Any]:
        return {
            "name": self.name, "type": self.type, "format": self.format, "description": self.description,
            "priority": self.priority,
        }  # fmt: skip


CUSTOM = "*"


@dataclass(frozen=True, slots=True)
class Printer:
    """The table of one kind. `type` is the name of its Struct in api.types, or CUSTOM for documents as they are."""

    type: str
    columns: tuple[Column, ...]
    cells: Cells
    conditions: Callable[[Any], list[dict[str, str]]] = lambda _: []
    """The row's conditions: clients that hide what is done look at them."""


def columns(text: str) -> tuple[Column, ...]:
    """`Name Ready:integer Nominated_Node*` → columns; `*` marks a wide one, `_` stands for a blank."""
    found = []
    for word in text.split():
        name, _, type_ = word.rstrip("*").partition(":")
        format_ = "name" if name == "Name" else ""
        found.append(Column(name.replace("_", " "), type_ or "string", format_, 1 if word.endswith("*") else 0))
    return tuple(found)


def duration(seconds: float) -> str:
    """The short form of a duration: two units at most, and only as fine as its length deserves."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 120:
        return f"{max(whole, 0)}s"
    minutes, hours = whole // 60, whole // 3600
    days = hours // 24
    if minutes < 10:
        return _two(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 24 * 8:
        return _two(days, "d", hours % 24, "h")
    if days < 365 * 2:
        return f"{days}d"
    if days < 365 * 8:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(large: int, unit: str, small: int, subunit: str) -> str:
    return f"{large}{unit}{small}{subunit}" if small else f"{large}{unit}"


def since(time: str | None, now: float) -> str:
    """How long ago an RFC 3339 time was."""
    return duration(now - times.parse(time)) if time else "<unknown>"


def age(obj: Any, now: float) -> str:
    return since(obj.metadata.creationTimestamp, now)


def label_map(pairs: Mapping[str, str]) -> str:
    return ",".join(f"{k}={v}" for k, v in sorted(pairs.items())) or "<none>"


def selector(obj: Any) -> str:
    """A LabelSelector as text, its requirements in the order of their keys."""
    parsed = labels.from_object(obj) if obj is not None else labels.EVERYTHING
    return ",".join(str(r) for r in sorted(parsed.requirements, key=lambda r: r.key)) or "<none>"


def containers(template: Any) -> list[str]:
    """The cells Containers and Images of a pod template."""
    found = template.spec.containers if template is not None and template.spec is not None else []
    return [",".join(c.name for c in found), ",".join(c.image for c in found)]


def first(words: list[str], limit: int, separator: str = ",") -> str:
    """The first few words, and how many there are beyond."""
    shown = separator.join(words[:limit])
    return f"{shown} + {len(words) - limit} more..." if len(words) > limit else shown


def flag(value: bool | None) -> str:
    return "<unset>" if value is None else "True" if value else "False"


def name_and_age(obj: Any, now: float) -> list[Any]:
    return [obj.metadata.name, age(obj, now)]


NAME_AND_AGE = columns("Name Age")
