"""Tables of custom kinds: their additionalPrinterColumns, or name and age.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#additional-printer-columns
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from api import times
from apiserver.customs import jsonpaths
from apiserver.rest.tables.columns import CUSTOM, Column, Printer, duration

Tree = dict[str, Any]
NAME = (
    "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a "
    "client to request the generation of an appropriate name automatically. Name is primarily intended for creation "
    "idempotence and configuration definition. Cannot be updated. More info: "
    "https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names"
)
AGE = (
    "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed "
    "to be set in happens-before order across separate operations. Clients may not set this value. It is represented "
    "in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata"
)


class Cell(NamedTuple):
    type: str
    path: jsonpaths.Path


class Columns:
    """`given` are the definition's CustomResourceColumnDefinitions."""

    def __init__(self, given: Sequence[Any]) -> None:
        columns = [Column("Name", "string", "name", 0, NAME)]
        self._cells: list[Cell] = []
        if not given:
            columns.append(Column("Age", "date", "", 0, AGE))
            self._cells.append(Cell("date", jsonpaths.parse(".metadata.creationTimestamp")))
        for column in given:
            try:
                path = jsonpaths.parse(column.jsonPath or "")
            except jsonpaths.Malformed:
                continue
            type_ = column.type or "string"
            described = (
                column.description or f"Custom resource definition column (in JSONPath format): {column.jsonPath}"
            )
            columns.append(Column(column.name or "", type_, column.format or "", column.priority or 0, described))
            self._cells.append(Cell(type_, path))

        self.printer = Printer(CUSTOM, tuple(columns), self.cells, _no_conditions)

    def cells(self, tree: Tree, now: float) -> list[Any]:
        return [(tree.get("metadata") or {}).get("name", ""), *(_cell(cell, tree, now) for cell in self._cells)]


def _no_conditions(_: Tree) -> list[dict[str, str]]:
    return []


def _cell(cell: Cell, tree: Tree, now: float) -> Any:
    found = jsonpaths.find(cell.path, tree)
    if not found:
        return None
    value = found[0]
    match cell.type:
        case "string":
            return ",".join(map(text, found)) if len(found) > 1 else text(value)
        case "integer":
            return int(value) if _is_number(value) else _read(value, int)
        case "number":
            return value if _is_number(value) else _read(value, float)
        case "boolean":
            return value if isinstance(value, bool) else None
        case "date":
            return _date(value, now)
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _read(value: Any, type_: type[int] | type[float]) -> Any:
    try:
        return type_(value) if isinstance(value, str) else None
    except ValueError:
        return None


def text(value: Any) -> str:
    """A value as JSONPath's printer shows it."""
    if isinstance(value, str):
        return value
    if value is None:
        return "<nil>"
    return re.sub(r"\n$", "", msgspec.json.encode(value).decode())


def _date(value: Any, now: float) -> Any:
    if not isinstance(value, str):
        return "<unknown>"
    try:
        return duration(now - times.parse(value))
    except ValueError:
        return "<invalid>"
