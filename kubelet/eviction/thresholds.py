"""From how much of what on something is done, as the flags say it.
https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/#eviction-signals-and-thresholds
"""

import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from api import quantities

MEMORY, ALLOCATABLE_MEMORY = "memory.available", "allocatableMemory.available"
NODE_DISK, NODE_INODES = "nodefs.available", "nodefs.inodesFree"
IMAGE_DISK, IMAGE_INODES = "imagefs.available", "imagefs.inodesFree"
PIDS = "pid.available"
# What a pod is evicted for the sake of, by signal; `inodes` and `pids` are nothing that a pod could request.
RESOURCES = {
    MEMORY: "memory", ALLOCATABLE_MEMORY: "memory", NODE_DISK: "ephemeral-storage", NODE_INODES: "inodes",
    IMAGE_DISK: "ephemeral-storage", IMAGE_INODES: "inodes", PIDS: "pids",
}  # fmt: skip
CONDITIONS = {
    MEMORY: "MemoryPressure", ALLOCATABLE_MEMORY: "MemoryPressure", NODE_DISK: "DiskPressure",
    NODE_INODES: "DiskPressure", IMAGE_DISK: "DiskPressure", IMAGE_INODES: "DiskPressure", PIDS: "PIDPressure",
}  # fmt: skip
HARD = "imagefs.available<15%,imagefs.inodesFree<5%,memory.available<100Mi,nodefs.available<10%,nodefs.inodesFree<5%"
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")


@dataclass(frozen=True, slots=True)
class Value:
    """A quantity, or a share of what there is."""

    quantity: str = ""
    share: float = 0.0

    def of(self, capacity: int) -> int:
        return quantities.value(self.quantity) if self.quantity else int(capacity * self.share)

    def spelled(self, capacity: int) -> str:
        if self.quantity:
            return quantities.canonical(self.quantity)
        return quantities.spelled(Decimal(self.of(capacity)), "binary")


@dataclass(frozen=True, slots=True)
class Threshold:
    """It is met while there is less than `value`; having been met, until there is `reclaim` more."""

    signal: str
    value: Value
    grace: float = 0.0  # seconds for which it must have been met
    reclaim: Value = Value("0")

    @property
    def is_hard(self) -> bool:
        return self.grace == 0.0


def parse(hard: str, soft: str = "", grace: str = "", reclaim: str = "") -> tuple[Threshold, ...]:
    """The flags' texts.  Raises ValueError in upstream's words."""
    graces = {signal: duration(text) for signal, text in pairs(grace, "=")}
    least = {signal: _value(signal, text) for signal, text in pairs(reclaim, "=")}
    _check((*graces, *least))
    found = list(_thresholds(hard))
    for threshold in _thresholds(soft):
        if threshold.signal not in graces:
            raise ValueError(f"grace period must be specified for the soft eviction threshold {threshold.signal}")
        found.append(replace(threshold, grace=graces[threshold.signal]))
    return tuple(replace(t, reclaim=least.get(t.signal, t.reclaim)) for t in found)


def with_allocatable(thresholds: Iterable[Threshold]) -> tuple[Threshold, ...]:
    """Pods are also evicted when they, without the rest of the node, come near what they may have together."""
    known = tuple(thresholds)
    return (*known, *(replace(t, signal=ALLOCATABLE_MEMORY) for t in known if t.signal == MEMORY and t.is_hard))


def hard_reserve(thresholds: Iterable[Threshold], capacity: Mapping[str, str]) -> dict[str, int]:
    """What hard eviction keeps free is nobody's to request."""
    kept = {}
    for threshold in thresholds:
        resource = {MEMORY: "memory", NODE_DISK: "ephemeral-storage"}.get(threshold.signal)
        if resource is not None and threshold.is_hard and resource in capacity:
            kept[resource] = threshold.value.of(quantities.value(capacity[resource]))
    return kept


def pairs(text: str, separator: str) -> Iterator[tuple[str, str]]:
    """`a=1,b=2`.  Raises ValueError."""
    for part in (p.strip() for p in text.split(",")):
        if part:
            name, found, value = part.partition(separator)
            if not found:
                raise ValueError(f"malformed pair, expect string{separator}string")
            yield name.strip(), value.strip()


def duration(text: str) -> float:
    """Go's way to write one: `1m30s`.  Raises ValueError."""
    found = _DURATION.fullmatch(text)
    if text == "0":
        return 0.0
    if not text or found is None:
        raise ValueError(f'time: invalid duration "{text}"')
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + seconds


def _thresholds(text: str) -> Iterator[Threshold]:
    for signal, value in pairs(text, "<"):
        _check([signal])
        if value in ("0%", "100%"):
            continue  # switched off
        amount = _value(signal, value)
        if amount.quantity and quantities.parse(amount.quantity) <= 0:
            raise ValueError(f"eviction threshold {signal} must be positive: {amount.quantity}")
        if not 0 <= amount.share <= 1:
            bound = "<= 100%" if amount.share > 1 else ">= 0%"
            raise ValueError(f"eviction percentage threshold {signal} must be {bound}: {value}")
        yield Threshold(signal, amount)


def _value(signal: str, text: str) -> Value:
    if not text.endswith("%"):
        quantities.parse(text)
        return Value(text)
    # Upstream keeps shares in single precision, which shows in every node's allocatable storage.
    (single,) = struct.unpack("f", struct.pack("f", float(text.rstrip("%")) / 100))
    return Value(share=single)


def _check(signals: Iterable[str]) -> None:
    for signal in signals:
        if signal not in RESOURCES or signal == ALLOCATABLE_MEMORY:
            raise ValueError(f"unsupported eviction signal {signal}")
