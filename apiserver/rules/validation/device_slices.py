"""ResourceSlices: the devices that a driver offers, where they are, and what they share.

https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/#resourceslice
"""

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from api import names, quantities
from api.paths import Path, forbidden, invalid, not_supported, required, too_long, too_many
from api.types import (
    CapacityRequestPolicy,
    CapacityRequestPolicyRange,
    CounterSet,
    Device,
    DeviceAttribute,
    DeviceCapacity,
    DeviceCounterConsumption,
    DeviceTaint,
    ResourcePool,
    ResourceSlice,
    ResourceSliceSpec,
)
from apiserver.rules.validation.devices import (
    EFFECTS,
    binding_conditions,
    each,
    label,
    label_name,
    pool_name,
    qualified_name,
)
from apiserver.rules.validation.drivers import driver_name
from apiserver.rules.validation.placement import node_selector
from apiserver.rules.validation.values import NEGATIVE, Faults, formed, immutable
from machinery.device_selectors import LONGEST_DOMAIN, LONGEST_NAME, LONGEST_VALUE, MOST_NAMES

SPEC = Path("spec")
MOST_DEVICES = 128
MOST_COSTLY_DEVICES = 64
"""If any has taints or consumes counters."""
MOST_VALUES = 48
MOST_TAINTS = 16
MOST_COUNTER_SETS = 8
MOST_COUNTERS = 32
MOST_CONSUMPTIONS = 2
MOST_OPTIONS = 10
LONGEST_KEY = LONGEST_DOMAIN + 1 + LONGEST_NAME
LONGEST_INTEGER = 2**63 - 1
ONE_PLACE = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
ONE_DEVICE_PLACE = (
    "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true "
    "in the ResourceSlice spec"
)
NO_DEVICE_PLACE = (
    "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the "
    "ResourceSlice spec"
)
DEVICE_PLACES = ("nodeName", "nodeSelector", "allNodes")
TRUE_OR_NOT = "must be either unset or set to true"
_NUMBER = r"(0|[1-9][0-9]*)"
_BEFORE = r"(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
_BUILD = r"[0-9a-zA-Z-]+"
VERSION = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(-{_BEFORE}(\.{_BEFORE})*)?(\+{_BUILD}(\.{_BUILD})*)?", re.ASCII
)  # fmt: skip


def slice_(it: ResourceSlice) -> Faults:
    yield from _slice(it.spec, None)


def slice_updated(new: ResourceSlice, old: ResourceSlice) -> Faults:
    yield from _slice(new.spec, old.spec)


def _slice(spec: ResourceSliceSpec, old: ResourceSliceSpec | None) -> Faults:
    pool = spec.pool or ResourcePool()
    yield from driver_name(SPEC.child("driver"), spec.driver or "")
    yield from _pool(SPEC.child("pool"), pool)
    if old is not None:
        yield from immutable(SPEC.child("pool", "name"), pool.name, (old.pool or ResourcePool()).name)
        yield from immutable(SPEC.child("driver"), spec.driver, old.driver)
        yield from immutable(SPEC.child("nodeName"), spec.nodeName, old.nodeName)
    yield from _place(spec)
    if spec.sharedCounters and spec.devices:
        yield invalid(SPEC, "", "only one of `sharedCounters` or `devices` is allowed")
    costly = any(device.taints or device.consumesCounters for device in spec.devices)
    known = {device.name: device for device in old.devices} if old is not None else {}

    def device(at: Path, it: Device) -> Faults:
        yield from _device(at, it, known.get(it.name), bool(spec.perDeviceNodeSelection))

    most = MOST_COSTLY_DEVICES if costly else MOST_DEVICES
    yield from each(SPEC.child("devices"), spec.devices, most, device, lambda it: it.name or "")
    counters = SPEC.child("sharedCounters")
    yield from each(counters, spec.sharedCounters, MOST_COUNTER_SETS, _counter_set, lambda it: it.name or "")


def _pool(at: Path, it: ResourcePool) -> Faults:
    yield from pool_name(at.child("name"), it.name)
    if (it.resourceSliceCount or 0) <= 0:
        yield invalid(at.child("resourceSliceCount"), it.resourceSliceCount or 0, "must be greater than zero")
    if (it.generation or 0) < 0:
        yield invalid(at.child("generation"), it.generation, "must be greater than or equal to zero")


def _place(spec: ResourceSliceSpec) -> Faults:
    yield from _node(SPEC, spec)
    if spec.nodeSelector is not None and len(terms := spec.nodeSelector.nodeSelectorTerms) != 1:
        at = SPEC.child("nodeSelector", "nodeSelectorTerms")
        yield invalid(at, terms, "must have exactly one node selector term")
    for name in ("allNodes", "perDeviceNodeSelection"):
        if getattr(spec, name) is False:
            yield invalid(SPEC.child(name), False, TRUE_OR_NOT)
    chosen = _chosen(spec, (*DEVICE_PLACES, "perDeviceNodeSelection"))
    if not chosen:
        yield required(SPEC, ONE_PLACE)
    elif len(chosen) > 1:
        yield invalid(SPEC, "{" + ", ".join(chosen) + "}", f"{ONE_PLACE}, but multiple fields are set")


