"""Fields that the schema does not know are dropped, and named to those who asked for it.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#field-pruning
"""

from typing import Any

from apiserver.customs.schemas import IDENTITY, Schema


def prune(tree: dict[str, Any], schema: Schema) -> list[str]:
    """Drop the unknown fields of an object's document in place; their paths, in the order of the document."""
    dropped: list[str] = []
    _map(tree, schema, "", True, dropped)
    return dropped


def _value(value: Any, schema: Schema | None, path: str, dropped: list[str]) -> None:
    if isinstance(value, dict):
        _map(value, schema, path, schema is not None and schema.embedded, dropped)
    elif isinstance(value, list):
        items = schema.items if schema is not None else None
        if schema is not None and schema.open and items is None:
            return
        for at, item in enumerate(value):
            _value(item, items, f"{path}[{at}]", dropped)


def _map(value: dict[str, Any], schema: Schema | None, path: str, identified: bool, dropped: list[str]) -> None:
    gone = []
    for name, inner in value.items():
        if identified and name in IDENTITY:
            continue
        at = f"{path}.{name}" if path else name
        if schema is None:
            gone.append(name)
            dropped.append(at)
        elif (declared := schema.properties.get(name)) is not None:
            _value(inner, declared, at, dropped)
        elif schema.additional:
            if isinstance(schema.additional, Schema):
                _value(inner, schema.additional, at, dropped)
        elif not schema.open:
            gone.append(name)
            dropped.append(at)
    for name in gone:
        del value[name]
