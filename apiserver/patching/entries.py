"""The entries of `metadata.managedFields`: who owns which fields, since when.

https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
"""

import json
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from apiserver.patching import documents, field_sets
from apiserver.patching.field_sets import FieldSet

MAX_UPDATERS = 10
"""More entries of operation Update than these are joined into one, the oldest first, as upstream does."""
ANCIENT = "ancient-changes"


class Manager(NamedTuple):
    """Whose entry it is. An applier has one for all API versions, an updater one for each (`api_version` "" or not)."""

    name: str
    operation: str
    api_version: str
    subresource: str

    def __str__(self) -> str:
        """As upstream's messages of conflicts name it."""
        text = json.dumps(self.name, ensure_ascii=False)
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return f"{text} using {self.api_version}" if self.operation == "Update" else text


@dataclass(frozen=True, slots=True)
class Entry:
    fields: FieldSet
    api_version: str
    time: str = ""

    def owning(self, fields: FieldSet) -> "Entry":
        return self if fields is self.fields else replace(self, fields=fields)


Entries = dict[Manager, Entry]


def identify(name: str, operation: str, api_version: str, subresource: str) -> Manager:
    return Manager(name or "unknown", operation, "" if operation == "Apply" else api_version, subresource)


def parse(managed_fields: Any, *, trusted: bool = True) -> Entries:
    """The entries of a document; Malformed if they are not `trusted` and do not have the form."""
    out: Entries = {}
    if not trusted:
        documents.check_depth(managed_fields)
    for raw in managed_fields or ():
        if not trusted and not _is_entry(raw):
            raise field_sets.Malformed("not an entry of managedFields")
        fields = raw.get("fieldsV1") if trusted else field_sets.canonical(raw.get("fieldsV1") or {})
        if not fields:
            continue
        version = raw.get("apiVersion", "")
        owner = identify(raw.get("manager", ""), raw.get("operation", ""), version, raw.get("subresource", ""))
        out[owner] = Entry(fields, version, raw.get("time") or "")
    return out


def _is_entry(raw: Any) -> bool:
    return (
        isinstance(raw, dict)
        and raw.get("operation") in ("Apply", "Update")
        and raw.get("fieldsType") == "FieldsV1"
        and all(isinstance(raw.get(k, ""), str) for k in ("manager", "apiVersion", "subresource"))
        and isinstance(raw.get("time"), str | None)
    )


def write(entries: Entries) -> list[dict[str, Any]]:
    """The entries as the document has them, in upstream's order: appliers first, then by time and name."""
    order = sorted(entries, key=lambda m: (m.operation, entries[m].time, m.name, entries[m].api_version, m.subresource))
    return [_write_one(m, entries[m]) for m in order]


def _write_one(owner: Manager, entry: Entry) -> dict[str, Any]:
    raw: dict[str, Any] = {"manager": owner.name, "operation": owner.operation, "apiVersion": entry.api_version}
    if entry.time:
        raw["time"] = entry.time
    raw |= {"fieldsType": "FieldsV1", "fieldsV1": entry.fields}
    if owner.subresource:
        raw["subresource"] = owner.subresource
    return raw


def cap_updaters(entries: Entries) -> Entries:
    """The same entries, the oldest updaters joined per API version until at most MAX_UPDATERS are left."""
    updaters = [m for m in entries if m.operation == "Update"]
    excess = len(updaters) - MAX_UPDATERS
    if excess <= 0:
        return entries
    out = dict(entries)
    first_of: dict[str, Manager] = {}
    for old in sorted(updaters, key=lambda m: (entries[m].time, m)):
        if excess <= 0:
            break
        first = first_of.setdefault(old.api_version, old)
        if first is old:
            continue
        bucket = identify(ANCIENT, "Update", old.api_version, "")
        kept = out.pop(first) if bucket not in out else out[bucket]
        joined = out.pop(old)
        out[bucket] = Entry(field_sets.union(kept.fields, joined.fields) or {}, old.api_version, joined.time)
        first_of[old.api_version] = bucket
        excess -= 1
    return out
