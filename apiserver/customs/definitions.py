"""The rules of CustomResourceDefinitions: defaults, strategies, validation.

https://kubernetes.io/docs/reference/kubernetes-api/extend-resources/custom-resource-definition-v1/
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from api import meta
from api.names import dns_1035_faults, dns_subdomain_faults
from api.paths import Fault, Path, invalid, not_supported, required, show
from api.types import CustomResourceConversion, CustomResourceDefinitionCondition
from apiserver.customs import formats, versions
from apiserver.customs.schemas import Schema

Tree = dict[str, Any]
Faults = Iterator[Fault]
APPROVAL = "api-approved.kubernetes.io"
CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
"""The finalizer that keeps a definition until its objects are gone."""
PENDING = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"
PROTECTED = ("k8s.io", "kubernetes.io")
SPEC, STATUS = Path("spec"), Path("status")
IMMUTABLE = "field is immutable"


# --- defaults and strategies


def default(crd: Any) -> None:
    spec = crd.spec
    names = spec.names
    if names is not None:
        names.singular = names.singular or (names.kind or "").lower()
        if names.kind:
            names.listKind = names.listKind or f"{names.kind}List"
    if spec.conversion is None:
        spec.conversion = CustomResourceConversion(strategy="None")
    webhook = spec.conversion.webhook
    service = webhook.clientConfig.service if webhook is not None and webhook.clientConfig is not None else None
    if service is not None and service.port is None:
        service.port = 443


def prepare_create(crd: Any) -> None:
    _store(crd)


def prepare_update(new: Any, old: Any, subresource: str) -> None:
    if subresource == "":
        _store(new)


def _store(crd: Any) -> None:
    """Note that objects are stored in the storage version from now on."""
    for version in crd.spec.versions:
        if version.storage and version.name not in crd.status.storedVersions:
            stored = [*crd.status.storedVersions, version.name]
            crd.status = msgspec.structs.replace(crd.status, storedVersions=stored)
            return


# --- deletion


def guarded(finalizers: list[str]) -> list[str]:
    """The finalizers of a definition that is being deleted: its objects go first."""
    return finalizers if CLEANUP in finalizers else [*finalizers, CLEANUP]


def condemn(crd: Any, now: str) -> None:
    """Say what is going to happen, in place."""
    if any(c.type == "Terminating" and c.status == "True" for c in crd.status.conditions):
        return
    meta.set_condition(
        crd.status.conditions,
        CustomResourceDefinitionCondition(
            type="Terminating", status="True", reason="InstanceDeletionPending", message=PENDING, lastTransitionTime=now
        ),
    )


# --- warnings


def warnings(new: Any, old: Any) -> list[str]:
    """Formats that say nothing, if they are new."""
    before = {*_formats(old)} if old is not None else set()
    return [f"unrecognized format {show(name)}" for name in dict.fromkeys(_formats(new)) if name not in before]


def _formats(crd: Any) -> Iterator[str]:
    for version in crd.spec.versions:
        if version.schema is not None and version.schema.openAPIV3Schema is not None:
            yield from _unrecognized(Schema(msgspec.to_builtins(version.schema.openAPIV3Schema)))


def _unrecognized(schema: Schema) -> Iterator[str]:
    name = schema.source.get("format")
    if name and not formats.means_something(name, schema.source.get("type") or ""):
        yield name
    for inner in (*schema.below(), *schema.combined()):
        yield from _unrecognized(inner)


# --- validation


def created(crd: Any) -> Faults:
    yield from _name(crd)
    yield from _spec(crd, None)
    yield from _approval(crd)
    yield from _status(crd)


def updated(new: Any, old: Any) -> Faults:
    yield from _name(new)
    yield from _spec(new, old)
    spec, before = new.spec, old.spec
    if _is_established(old):
        if spec.scope != before.scope:
            yield invalid(SPEC.child("scope"), spec.scope, IMMUTABLE)
        if spec.names.kind != before.names.kind:
            yield invalid(SPEC.child("names", "kind"), spec.names.kind, IMMUTABLE)
    if spec.group != before.group:
        yield invalid(SPEC.child("group"), spec.group, IMMUTABLE)
    if spec.names.plural != before.names.plural:
        yield invalid(SPEC.child("names", "plural"), spec.names.plural, IMMUTABLE)
    if _is_protected(spec.group) and new.metadata.annotations.get(APPROVAL) != old.metadata.annotations.get(APPROVAL):
        yield from _approval(new)
    yield from _status(new)


def status_updated(new: Any, old: Any) -> Faults:
    yield from _status(new)


def _is_established(crd: Any) -> bool:
    return any(c.type == "Established" and c.status == "True" for c in crd.status.conditions)


def _name(crd: Any) -> Faults:
    spec = crd.spec
    expected = f"{spec.names.plural}.{spec.group}" if spec.names is not None else f".{spec.group}"
    if crd.metadata.name != expected:
        yield invalid(Path("metadata.name"), crd.metadata.name, 'must be spec.names.plural+"."+spec.group')


def _spec(crd: Any, old: Any) -> Faults:
    spec = crd.spec
    if not spec.group:
        yield required(SPEC.child("group"))
    elif faults := dns_subdomain_faults(spec.group):
        yield invalid(SPEC.child("group"), spec.group, ",".join(faults))
    elif "." not in spec.group:
        yield invalid(SPEC.child("group"), spec.group, "should be a domain with at least one dot")
    if not spec.scope:
        yield required(SPEC.child("scope"))
    elif spec.scope not in ("Cluster", "Namespaced"):
        yield not_supported(SPEC.child("scope"), spec.scope, ["Cluster", "Namespaced"])
    if spec.preserveUnknownFields and not (old is not None and old.spec.preserveUnknownFields):
        why = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
        yield invalid(SPEC.child("preserveUnknownFields"), True, why)
    yield from versions.faults(crd, old)
    yield from _names(spec.names)
    trusted = old is not None and _is_established(old) and not versions.bundle_fault(old.spec.conversion)
    yield from versions.conversion_faults(spec.conversion, SPEC.child("conversion"), trusted=trusted)


def _names(names: Any) -> Faults:
    here = SPEC.child("names")
    if names is None:
        yield required(here.child("plural"))
        return
    for field in ("plural", "singular"):
        if not (value := getattr(names, field) or ""):
            yield required(here.child(field))
        elif faults := dns_1035_faults(value):
            yield invalid(here.child(field), value, ",".join(faults))
    for field in ("kind", "listKind"):
        if not (value := getattr(names, field) or ""):
            yield required(here.child(field))
        elif faults := dns_1035_faults(value.lower()):
            why = "may have mixed case, but should otherwise match: " + ",".join(faults)
            yield invalid(here.child(field), value, why)
    for field in ("shortNames", "categories"):
        for at, value in enumerate(getattr(names, field)):
            if faults := dns_1035_faults(value):
                yield invalid(here.child(field).index(at), value, ",".join(faults))
    if names.kind and names.kind == names.listKind:
        yield invalid(here.child("listKind"), names.listKind, "kind and listKind may not be the same")


def _is_protected(group: str) -> bool:
    return any(group == suffix or group.endswith(f".{suffix}") for suffix in PROTECTED)


def approval_state(crd: Any) -> tuple[str, str]:
    """(state, reason) of a definition in a protected group: missing, invalid, bypassed or approved; "" elsewhere."""
    if not _is_protected(crd.spec.group or ""):
        return "", ""
    value = crd.metadata.annotations.get(APPROVAL, "")
    about = f'protected groups must have approval annotation "{APPROVAL}"'
    see = "see https://github.com/kubernetes/enhancements/pull/1111"
    if not value:
        return "missing", f"{about}, {see}"
    if value.startswith("unapproved"):
        return "bypassed", f"not approved: {_quoted(value)}"
    if value.startswith(("http://", "https://")) and len(value.split("://", 1)[1].split("/")[0]) > 0:
        return "approved", f"approved in {value}"
    return "invalid", f'{about} with either a URL or a reason starting with "unapproved", {see}'


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()


def _approval(crd: Any) -> Faults:
    state, reason = approval_state(crd)
    where = Path("metadata.annotations").key(APPROVAL)
    if state == "missing":
        yield required(where, reason)
    elif state == "invalid":
        yield invalid(where, crd.metadata.annotations[APPROVAL], reason)


def _status(crd: Any) -> Faults:
    stored, here = crd.status.storedVersions, STATUS.child("storedVersions")
    if not stored:
        yield invalid(here, stored, "must have at least one stored version")
        return
    names = {v.name for v in crd.spec.versions}
    storage = next((v.name for v in crd.spec.versions if v.storage), "")
    if storage and storage not in stored:
        yield invalid(here, stored, f"must have the storage version {storage}")
    for at, name in enumerate(stored):
        if name not in names:
            why = (
                f"missing from spec.versions; {name} was previously a storage version, and must remain in "
                f"spec.versions until a storage migration ensures no data remains persisted in {name} and removes "
                f"{name} from status.storedVersions"
            )
            yield invalid(here.index(at), name, why)
