"""ObjectMeta: names, labels, annotations, owners, finalizers.

https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/
"""

from collections.abc import Callable, Mapping

from api import names
from api.paths import Path, forbidden, invalid, required, show, too_long
from api.types import ObjectMeta, OwnerReference
from apiserver.rules.validation.values import IMMUTABLE, Faults, formed, nonnegative

METADATA = Path("metadata")
ANNOTATIONS_LIMIT = 256 * 1024
STANDARD_FINALIZERS = {"kubernetes", "orphan", "foregroundDeletion"}
FIXED = "name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"

NameRule = Callable[[str], list[str]]


def created(meta: ObjectMeta, namespaced: bool, name_rule: NameRule, at: Path = METADATA) -> Faults:
    """The metadata of a new object, whose name has been generated already where it was asked for."""
    if meta.generateName:
        # What is appended ends well, so that the prefix may end in a dash.
        prefix = meta.generateName
        for why in name_rule(f"{prefix[:-1]}a" if prefix.endswith("-") and len(prefix) > 1 else prefix):
            yield invalid(at.child("generateName"), prefix, why)
    if not meta.name:
        yield required(at.child("name"), "name or generateName is required")
    else:
        yield from formed(at.child("name"), meta.name, name_rule)
    if namespaced:
        if not meta.namespace:
            yield required(at.child("namespace"))
        else:
            yield from formed(at.child("namespace"), meta.namespace, names.dns_label_faults)
    elif meta.namespace:
        yield forbidden(at.child("namespace"), "not allowed on this type")
    yield from nonnegative(at.child("generation"), meta.generation)
    yield from _common(meta, at)


def updated(new: ObjectMeta, old: ObjectMeta) -> Faults:
    """What may not change, and that the rest is still in form."""
    if old.deletionTimestamp:
        added = sorted(set(new.finalizers) - set(old.finalizers))
        if added:
            listed = "[]string{" + ", ".join(map(show, added)) + "}"
            why = "no new finalizers can be added if the object is being deleted, found new finalizers "
            yield forbidden(METADATA.child("finalizers"), why + listed)
    if (new.generation or 0) < (old.generation or 0):
        yield invalid(METADATA.child("generation"), new.generation or 0, "must not be decremented")
    for name in FIXED:
        value = getattr(new, name)
        if value != getattr(old, name):
            yield invalid(METADATA.child(name), value, IMMUTABLE)
    yield from _common(new, METADATA)


def _common(meta: ObjectMeta, at: Path) -> Faults:
    if meta.labels:
        yield from labels(at.child("labels"), meta.labels)
    if meta.annotations:
        yield from annotations(at.child("annotations"), meta.annotations)
    if meta.ownerReferences:
        yield from _owners(at.child("ownerReferences"), meta.ownerReferences)
    if meta.finalizers:
        yield from _finalizers(at.child("finalizers"), meta.finalizers)


def labels(path: Path, values: Mapping[str, str]) -> Faults:
    for key in sorted(values):
        for why in names.qualified_name_faults(key):
            yield invalid(path, key, why)
        for why in names.label_value_faults(values[key]):
            yield invalid(path, values[key], why)


def annotations(path: Path, values: Mapping[str, str]) -> Faults:
    total = 0
    for key, value in values.items():
        # Case does not matter here, unlike in labels.
        for why in names.qualified_name_faults(key.lower()):
            yield invalid(path, key, why)
        total += len(key.encode()) + len(value.encode())
    if total > ANNOTATIONS_LIMIT:
        yield too_long(path, ANNOTATIONS_LIMIT)


def _owners(path: Path, owners: list[OwnerReference]) -> Faults:
    controller = ""
    for owner in owners:
        yield from _owner(path, owner)
        if not owner.controller:
            continue
        shown = f"{owner.kind}/{owner.name}"
        if controller:
            yield invalid(
                path, owners, 'Only one reference can have Controller set to true. Found "true" in references for '
                f"{controller} and {shown}",
            )  # fmt: skip
        controller = controller or shown


def _owner(path: Path, owner: OwnerReference) -> Faults:
    if not (owner.apiVersion or "").rpartition("/")[2]:
        yield invalid(path.child("apiVersion"), owner.apiVersion or "", "version must not be empty")
    for name in ("kind", "name", "uid"):
        if not getattr(owner, name):
            yield invalid(path.child(name), "", "must not be empty")
    if owner.apiVersion == "v1" and owner.kind == "Event":
        yield invalid(path, owner, "/v1, Kind=Event is disallowed from being an owner")


def _finalizers(path: Path, finalizers: list[str]) -> Faults:
    for name in finalizers:
        yield from formed(path, name, names.qualified_name_faults)
    if {"orphan", "foregroundDeletion"} <= set(finalizers):
        why = "finalizer orphan and foregroundDeletion cannot be both set"
        yield invalid(path, finalizers, why)


def standard_finalizers(meta: ObjectMeta) -> Faults:
    """What most built-in kinds ask of finalizers beyond their form."""
    for i, name in enumerate(meta.finalizers):
        yield from standard_finalizer(METADATA.child("finalizers").index(i), name)


def is_standard_finalizer(name: str) -> bool:
    return "/" in name or name in STANDARD_FINALIZERS


def standard_finalizer(path: Path, name: str) -> Faults:
    if not is_standard_finalizer(name):
        yield invalid(path, name, "name is neither a standard finalizer name nor is it fully qualified")