def _node(at: Path, it: ResourceSliceSpec | Device) -> Faults:
    if it.nodeName:
        yield from formed(at.child("nodeName"), it.nodeName, names.dns_subdomain_faults)
    if it.nodeSelector is not None:
        yield from node_selector(at.child("nodeSelector"), it.nodeSelector)


def _chosen(it: ResourceSliceSpec | Device, places: Sequence[str]) -> list[str]:
    """Which of these fields say where it is."""
    return [f"`{name}`" for name in places if getattr(it, name)]


# --- devices


def _device(at: Path, it: Device, old: Device | None, placed: bool) -> Faults:
    """`old`: the device of this name before.  `placed`: each device says where it is."""
    yield from label(at.child("name"), it.name)
    if (count := len(it.attributes) + len(it.capacity)) > MOST_NAMES:
        yield invalid(at, count, f"the total number of attributes and capacities must not exceed {MOST_NAMES}")
    if (count := len(it.attributes)) > MOST_VALUES:
        yield invalid(at, count, f"the total number of attribute values must not exceed {MOST_VALUES}")
    yield from _each_entry(at.child("attributes"), it.attributes, LONGEST_KEY, qualified_name, _attribute)
    if old is None or old.capacity != it.capacity:
        capacity = _shared_capacity if it.allowMultipleAllocations else _capacity
        yield from _each_entry(at.child("capacity"), it.capacity, LONGEST_KEY, qualified_name, capacity)
    if old is None or old.taints != it.taints:
        yield from each(at.child("taints"), it.taints, MOST_TAINTS, _taint)
    consumed = at.child("consumesCounters")
    yield from each(consumed, it.consumesCounters, MOST_CONSUMPTIONS, _consumption, lambda c: c.counterSet or "")
    yield from _device_place(at, it, placed)
    yield from binding_conditions(at, it.bindingConditions, it.bindingFailureConditions)


def _device_place(at: Path, it: Device, placed: bool) -> Faults:
    if not placed:
        if it.nodeName or it.nodeSelector is not None or it.allNodes is not None:
            yield invalid(at, None, NO_DEVICE_PLACE)
        return
    yield from _node(at, it)
    if it.allNodes is False:
        yield invalid(at.child("allNodes"), False, TRUE_OR_NOT)
    chosen = _chosen(it, DEVICE_PLACES)
    if not chosen:
        yield required(at, ONE_DEVICE_PLACE)
    elif len(chosen) > 1:
        yield invalid(at, "{" + ", ".join(chosen) + "}", ONE_DEVICE_PLACE)


def _each_entry(
    path: Path, entries: Mapping[str, Any], longest: int, key_rule: Callable[[Path, str], Faults],
    rule: Callable[[Path, Any], Faults],
) -> Faults:  # fmt: skip
    for key, value in entries.items():
        yield from key_rule(path, key)
        yield from rule(path.key(_shortened(key, longest)), value)


def _shortened(key: str, longest: int) -> str:
    """In the middle, for messages."""
    if len(key) <= longest:
        return key
    left = longest - len("...")
    return f"{key[: (left + 1) // 2]}...{key[len(key) - left // 2 :]}"


def _attribute(at: Path, it: DeviceAttribute) -> Faults:
    given = [name for name in ("bool_", "int_", "string", "version") if getattr(it, name) is not None]
    if it.string is not None and len(it.string.encode()) > LONGEST_VALUE:
        yield too_long(at.child("string"), LONGEST_VALUE)
    if it.version is not None:
        if not VERSION.fullmatch(it.version):
            why = "must be a string compatible with semver.org spec 2.0.0"
            yield invalid(at.child("version"), it.version, why)
        if len(it.version) > LONGEST_VALUE:
            yield too_long(at.child("version"), LONGEST_VALUE)
    if len(given) != 1:
        yield invalid(at, it if given else "", "exactly one value must be specified")


def _taint(at: Path, it: DeviceTaint) -> Faults:
    yield from label_name(at.child("key"), it.key)
    if it.value:
        yield from formed(at.child("value"), it.value, names.label_value_faults)
    if not it.effect:
        yield required(at.child("effect"))
    elif it.effect not in EFFECTS:
        yield not_supported(at.child("effect"), it.effect, EFFECTS)


# --- what is shared


def _counter_set(at: Path, it: CounterSet) -> Faults:
    yield from _counter_set_name(at.child("name"), it.name)
    yield from _counters(at.child("counters"), it.counters)


def _consumption(at: Path, it: DeviceCounterConsumption) -> Faults:
    yield from _counter_set_name(at.child("counterSet"), it.counterSet)
    yield from _counters(at.child("counters"), it.counters)


