"""Who owns the number of replicas, as the scale subresource has it and as the object itself does.

A Scale is applied against owners of its own `spec.replicas`, in its own version; upstream's ScaleHandler.
"""

from typing import Any

from apiserver.patching import field_sets
from apiserver.patching.entries import Entry, Manager, parse, write
from apiserver.patching.field_sets import LEAF, FieldSet, is_member

VERSION = "autoscaling/v1"
IN_SCALE = ("spec", "replicas")

Document = dict[str, Any]


def of_scale(managed_fields: list[Document], path: tuple[str, ...]) -> list[Document]:
    """The managedFields of the Scale of an object that has its replicas at `path`."""
    owners = {m: e for m, e in parse(managed_fields).items() if _owns(e.fields, path)}
    return write({m: Entry(_at(IN_SCALE), VERSION, e.time) for m, e in owners.items()})


def of_object(before: list[Document], scale: list[Document], path: tuple[str, ...], api_version: str) -> list[Document]:
    """The managedFields of the object once its Scale has these: who has lost the replicas there loses them here."""
    left = {_named(m): (m, e) for m, e in parse(scale).items() if _owns(e.fields, IN_SCALE)}
    found: dict[Manager, Entry] = {}
    for manager, entry in parse(before).items():
        if not _owns(entry.fields, path) or left.pop(_named(manager), None) is not None:
            found[manager] = entry
        elif (rest := field_sets.difference(entry.fields, _at(path))) is not None:
            found[manager] = entry.owning(rest)
    for manager, entry in left.values():
        version = api_version if manager.api_version else ""
        found[manager._replace(api_version=version)] = Entry(_at(path), api_version, entry.time)
    return write(found)


def _named(manager: Manager) -> tuple[str, str, str]:
    return manager.name, manager.operation, manager.subresource


def _at(path: tuple[str, ...]) -> FieldSet:
    fields = LEAF
    for name in reversed(path):
        fields = {f"f:{name}": fields}
    return fields


def _owns(fields: FieldSet, path: tuple[str, ...]) -> bool:
    found: FieldSet | None = fields
    for name in path:
        found = found.get(f"f:{name}") if found else None
    return is_member(found)
