"""Who owns which field of an object: kept up on every write, and decided upon by server-side apply.

https://kubernetes.io/docs/reference/using-api/server-side-apply/
Entries and sets are shared between revisions; nothing here changes a document that it was given.
"""

from typing import Any

from apiserver.patching import configurations, conflicts, field_sets, last_applied, merging
from apiserver.patching.differences import Difference, compare
from apiserver.patching.entries import Entries, Entry, cap_updaters, identify, parse, write
from apiserver.patching.schemas import Node, definition_of, empty, tracked

Document = dict[str, Any]
BEFORE = "before-first-apply"


def track(
    old: Document | None,
    new: Document,
    *,
    outcome: Document | None = None,
    manager: str,
    operation: str = "Update",
    now: str,
    api_version: str = "",
    subresource: str = "",
    definition: str | Node = "",
) -> list[Document]:
    """The managedFields of `new`, which `manager` makes of `old` (None: creates). [] if nobody owns anything.

    What was changed goes to the manager, what is gone leaves everybody; a write that changes no field gives back what
    was there.  An object whose fields nobody owns stays so until it is applied to.  `outcome` is what admission and the
    kind's own rules have made of `new`, if they were asked: what they add belongs to nobody, and what they take back
    was not changed.  A client may write managedFields itself: `[{}]` clears them, and anything that is not understood,
    or comes through a subresource, is ignored.  `api_version` and `definition` follow from `new` unless they are given.
    """
    api_version = api_version or new.get("apiVersion", "")
    definition = definition or definition_of(new.get("apiVersion", ""), new.get("kind", ""))
    stated, entries = _starting_point(old, new, subresource)
    if old is not None and not (stated or entries):
        return []
    root, before = tracked(definition, subresource), empty(definition) if old is None else old
    difference = compare(root, before, new)
    if outcome is not None and outcome != new:
        real = compare(root, before, outcome)
        difference = Difference(field_sets.intersection(difference.changed, real.changed), real.removed)
    if difference.changed is None and difference.removed is None:
        return stated if entries is None else write(entries)
    kept = _losing(parse(stated) if entries is None else entries, difference)
    if difference.changed is not None:
        owner = identify(manager, operation, api_version, subresource)
        mine = kept.get(owner)
        fields = field_sets.ordered(field_sets.union(mine.fields if mine else None, difference.changed))
        kept[owner] = Entry(fields or {}, api_version, now)
    return write(cap_updaters(kept))


def _starting_point(old: Document | None, new: Document, subresource: str) -> tuple[list[Document], Entries | None]:
    """The managedFields to go on from; parsed already if they are the client's own."""
    kept: list[Document] = (old or {}).get("metadata", {}).get("managedFields") or []
    asked = (new.get("metadata") or {}).get("managedFields")
    if not asked or asked == kept or subresource:
        return kept, None
    if asked == [{}]:
        return [], {}
    try:
        entries = parse(asked, trusted=False)
    except field_sets.Malformed:
        return kept, None
    return (asked, entries) if entries else (kept, None)


def _losing(entries: Entries, difference: Difference) -> Entries:
    """What is left to everybody when somebody changes and removes these fields."""
    out: Entries = {}
    for owner, entry in entries.items():
        rest = field_sets.difference(entry.fields, difference.changed)
        rest = field_sets.without(rest, difference.removed)
        if rest is not None:
            out[owner] = entry.owning(rest)
    return out


def apply(
    live: Document | None,
    config: Document,
    *,
    definition: str | Node = "",
    manager: str,
    force: bool = False,
    now: str,
    api_version: str = "",
    subresource: str = "",
) -> Document:
    """The object that results when `manager` applies `config` to `live` (None: creates it), with its managedFields.

    If nothing changes, the result equals `live`.  It is neither defaulted nor validated: that is for the caller, who
    compares with `unchanged` afterwards.  Raises Conflict, or BadRequest for a configuration that does
    not fit the schema, each in upstream's words.
    """
    api_version = api_version or config.get("apiVersion", "")
    definition = definition or definition_of(api_version, config.get("kind", ""))
    root = tracked(definition, subresource)
    wanted = configurations.relevant(root, config, api_version, definition)
    owned = field_sets.ordered(configurations.fields_of(root, wanted))
    before = {} if live is None else live
    entries = parse(before.get("metadata", {}).get("managedFields"))
    if live is not None and not entries:
        entries = _untracked(root, definition, live, api_version, subresource, now)
    owner = identify(manager, "Apply", api_version, subresource)
    last = entries.pop(owner, None)

    merged = merging.merge(root, before, wanted)
    if last is not None:
        claimed = owned
        for entry in entries.values():
            claimed = field_sets.union(claimed, entry.fields)
        merged = merging.prune(root, merged, last.fields, claimed)
    difference = compare(root, before, merged)
    if not force:
        found = conflicts.find(entries, difference.changed)
        if found and manager == "kubectl":
            found = conflicts.excuse(found, last_applied.fields(root, before))
        if found:
            raise conflicts.refusal(found)

    entries = _losing(entries, difference)
    if owned is not None:
        same = last is not None and last.fields == owned and merging.without_managers(before) == merged
        entries[owner] = Entry(owned, api_version, last.time if last is not None and same else now)
    if manager == "kubectl":
        merged = last_applied.refresh(merged, config)
    return _with_managers(merged, write(entries))


def _untracked(
    root: Node, definition: str | Node, live: Document, api_version: str, subresource: str, now: str
) -> Entries:
    """Who owns what of an object when the first configuration is applied to it: all that is there was somebody's."""
    fields = compare(root, empty(definition), live).changed
    if fields is None:
        return {}
    owner = identify(BEFORE, "Update", api_version, subresource)
    return {owner: Entry(field_sets.ordered(fields) or {}, api_version, now)}


def _with_managers(merged: Document, entries: list[Document]) -> Document:
    metadata = dict(merged.get("metadata") or {})
    if entries:
        metadata["managedFields"] = entries
    return {**merged, "metadata": metadata}


def unchanged(old: Document, new: Document) -> bool:
    """Whether `new` is `old` but for the times in managedFields: such a write is not worth a revision."""
    if old == new:
        return True
    if merging.without_managers(old) != merging.without_managers(new):
        return False
    return _untimed(old) == _untimed(new)


def _untimed(document: Document) -> list[Document]:
    listed: list[Document] = (document.get("metadata") or {}).get("managedFields") or []
    return [{k: v for k, v in entry.items() if k != "time"} for entry in listed]
