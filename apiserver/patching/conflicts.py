"""Fields that a server-side apply would take from other managers, and what upstream says about them."""

from itertools import groupby

from api.errors import Conflict
from apiserver.patching import field_sets
from apiserver.patching.entries import Entries, Manager
from apiserver.patching.field_sets import FieldSet

Conflicts = dict[Manager, FieldSet]


def find(others: Entries, changed: FieldSet | None) -> Conflicts:
    """Which of the fields that change belong to whom."""
    found = {m: field_sets.intersection(e.fields, changed) for m, e in others.items()}
    return {m: fields for m, fields in found.items() if fields is not None}


def excuse(found: Conflicts, excused: FieldSet | None) -> Conflicts:
    """The conflicts, unless all of them are excused."""
    left = {m: field_sets.difference(fields, excused) for m, fields in found.items()}
    return {m: fields for m, fields in left.items() if fields is not None}


def refusal(found: Conflicts) -> Conflict:
    """`Apply failed with 1 conflict: conflict with "kubectl" using apps/v1: .spec.replicas`, and a cause for each."""
    listed = [(str(m), field_sets.show(p)) for m in sorted(found, key=str) for p in field_sets.paths(found[m])]
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {manager}", "field": path}
        for manager, path in listed
    ]
    if len(listed) == 1:
        manager, path = listed[0]
        return Conflict(f"Apply failed with 1 conflict: conflict with {manager}: {path}", {"causes": causes})
    lines: list[str] = []
    for manager, group in groupby(listed, lambda pair: pair[0]):
        lines += [f"conflicts with {manager}:", *(f"- {path}" for _, path in group)]
    return Conflict(f"Apply failed with {len(listed)} conflicts: " + "\n".join(lines), {"causes": causes})
