"""Structural schemas, compiled from the JSON of a CustomResourceDefinition into a small tree of nodes.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
"""

from __future__ import annotations

from typing import Any

import re2

Tree = dict[str, Any]
IDENTITY = ("apiVersion", "kind", "metadata")
INT_OR_STRING = ("integer", "string")


class Schema:
    """One place in a schema. Never changed once it is built; `source` is the JSON that it was built from."""

    __slots__ = (
        "additional", "all_of", "any_of", "default", "embedded", "embeds", "excluded", "has_default", "int_or_string",
        "items", "list_keys", "list_type", "map_type", "nullable", "one_of", "open", "pattern", "properties", "source",
        "types",
    )  # fmt: skip

    def __init__(self, source: Tree) -> None:
        self.source = source
        self.int_or_string = bool(source.get("x-kubernetes-int-or-string"))
        named = source.get("type")
        self.types: tuple[str, ...] = INT_OR_STRING if self.int_or_string else (named,) if named else ()
        self.nullable = bool(source.get("nullable"))
        self.open = bool(source.get("x-kubernetes-preserve-unknown-fields"))
        """Unknown fields are kept."""
        self.embedded = bool(source.get("x-kubernetes-embedded-resource"))
        self.list_type: str = source.get("x-kubernetes-list-type") or ""
        self.list_keys: tuple[str, ...] = tuple(source.get("x-kubernetes-list-map-keys") or ())
        self.map_type: str = source.get("x-kubernetes-map-type") or ""
        self.properties = {name: Schema(inner) for name, inner in (source.get("properties") or {}).items()}
        additional, items = source.get("additionalProperties"), source.get("items")
        self.additional: Schema | bool = Schema(additional) if isinstance(additional, dict) else bool(additional)
        """Of entries that are no properties; True: anything, False: there is nothing said about them."""
        self.items = Schema(items) if isinstance(items, dict) else None
        self.default = source.get("default")
        self.has_default = self.default is not None
        self.pattern = _pattern(source.get("pattern") or "")
        self.all_of = [Schema(inner) for inner in source.get("allOf") or ()]
        self.any_of = [Schema(inner) for inner in source.get("anyOf") or ()]
        self.one_of = [Schema(inner) for inner in source.get("oneOf") or ()]
        self.excluded = Schema(source["not"]) if isinstance(source.get("not"), dict) else None

        self.embeds: bool = self.embedded or any(inner.embeds for inner in self.below())
        """There are embedded resources here or below."""

    def entry(self, name: str) -> Schema | None:
        """The schema of an entry of an object; None if nothing is said about it."""
        found = self.properties.get(name)
        if found is None and isinstance(self.additional, Schema):
            return self.additional
        return found

    def below(self) -> list[Schema]:
        found = [*self.properties.values()]
        if isinstance(self.additional, Schema):
            found.append(self.additional)
        if self.items is not None:
            found.append(self.items)
        return found

    def combined(self) -> list[Schema]:
        """What else a value must fit here."""
        return [*self.all_of, *self.any_of, *self.one_of, *([self.excluded] if self.excluded is not None else [])]

    def defaults_anything(self) -> bool:
        return self.has_default or any(inner.defaults_anything() for inner in self.below())


def _pattern(text: str) -> Any:
    """Go's expressions are RE2's, and take time in proportion to the value; what is none of them matches everything."""
    if not text:
        return None
    try:
        return re2.compile(text, _OPTIONS)
    except re2.error:
        return None


_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