def _counter_set_name(at: Path, name: str | None) -> Faults:
    if not name:
        yield required(at)
    else:
        yield from label(at, name)


def _counters(at: Path, counters: Mapping[str, Any]) -> Faults:
    if not counters:
        yield required(at)
    elif len(counters) > MOST_COUNTERS:
        yield too_many(at, len(counters), MOST_COUNTERS)
    else:
        for name in counters:
            yield from label(at, name)


def _capacity(at: Path, it: DeviceCapacity) -> Faults:
    """Of a device that one claim has for itself."""
    if it.requestPolicy is not None:
        yield forbidden(at.child("requestPolicy"), "allowMultipleAllocations must be true")


def _shared_capacity(at: Path, it: DeviceCapacity) -> Faults:
    policy, path = it.requestPolicy, at.child("requestPolicy")
    if policy is None:
        return
    if policy.validValues and policy.validRange is not None:
        why = 'exactly one policy can be specified, cannot specify "validValues" and "validRange" at the same time'
        yield forbidden(path, why)
        return
    for name, rule in (("validValues", _options), ("validRange", _range)):
        if not getattr(policy, name):
            continue
        if not policy.default:
            yield required(path.child("default"), f"required when {name} is defined")
        else:
            yield from rule(path.child(name), policy, it.value or "0")


def _options(at: Path, policy: CapacityRequestPolicy, whole: str) -> Faults:
    options, default = policy.validValues, policy.default or ""
    amounts = [quantities.parse(option) for option in options]
    for i in range(1, len(amounts)):
        if amounts[i - 1] > amounts[i]:
            yield invalid(at.index(i), options[i], "values must be sorted in ascending order")

    def option(here: Path, value: str) -> Faults:
        if quantities.parse(value) > quantities.parse(whole):
            yield invalid(here, value, f"option is larger than capacity value: {whole}")

    yield from each(at, options, MOST_OPTIONS, option, lambda value: str(quantities.parse(value).normalize()))
    if quantities.parse(default) not in amounts:
        yield invalid(at, default, "default value is not valid according to the requestPolicy")


def _range(at: Path, policy: CapacityRequestPolicy, whole: str) -> Faults:
    bounds, default = policy.validRange, policy.default or ""
    assert bounds is not None
    if not bounds.min:
        yield required(at.child("min"), "required when validRange is defined")
        return
    amount, least = quantities.parse, quantities.parse(bounds.min)
    if least > amount(whole):
        yield invalid(at.child("min"), bounds.min, f"min is larger than capacity value: {whole}")
    if amount(default) < least:
        yield invalid(at.child("default"), default, f"default is less than min: {bounds.min}")
    if bounds.max:
        if least > amount(bounds.max):
            yield invalid(at.child("max"), bounds.min, f"min is larger than max: {bounds.max}")
        if amount(bounds.max) > amount(whole):
            yield invalid(at.child("max"), bounds.max, f"max is larger than capacity value: {whole}")
        if amount(default) > amount(bounds.max):
            yield invalid(at.child("default"), default, f"default is more than max: {bounds.max}")
    yield from _steps(at, bounds, default, whole)


def _steps(at: Path, bounds: CapacityRequestPolicyRange, default: str, whole: str) -> Faults:
    """Whole numbers, or thousandths if any is not whole."""
    named = {"default": default, "min": bounds.min, "max": bounds.max, "step": bounds.step}
    amounts = {name: (text, quantities.parse(text)) for name, text in named.items() if text}
    fine = any(amount != amount.to_integral_value() for _, amount in amounts.values())
    if fine:
        unfit = [name for name, (_, amount) in amounts.items() if not _has_thousandths(amount)]
        for name in unfit:
            yield invalid(at.child(name), amounts[name][0], "value cannot be represented as a milli value")
        if unfit:
            return
    if "step" not in amounts:
        return
    (step_text, step), (least_text, least) = amounts["step"], amounts["min"]
    if step <= 0:
        yield invalid(at.child("step"), step_text, "must be greater than zero")
        return
    if least + step > quantities.parse(whole):
        first = quantities.spelled(least + step, quantities.family(least_text))
        yield invalid(at.child("step"), step_text, f"one step {first} is larger than capacity value: {whole}")
    if not fine:
        negative = [name for name, (_, amount) in amounts.items() if amount < 0]
        for name in negative:
            yield invalid(at.child(name), amounts[name][0], NEGATIVE)
        if negative:
            return
    for name in ("default", "max"):
        text, amount = amounts.get(name, (least_text, least))
        if (amount - least) % step:
            why = f"value is not a multiple of a given step ({step_text}) from ({least_text})"
            yield invalid(at.child("step"), text, why)


def _has_thousandths(amount: Decimal) -> bool:
    scaled = amount * 1000
    return scaled == scaled.to_integral_value() and abs(scaled) <= LONGEST_INTEGER
