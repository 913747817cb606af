"""Requests and limits: https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/"""

from api import names, quantities
from api.paths import Path, duplicate, forbidden, invalid, not_found, required
from api.types import ResourceClaim, ResourceRequirements
from apiserver.rules.validation.values import NEGATIVE, Faults, formed

STANDARD = {
    "cpu", "memory", "ephemeral-storage", "storage", "requests.cpu", "requests.memory", "requests.storage",
    "requests.ephemeral-storage", "limits.cpu", "limits.memory", "limits.ephemeral-storage", "pods", "resourcequotas",
    "services", "replicationcontrollers", "secrets", "persistentvolumeclaims", "configmaps", "services.nodeports",
    "services.loadbalancers",
}  # fmt: skip
OF_CONTAINERS = {"cpu", "memory", "ephemeral-storage"}
WHOLE = {
    "pods", "services", "replicationcontrollers", "resourcequotas", "secrets", "configmaps", "persistentvolumeclaims",
    "services.nodeports", "services.loadbalancers",
}  # fmt: skip
HUGE = "hugepages-"


def requirements(path: Path, it: ResourceRequirements, claims: set[str]) -> Faults:
    """`claims` are the names in spec.resourceClaims."""
    if not it.limits and not it.requests and not it.claims:
        return
    for name in sorted(it.limits):
        yield from _amount(path.child("limits").key(name), name, it.limits[name])
    for name in sorted(it.requests):
        yield from _amount(path.child("requests").key(name), name, it.requests[name])
        yield from _within_limit(path, name, it)
    named = {*it.limits, *it.requests}
    if any(n.startswith(HUGE) for n in named) and not named & {"cpu", "memory"}:
        yield forbidden(path, "HugePages require cpu or memory")
    yield from _claims(path.child("claims"), it.claims, claims)


def _claims(path: Path, given: list[ResourceClaim], claims: set[str]) -> Faults:
    """Each is of all requests of a claim or of one, and no request is of two."""
    seen: set[str] = set()
    for i, claim in enumerate(given):
        at, name = path.index(i), claim.name
        if not name:
            yield required(at)
            continue
        key = f"{name}/{claim.request}" if claim.request else name
        if name in seen:
            yield duplicate(at, name)
        else:
            if claim.request:
                yield from formed(at.child("request"), claim.request, names.dns_label_faults)
            if key in seen or (not claim.request and any(known.startswith(f"{name}/") for known in seen)):
                yield duplicate(at, key)
            seen.add(key)
        if name not in claims:
            listed = ": " + ", ".join(sorted(claims)) if claims else " which is empty"
            yield not_found(at, name, f"must be one of the names in pod.spec.resourceClaims{listed}")


def _amount(path: Path, name: str, amount: str) -> Faults:
    yield from container_resource_name(path, name)
    yield from quantity(path, name, amount)
    if name.startswith(HUGE):
        yield from _huge(path, name, amount)


def _within_limit(path: Path, name: str, it: ResourceRequirements) -> Faults:
    limit = it.limits.get(name)
    amount = it.requests[name]
    overcommits = name in OF_CONTAINERS or ("kubernetes.io/" in name and not name.startswith(HUGE))
    if limit is None:
        if not overcommits:
            yield required(path.child("limits"), "Limit must be set for non overcommitable resources")
        return
    if quantities.parse(amount) != quantities.parse(limit) and not overcommits:
        yield invalid(path.child("requests"), amount, f"must be equal to {name} limit of {limit}")
    elif quantities.parse(amount) > quantities.parse(limit):
        yield invalid(path.child("requests"), amount, f"must be less than or equal to {name} limit of {limit}")


def container_resource_name(path: Path, name: str) -> Faults:
    if name in OF_CONTAINERS:
        return
    faults = list(resource_name(path, name))
    yield from faults
    if "/" not in name:
        if not name.startswith(HUGE):
            yield invalid(path, name, "must be a standard resource for containers")
    elif not faults and not _is_native(name) and not _is_extended(name):
        yield invalid(path, name, "doesn't follow extended resource name standard")


def resource_name(path: Path, name: str) -> Faults:
    if name in STANDARD:
        return
    faults = list(formed(path, name, names.qualified_name_faults))
    yield from faults
    if not faults and "/" not in name and not name.startswith((HUGE, f"requests.{HUGE}")):
        yield invalid(path, name, "must be a standard resource type or fully qualified")


def _is_native(name: str) -> bool:
    return "/" not in name or "kubernetes.io/" in name


def _is_extended(name: str) -> bool:
    return not name.startswith("requests.") and not names.qualified_name_faults(f"requests.{name}")


def is_extended(name: str) -> bool:
    """The name of what nodes have beyond the usual: with a domain that is not Kubernetes' own."""
    return not _is_native(name) and _is_extended(name)


def quantity(path: Path, name: str, amount: str) -> Faults:
    """An amount of the resource `name`: not negative, and whole where the resource comes in pieces."""
    value = quantities.parse(amount)
    if value < 0:
        yield invalid(path, amount, NEGATIVE)
    pieces = name in WHOLE or is_extended(name)
    if pieces and value != value.to_integral_value():
        yield invalid(path, amount, "must be an integer")


def _huge(path: Path, name: str, amount: str) -> Faults:
    try:
        size = quantities.parse(name.removeprefix(HUGE))
    except ValueError:
        return
    if size <= 0 or quantities.parse(amount) % size:
        yield invalid(path, amount, f"{amount} is not positive integer multiple of {name}")
