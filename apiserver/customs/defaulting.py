"""Defaults of a structural schema.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#defaulting
"""

import copy
from typing import Any

from apiserver.customs.schemas import Schema


def default(value: Any, schema: Schema) -> None:
    """Fill in, in place: where nothing is said, and where null is said that may not be. Other such nulls go."""
    _fill(value, schema)
    _drop_nulls(value, schema)


def _fill(value: Any, schema: Schema) -> None:
    if isinstance(value, dict):
        for name, inner in schema.properties.items():
            if inner.has_default and (name not in value or _misplaced(value[name], inner)):
                value[name] = copy.deepcopy(inner.default)
        for name, inner in value.items():
            declared = schema.properties.get(name)
            if declared is not None:
                _fill(inner, declared)
            elif isinstance(schema.additional, Schema):
                if _misplaced(inner, schema.additional) and schema.additional.has_default:
                    value[name] = copy.deepcopy(schema.additional.default)
                _fill(value[name], schema.additional)
    elif isinstance(value, list) and schema.items is not None:
        for at, inner in enumerate(value):
            if _misplaced(inner, schema.items) and schema.items.has_default:
                value[at] = copy.deepcopy(schema.items.default)
            _fill(value[at], schema.items)


def _drop_nulls(value: Any, schema: Schema) -> None:
    if isinstance(value, dict):
        for name in list(value):
            inner = schema.entry(name)
            if inner is None:
                continue
            if _misplaced(value[name], inner):
                del value[name]
            else:
                _drop_nulls(value[name], inner)
    elif isinstance(value, list) and schema.items is not None:
        for inner_value in value:
            _drop_nulls(inner_value, schema.items)


def _misplaced(value: Any, schema: Schema) -> bool:
    return value is None and not schema.nullable
