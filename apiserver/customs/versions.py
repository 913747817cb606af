"""The versions of a definition, and how one becomes another: what they must say.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from api.names import dns_1035_faults
from api.paths import Fault, Path, duplicate, forbidden, invalid, not_supported, required
from apiserver import trust
from apiserver.client_configs import client_config
from apiserver.customs import checking, jsonpaths

Tree = dict[str, Any]
Faults = Iterator[Fault]
SPEC = Path("spec")
MOST_SELECTABLE = 8
COLUMN_TYPES = ("integer", "number", "string", "boolean", "date")
COLUMN_FORMATS = ("int32", "int64", "float", "double", "byte", "date", "date-time", "password")
SELECTABLE = (
    "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed."
)


def faults(crd: Any, old: Any) -> Faults:
    versions, here = crd.spec.versions, SPEC.child("versions")
    shown = msgspec.to_builtins(versions)
    if len({v.name for v in versions}) < len(versions):
        yield invalid(here, shown, "must contain unique version names")
    if sum(bool(v.storage) for v in versions) != 1:
        yield invalid(here, shown, "must have exactly one version marked as storage version")
    trees = [_tree(v) for v in versions]
    # One schema for all versions stands in a place of its own inside of upstream, and its faults are told from there.
    together = len(versions) > 0 and all(tree == trees[0] for tree in trees)
    for at, version in enumerate(versions):
        path = here.index(at)
        for why in dns_1035_faults(version.name or ""):
            yield invalid(path.child("name"), version.name or "", why)
        if trees[at] is None:
            yield required(path.child("schema", "openAPIV3Schema"), "schemas are required")
        elif not together or not at:
            where = SPEC.child("validation") if together else path.child("schema")
            before = _tree_of(old, version.name) if old is not None else None
            if before != trees[at]:
                yield from checking.schema_faults(trees[at] or {}, where.child("openAPIV3Schema"))
        yield from _subresources(version.subresources, path.child("subresources"))
        for i, column in enumerate(version.additionalPrinterColumns):
            yield from _column(column, path.child("additionalPrinterColumns").index(i))
        yield from _selectable(version, trees[at] or {}, path.child("selectableFields"))
        if version.deprecationWarning and not version.deprecated:
            yield invalid(
                path.child("deprecationWarning"), version.deprecationWarning, "can only be set for deprecated versions"
            )


def _tree(version: Any) -> Tree | None:
    given = version.schema.openAPIV3Schema if version.schema is not None else None
    return msgspec.to_builtins(given) if given is not None else None


def _tree_of(crd: Any, name: str) -> Tree | None:
    return next((_tree(v) for v in crd.spec.versions if v.name == name), None)


def _subresources(subresources: Any, path: Path) -> Faults:
    scale = subresources.scale if subresources is not None else None
    if scale is None:
        return
    for field, below in (("specReplicasPath", "spec"), ("statusReplicasPath", "status"), ("labelSelectorPath", "")):
        value, here = getattr(scale, field) or "", path.child("scale", field)
        if not value:
            if below:
                yield required(here)
        elif not value.startswith("."):
            yield invalid(here, value, "must be a simple json path starting with .")
        elif below and not value.startswith(f".{below}."):
            yield invalid(here, value, f"should be a json path under .{below}")
        elif not value.startswith((".spec.", ".status.")):
            yield invalid(here, value, "should be a json path under either .spec or .status")


def _column(column: Any, path: Path) -> Faults:
    if not column.name:
        yield required(path.child("name"))
    if not column.type:
        yield required(path.child("type"), f"must be one of {','.join(COLUMN_TYPES)}")
    elif column.type not in COLUMN_TYPES:
        yield invalid(path.child("type"), column.type, f"must be one of {','.join(COLUMN_TYPES)}")
    if column.format and column.format not in COLUMN_FORMATS:
        yield invalid(path.child("format"), column.format, f"must be one of {','.join(COLUMN_FORMATS)}")
    if not column.jsonPath:
        yield required(path.child("JSONPath"))
        return
    try:
        jsonpaths.parse(column.jsonPath)
    except jsonpaths.Malformed as e:
        yield invalid(path.child("JSONPath"), column.jsonPath, f"is an invalid jsonpath: {e}")


def _selectable(version: Any, tree: Tree, path: Path) -> Faults:
    fields = version.selectableFields
    if len(fields) > MOST_SELECTABLE:
        yield Fault(
            "FieldValueTooMany", str(path), f"Too many: {len(fields)}: must have at most {MOST_SELECTABLE} items"
        )
    seen = set()
    for at, field in enumerate(fields):
        here = path.index(at).child("jsonPath")
        if not field.jsonPath:
            yield required(here)
            continue
        names = jsonpaths.names(field.jsonPath)
        if field.jsonPath in seen:
            yield duplicate(here, field.jsonPath)
        seen.add(field.jsonPath)
        if names is None:
            yield invalid(here, field.jsonPath, "does not point to a valid field")
            continue
        if names[0] == "metadata":
            yield invalid(here, field.jsonPath, "must not point to fields in metadata")
            continue
        found: Any = tree
        for name in names:
            found = (found.get("properties") or {}).get(name) if isinstance(found, dict) else None
        if found is None:
            yield invalid(here, field.jsonPath, "does not point to a valid field")
        elif found.get("type") not in ("string", "integer", "boolean"):
            yield invalid(here, field.jsonPath, SELECTABLE)


def conversion_faults(conversion: Any, path: Path, *, trusted: bool) -> Faults:
    """`trusted`: the webhook's authority could be read so far, and must be so still."""
    if conversion is None:
        return
    strategy, webhook = conversion.strategy or "", conversion.webhook
    if strategy not in ("None", "Webhook"):
        yield not_supported(path.child("strategy"), strategy, ["None", "Webhook"])
    if strategy != "Webhook":
        if webhook is not None:
            yield forbidden(path.child("webhookClientConfig"), "should not be set when strategy is not set to Webhook")
        return
    here = path.child("webhookClientConfig")
    config = webhook.clientConfig if webhook is not None else None
    if config is None:
        yield required(here, "required when strategy is set to Webhook")
    else:
        yield from client_config(here, config)
        if trusted and (why := bundle_fault(conversion)):
            yield invalid(here.child("caBundle"), config.caBundle, why)
    versions = webhook.conversionReviewVersions if webhook is not None else []
    at = path.child("conversionReviewVersions")
    if not versions:
        yield required(at)
    elif not {"v1", "v1beta1"} & set(versions):
        yield invalid(at, versions, "must include at least one of v1, v1beta1")
    for i, version in enumerate(versions):
        if version in versions[:i]:
            yield invalid(at.index(i), version, "duplicate version")
        elif faults := dns_1035_faults(version):
            yield invalid(at.index(i), version, ",".join(faults))


def bundle_fault(conversion: Any) -> str:
    """Why the authority of a conversion webhook cannot be read; "" if it can, or if there is none."""
    webhook = conversion.webhook if conversion is not None else None
    config = webhook.clientConfig if webhook is not None else None
    try:
        if config is not None and config.caBundle:
            trust.context(config.caBundle)
    except trust.Unreadable as e:
        return str(e)
    return ""
