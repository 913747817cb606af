"""What claims for devices, classes of devices and slices of them have in common.

https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from api import names
from api.paths import Path, duplicate, forbidden, invalid, not_supported, required, too_long, too_many
from api.types import DeviceSelector, DeviceToleration, OpaqueDeviceConfiguration
from apiserver.rules.validation.drivers import driver_name
from apiserver.rules.validation.values import Faults, formed
from machinery.cel import CompilationFault
from machinery.device_selectors import COSTLIEST, LONGEST, LONGEST_NAME, compiled

MOST_SELECTORS = MOST_CONFIGS = 32
MOST_TOLERATIONS = 16
MOST_CONDITIONS = 4
LONGEST_POOL = 253
LONGEST_PARAMETERS = 10 * 1024
EFFECTS = ("NoExecute", "NoSchedule", "None")
UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Rule = Callable[[Path, Any], Faults]


def each(
    path: Path, items: Sequence[Any], most: int | None, rule: Rule, key: Callable[[Any], Any] | None = None
) -> Faults:  # fmt: skip
    """Every item by the rule; if there is a key, it is no other's.  Too long a list is not looked at any further."""
    if most is not None and len(items) > most:
        yield too_many(path, len(items), most)
        return
    for i, item in enumerate(items):
        yield from rule(path.index(i), item)
    if key is None:
        return
    seen = set()
    for i, item in enumerate(items):
        if (own := key(item)) in seen:
            yield duplicate(path.index(i), own)
        seen.add(own)


def itself(item: str) -> str:
    return item


def label(path: Path, value: str | None) -> Faults:
    yield from formed(path, value, names.dns_label_faults)


def label_name(path: Path, value: str | None) -> Faults:
    yield from formed(path, value, names.qualified_name_faults)


def pool_name(path: Path, value: str | None) -> Faults:
    """Subdomains with slashes between them."""
    if not value:
        yield required(path)
        return
    if len(value) > LONGEST_POOL:
        yield too_long(path, LONGEST_POOL)
    for part in value.split("/"):
        yield from formed(path, part, names.dns_subdomain_faults)


def share_id(path: Path, value: str) -> Faults:
    if value and not UUID.fullmatch(value):
        yield invalid(path, value, "must be a lowercase UUID in 8-4-4-4-12 format")


def qualified_name(path: Path, value: str) -> Faults:
    """An attribute's or capacity's: a C identifier, after a domain or in the driver's own."""
    domain, slash, name = value.rpartition("/")
    if "/" in domain:
        yield invalid(path, value, "must not contain more than one slash")
        return
    if slash and not domain:
        yield invalid(path, "", "the domain must not be empty")
    elif slash:
        yield from driver_name(path, domain)
    if slash and not name:
        yield invalid(path, "", "the name must not be empty")
        return
    if len(name) > LONGEST_NAME:
        yield too_long(path, LONGEST_NAME)
    yield from formed(path, name, names.c_identifier_faults)


def full_name(path: Path, value: str) -> Faults:
    yield from qualified_name(path, value)
    if "/" not in value:
        yield invalid(path, value, "a fully qualified name must be a domain and a name separated by a slash")


def selectors(path: Path, given: Sequence[DeviceSelector], *, stored: bool = False) -> Faults:
    """`stored`: they are what they were, and the expressions were good then."""

    def selector(at: Path, it: DeviceSelector) -> Faults:
        if it.cel is None:
            yield required(at.child("cel"))
        elif not stored:
            yield from _expression(at.child("cel", "expression"), it.cel.expression or "")

    yield from each(path, given, MOST_SELECTORS, selector)


def _expression(path: Path, source: str) -> Faults:
    if len(source.encode()) > LONGEST:
        yield too_long(path, LONGEST)
        return
    try:
        program = compiled(source)
    except CompilationFault as e:
        yield invalid(path, source, e.message)
        return
    if program.cost().most > COSTLIEST:
        yield forbidden(path, "too complex, exceeds cost limit")


def opaque(path: Path, it: OpaqueDeviceConfiguration | None, *, stored: bool = False) -> Faults:
    if it is None:
        yield required(path)
        return
    yield from driver_name(path.child("driver"), it.driver or "")
    yield from json_object(path.child("parameters"), it.parameters, None if stored else LONGEST_PARAMETERS)


def json_object(path: Path, value: Any, longest: int | None) -> Faults:
    if value is None:
        yield required(path)
    elif longest is not None and len(msgspec.json.encode(value)) > longest:
        yield too_long(path, longest)
    elif not isinstance(value, dict):
        yield invalid(path, "<value omitted>", "must be a valid JSON object")


def tolerations(path: Path, given: Sequence[DeviceToleration]) -> Faults:
    yield from each(path, given, MOST_TOLERATIONS, _toleration)


def _toleration(path: Path, it: DeviceToleration) -> Faults:
    if it.key:
        yield from label_name(path.child("key"), it.key)
    match it.operator:
        case "Exists":
            if it.value:
                yield invalid(path.child("value"), it.value, "must be empty for operator `Exists`")
        case "Equal":
            yield from formed(path.child("value"), it.value, names.label_value_faults)
        case "":
            yield required(path.child("operator"))
        case _:
            yield not_supported(path.child("operator"), it.operator, ("Equal", "Exists"))
    if it.effect and it.effect not in EFFECTS:
        yield not_supported(path.child("effect"), it.effect, EFFECTS)


def binding_conditions(path: Path, good: Sequence[str], bad: Sequence[str]) -> Faults:
    """What must be true of an allocated device before its pod is bound, and what says that it never will."""
    at, at_failures = path.child("bindingConditions"), path.child("bindingFailureConditions")
    yield from each(at, good, MOST_CONDITIONS, label_name, itself)
    yield from each(at_failures, bad, MOST_CONDITIONS, label_name, itself)
    for i, condition in enumerate(bad):
        if condition in good:
            why = "bindingFailureConditions must not overlap with bindingConditions"
            yield invalid(at_failures.index(i), condition, why)
    if bad and not good:
        yield invalid(at, good, "bindingConditions are required to use bindingFailureConditions")
    if good and not bad:
        yield invalid(at_failures, bad, "bindingFailureConditions are required to use bindingConditions")
