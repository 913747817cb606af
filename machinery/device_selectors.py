"""Selectors of devices: CEL expressions about one `device`.

    device.driver                                   string
    device.attributes["dra.example.com"].model      bool, int, string or semver; no name for the driver's own domain
    device.capacity["dra.example.com"].memory       quantity
    device.allowMultipleAllocations                 bool

A domain that the device knows nothing of is an empty map; `in` tells whether it is known.

https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/#deviceclass
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from api.types import DeviceAttribute, DeviceCapacity
from machinery.cel import CompilationFault, Environment, EvaluationFault, Program
from machinery.cel.libraries import quantities, versions
from machinery.cel.libraries.kinds import type_of
from machinery.cel.types import BOOL, DYN, QUANTITY, STRING, Field, Type, mapped
from machinery.cel.values import Defaulted

LONGEST = 10 * 1024
"""Of an expression, in bytes."""
COSTLIEST = 1_000_000
"""What an expression may cost at most, by its estimate and when it is evaluated."""
MOST_NAMES = 32
LONGEST_DOMAIN, LONGEST_NAME, LONGEST_VALUE, LONGEST_DRIVER = 63, 32, 64, 63

Seen = dict[str, Any]
"""A device as expressions see it."""


@cache
def _environment() -> Environment:
    """The sizes are those that ResourceSlices can have, for the estimates of costs."""
    domain, name = replace(STRING, most=LONGEST_DOMAIN), replace(STRING, most=LONGEST_NAME)

    def by_domain(value: Type) -> Type:
        return mapped(domain, mapped(name, value, MOST_NAMES), MOST_NAMES)

    types = {
        "driver": replace(STRING, most=LONGEST_DRIVER),
        "attributes": by_domain(replace(DYN, most=LONGEST_VALUE)),
        "capacity": by_domain(QUANTITY),
        "allowMultipleAllocations": replace(BOOL, most=1),
    }
    device = Type("struct", "kubernetes.DRADevice", fields={name: Field(name, t) for name, t in types.items()})
    return Environment({"device": device}, binds=True)


def compiled(expression: str) -> Program:
    """Raises CompilationFault with upstream's message.  `cost().most` is to be compared with COSTLIEST."""
    try:
        program = _environment().compile(expression)
    except CompilationFault as e:
        raise CompilationFault(f"compilation failed: {e.message}", e.issues) from e
    if program.type.kind not in ("bool", "dyn"):
        raise CompilationFault(f"must evaluate to bool or the unknown type, not {program.type}")
    return program


def seen(
    driver: str,
    attributes: Mapping[str, DeviceAttribute],
    capacity: Mapping[str, DeviceCapacity],
    shared: bool | None = None,
) -> Seen:
    """What `matches` takes; it may be kept while the device stays as it is.  `shared`: allowMultipleAllocations.

    Names without a domain are in the driver's.  Raises EvaluationFault for an attribute that has no value or is no
    version.
    """
    found: Seen = {"driver": driver, "allowMultipleAllocations": bool(shared)}
    known = found["attributes"] = Defaulted()
    for qualified, attribute in attributes.items():
        domain, name = _split(qualified, driver)
        known.setdefault(domain, {})[name] = _value(qualified, attribute)
    known = found["capacity"] = Defaulted()
    for qualified, amount in capacity.items():
        domain, name = _split(qualified, driver)
        known.setdefault(domain, {})[name] = quantities.parse(amount.value or "0")
    return found


def _split(qualified: str, driver: str) -> tuple[str, str]:
    domain, slash, name = qualified.partition("/")
    return (domain, name) if slash else (driver, qualified)


def _value(name: str, attribute: DeviceAttribute) -> Any:
    if attribute.int_ is not None:
        return attribute.int_
    if attribute.bool_ is not None:
        return attribute.bool_
    if attribute.string is not None:
        return attribute.string
    if attribute.version is None:
        raise EvaluationFault(f"attribute {name}: unsupported attribute value")
    try:
        return versions.parse(attribute.version)
    except EvaluationFault as e:
        raise EvaluationFault(f"attribute {name}: parse semantic version: {e.message}") from e


def matches(selector: Program, device: Seen) -> bool:
    """Raises EvaluationFault: the device has no such attribute, it is of another type, … and BudgetFault."""
    found = selector.evaluate({"device": device}, limit=COSTLIEST)
    if type(found) is not bool:
        raise EvaluationFault(f"CEL result of type {type_of(found).name} could not be converted to bool")
    return found
