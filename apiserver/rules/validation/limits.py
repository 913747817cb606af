"""What administrators bound: ResourceQuota and LimitRange.

https://kubernetes.io/docs/concepts/policy/resource-quotas/ , https://kubernetes.io/docs/concepts/policy/limit-range/
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from api import names, quantities
from api.paths import Path, duplicate, forbidden, invalid, required
from api.types import LimitRange, LimitRangeItem, ResourceQuota, ScopedResourceSelectorRequirement
from apiserver.rules.validation.resources import STANDARD, container_resource_name, quantity, resource_name
from apiserver.rules.validation.values import IMMUTABLE, Faults, formed

SPEC, STATUS = Path("spec"), Path("status")
OF_QUOTAS = STANDARD - {"storage"}
HUGE = "hugepages-", "requests.hugepages-"
PODS = {"pods", "cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"}
SCOPED = dict.fromkeys(
    ("Terminating", "NotTerminating", "NotBestEffort", "PriorityClass", "CrossNamespacePodAffinity"), PODS
) | {"BestEffort": {"pods"}, "VolumeAttributesClass": {"persistentvolumeclaims", "requests.storage"}}
"""Scope → the standard resources that can be limited within it."""
CONFLICTING = {"BestEffort", "NotBestEffort"}, {"Terminating", "NotTerminating"}
WITHOUT_VALUES = "Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "CrossNamespacePodAffinity"
MUST_EXIST = (
    "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, "
    "ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"
)
NO_VALUES = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
SOME_VALUES = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
TYPES = {"Pod", "Container", "PersistentVolumeClaim"}
NOT_FOR_PODS = "may not be specified when `type` is 'Pod'"
NO_BOUND = "either minimum or maximum storage value is required, but neither was provided"


def quota(it: ResourceQuota) -> Faults:
    yield from _amounts(SPEC.child("hard"), it.spec.hard)
    yield from _scopes(it)
    yield from _scope_selector(it)


def quota_updated(new: ResourceQuota, old: ResourceQuota) -> Faults:
    yield from quota(new)
    if set(new.spec.scopes) != set(old.spec.scopes):
        yield invalid(SPEC.child("scopes"), new.spec.scopes, IMMUTABLE)


def quota_status_updated(new: ResourceQuota, old: ResourceQuota) -> Faults:
    yield from _amounts(STATUS.child("hard"), new.status.hard)
    yield from _amounts(STATUS.child("used"), new.status.used)


def _amounts(path: Path, amounts: Mapping[str, str]) -> Faults:
    for name in sorted(amounts):
        at = path.key(name)
        if not name.startswith(HUGE):
            yield from resource_name(at, name)
            if "/" not in name and name not in OF_QUOTAS:
                yield invalid(at, name, "must be a standard resource for quota")
        yield from quantity(at, name, amounts[name])


def _scopes(it: ResourceQuota) -> Faults:
    at, given = SPEC.child("scopes"), it.spec.scopes
    for scope in given:
        if scope not in SCOPED:
            yield invalid(at, given, "unsupported scope")
        for _ in _misapplied(scope, it.spec.hard):
            yield invalid(at, given, "unsupported scope applied to resource")
    for pair in CONFLICTING:
        if pair <= set(given):
            yield invalid(at, given, "conflicting scopes")


def _misapplied(scope: str, hard: Iterable[str]) -> list[str]:
    allowed = SCOPED.get(scope)
    if allowed is None:
        return []
    return [name for name in hard if (name in OF_QUOTAS or name.startswith(HUGE)) and name not in allowed]


def _scope_selector(it: ResourceQuota) -> Faults:
    selector = it.spec.scopeSelector
    if selector is None:
        return
    at = SPEC.child("scopeSelector", "matchExpressions")
    for each in selector.matchExpressions:
        if each.scopeName not in SCOPED:
            yield invalid(at.child("scopeName"), each.scopeName, "unsupported scope")
        for _ in _misapplied(each.scopeName or "", it.spec.hard):
            yield invalid(at, selector, "unsupported scope applied to resource")
        yield from _requirement(at, each)
    for pair in CONFLICTING:
        if pair <= {each.scopeName for each in selector.matchExpressions}:
            yield invalid(at, it.spec.scopes, "conflicting scopes")


def _requirement(at: Path, it: ScopedResourceSelectorRequirement) -> Faults:
    if it.scopeName in WITHOUT_VALUES and it.operator != "Exists":
        yield invalid(at.child("operator"), it.operator, MUST_EXIST)
    if it.operator in ("In", "NotIn"):
        if not it.values:
            yield required(at.child("values"), SOME_VALUES)
    elif it.operator in ("Exists", "DoesNotExist"):
        if it.values:
            yield invalid(at.child("values"), it.values, NO_VALUES)
    else:
        yield invalid(at.child("operator"), it.operator, "not a valid selector operator")


def limit_range(it: LimitRange) -> Faults:
    seen: set[str] = set()
    for i, item in enumerate(it.spec.limits):
        at = SPEC.child("limits").index(i)
        yield from formed(at.child("type"), item.type, names.qualified_name_faults)
        if item.type and "/" not in item.type and item.type not in TYPES:
            yield invalid(at.child("type"), item.type, "must be a standard limit type or fully qualified")
        if item.type in seen:
            yield duplicate(at.child("type"), item.type)
        seen.add(item.type or "")
        yield from _item(at, item)


def _item(at: Path, item: LimitRangeItem) -> Faults:
    lists = {"max": item.max, "min": item.min, "default": item.default, "defaultRequest": item.defaultRequest}
    lists["maxLimitRequestRatio"] = item.maxLimitRequestRatio
    for field, amounts in lists.items():
        if item.type == "Pod" and field in ("default", "defaultRequest"):
            if amounts:
                yield forbidden(at.child(field), NOT_FOR_PODS)
            continue
        check = container_resource_name if item.type in ("Pod", "Container") else resource_name
        for name in sorted(amounts):
            yield from check(at.child(field).key(name), name)
    if item.type == "PersistentVolumeClaim" and "storage" not in {**item.min, **item.max}:
        yield required(at.child("limits"), NO_BOUND)
    for name in sorted(set().union(*lists.values())):
        yield from _bounds(at, name, {f: amounts[name] for f, amounts in lists.items() if name in amounts})


# What must not be greater than what: (less, more, where it is said, whose value is shown, words for both)
ORDERED = (
    ("min", "max", "min", "min", "min value", "max value"),
    ("min", "defaultRequest", "defaultRequest", "defaultRequest", "min value", "default request value"),
    ("defaultRequest", "max", "defaultRequest", "defaultRequest", "default request value", "max value"),
    ("defaultRequest", "default", "defaultRequest", "defaultRequest", "default request value", "default limit value"),
    ("min", "default", "default", "min", "min value", "default value"),
    ("default", "max", "default", "max", "default value", "max value"),
)


def _bounds(at: Path, name: str, amounts: Mapping[str, str]) -> Faults:
    value = {field: quantities.parse(text) for field, text in amounts.items()}
    for less, more, field, shown, what, other in ORDERED:
        if less in value and more in value and value[less] > value[more]:
            why = f"{what} {amounts[less]} is greater than {other} {amounts[more]}"
            yield invalid(at.child(field).key(name), amounts[shown], why)
    yield from _ratio(at.child("maxLimitRequestRatio").key(name), amounts, value)
    if {"default", "defaultRequest"} <= value.keys() and value["default"] != value["defaultRequest"]:
        native = "/" not in name or "kubernetes.io/" in name
        if not native or name.startswith(HUGE):  # nobody may promise more of these than there is
            both = f"default value {amounts['default']} must equal to defaultRequest value {amounts['defaultRequest']}"
            yield invalid(at.child("defaultRequest").key(name), amounts["defaultRequest"], f"{both} in {name}")


def _ratio(at: Path, amounts: Mapping[str, str], value: Mapping[str, Decimal]) -> Faults:
    ratio = value.get("maxLimitRequestRatio")
    if ratio is None:
        return
    shown = amounts["maxLimitRequestRatio"]
    if ratio < 1:
        yield invalid(at, shown, f"ratio {shown} is less than 1")
    if value.get("min") and "max" in value and ratio > (most := value["max"] / value["min"]):
        yield invalid(at, shown, f"ratio {shown} is greater than max/min = {float(most):f}")
