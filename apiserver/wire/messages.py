"""The table of messages, read."""

from functools import cache
from typing import NamedTuple

from apiserver.wire.table import MESSAGES


class Field(NamedTuple):
    number: int
    name: str
    """As JSON calls it; `^` for a message whose fields are part of this one in JSON."""
    type: str
    """In lower case a scalar or what looks like one in JSON, else the name of a message."""
    many: str
    """`*` for a list, `%` for a map, else ""."""
    always: bool
    """Zero and empty are said, because they are not the same as nothing."""


class Table(NamedTuple):
    fields: dict[str, list[Field]]
    """By message."""
    names: dict[tuple[str, str], str]
    """(apiVersion, kind) → message; the version is `*` for what every group has."""

    def message(self, api_version: str, kind: str) -> str | None:
        """The message of a kind of object, None if there is none."""
        return self.names.get((api_version, kind)) or self.names.get(("*", kind))


@cache
def table() -> Table:
    fields: dict[str, list[Field]] = {}
    names: dict[tuple[str, str], str] = {}
    message = ""
    for line in MESSAGES.strip().splitlines():
        if line.startswith(" "):
            fields[message] += map(_field, line.split())
            continue
        message, *sent = line.split()
        fields[message] = []
        for each in sent:
            api_version, _, kind = each.rpartition("/")
            names[api_version, kind] = message
    return Table(fields, names)


def _field(text: str) -> Field:
    number, _, rest = text.partition("=")
    name, _, kind = rest.partition(":")
    many = kind[0] if kind[0] in "*%" else ""
    return Field(int(number), name, kind.strip("*%!"), many, kind.endswith("!"))
