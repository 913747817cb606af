"""Consumable capacity: how much of a device that several may share one allocation takes. Pure.

https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/#consumable-capacity
"""

from collections.abc import Mapping
from decimal import Decimal

from api import quantities
from api.types import CapacityRequestPolicy, CapacityRequestPolicyRange, DeviceCapacity
from scheduler.pools import Offered

Amounts = dict[str, Decimal]
"""By the qualified name of a capacity: its domain, or the driver's, is always there."""


class Ambiguous(Exception):
    """A request names one capacity in two ways."""


def taken(offered: Offered, asked: Mapping[str, str]) -> Amounts | None:
    """What a request for these capacities takes of the device; None if the device does not serve such requests.

    Raises Ambiguous.
    """
    capacity = _qualified(offered)
    requested: Amounts = {}
    for name, amount in asked.items():
        key = qualified(name, offered.id.driver)
        if key not in capacity:
            return None
        if key in requested:
            raise Ambiguous(f'capacity "{key.partition("/")[2]}" requested with and without its domain')
        requested[key] = quantities.parse(amount)
    found: Amounts = {}
    for name, there in capacity.items():
        found[name] = _rounded(requested.get(name), there)
        if there.requestPolicy is not None and _violates(found[name], there.requestPolicy):
            return None
    return found


def fits(offered: Offered, takes: Amounts, *used: Mapping[str, Decimal]) -> bool:
    """Whether there is so much, beside what is used."""
    return all(
        takes[name] + sum((each.get(name, Decimal()) for each in used), Decimal()) <= quantities.parse(there.value)
        for name, there in _qualified(offered).items()
    )


def spelled(offered: Offered, takes: Amounts) -> dict[str, str]:
    """For the claim's status, with the names that the device has."""
    names = {qualified(name, offered.id.driver): name for name in sorted(offered.device.capacity)}
    capacity = offered.device.capacity
    return {
        names[key]: quantities.spelled(amount, quantities.family(capacity[names[key]].value))
        for key, amount in takes.items()
    }


def qualified(name: str, driver: str) -> str:
    return name if "/" in name else f"{driver}/{name}"


def _qualified(offered: Offered) -> dict[str, DeviceCapacity]:
    """A name with the driver's own domain counts before the same one without."""
    capacity, driver = offered.device.capacity, offered.id.driver
    found = {name: there for name, there in capacity.items() if "/" in name}
    return {qualified(name, driver): there for name, there in capacity.items()} | found


def _rounded(asked: Decimal | None, there: DeviceCapacity) -> Decimal:
    policy = there.requestPolicy
    if asked is None:
        return quantities.parse(policy.default if policy is not None and policy.default else there.value)
    if policy is None:
        return asked
    if policy.validRange is not None and policy.validRange.min:
        return _stepped(asked, policy.validRange)
    return min((v for v in map(quantities.parse, policy.validValues) if v >= asked), default=asked)


def _stepped(asked: Decimal, valid: CapacityRequestPolicyRange) -> Decimal:
    least = quantities.parse(valid.min)
    if asked < least or not valid.step:
        return max(asked, least)
    step = quantities.parse(valid.step)
    whole, rest = divmod(asked - least, step)
    return least + step * (whole + 1) if rest else asked


def _violates(amount: Decimal, policy: CapacityRequestPolicy) -> bool:
    if policy.default and amount == quantities.parse(policy.default):
        return False
    if (valid := policy.validRange) is not None:
        if valid.max and amount > quantities.parse(valid.max):
            return True
        return bool(valid.step) and (amount - quantities.parse(valid.min)) % quantities.parse(valid.step or "1") != 0
    return bool(policy.validValues) and amount not in map(quantities.parse, policy.validValues)
