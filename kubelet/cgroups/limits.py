"""What control groups are to have.  Pure.

https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/#how-pods-with-resource-limits-are-run
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from api import quantities
from api.qos import qos_class
from api.quotas import pods as totals
from api.types import Pod

LEAST_SHARES, MOST_SHARES, LEAST_QUOTA = 2, 262_144, 1000
SHARES_PER_CORE = 1024
PERIOD = 100_000  # microseconds in which a quota is spent
LEAST_WEIGHT, MOST_WEIGHT = 1, 10_000


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one group; None in `shares` leaves the kernel's, None in the others is without limit."""

    shares: int | None = None
    quota: int | None = None  # microseconds in PERIOD
    memory: int | None = None  # bytes
    pids: int | None = None


def of_pod(pod: Pod, max_pids: int | None = None, most: int | None = None) -> Limits:
    """`most` is the node's own quota: the kernel refuses a larger one below it (cgroup v1)."""
    requests, limits = totals.requests(pod), totals.limits(pod)
    if qos_class(pod.spec) == "BestEffort":
        return Limits(shares=LEAST_SHARES, pids=max_pids)
    cpu = limits["cpu"].value if _is_declared(pod, "cpu") else 0
    memory = limits["memory"].value if _is_declared(pod, "memory") else 0
    asked = requests.get("cpu")
    return Limits(
        shares=shares(math.ceil(asked.value * 1000) if asked is not None else 0),
        quota=at_most(quota(math.ceil(cpu * 1000)), most) if cpu else None,
        memory=math.ceil(memory) if memory else None,
        pids=max_pids,
    )


def _is_declared(pod: Pod, name: str) -> bool:
    """Is there a limit of the whole?  One container without one leaves the pod without."""
    if pod.spec.resources is not None and name in pod.spec.resources.limits:
        return True
    return all(name in c.resources.limits for c in (*pod.spec.containers, *pod.spec.initContainers))


def share(pod: Pod) -> int:
    """Thousandths of a processor that it adds to what the burstable class is to have."""
    asked = totals.requests(pod).get("cpu") if qos_class(pod.spec) == "Burstable" else None
    return math.ceil(asked.value * 1000) if asked is not None else 0


def of_burstable(milli: Iterable[int]) -> Limits:
    """The class has a share of the node's processors as large as its pods request together."""
    return Limits(shares=shares(sum(milli)))


def of_best_effort() -> Limits:
    return Limits(shares=LEAST_SHARES)


def of_node(capacity: Mapping[str, str], cpus: int, memory: int) -> Limits:
    """Of a node with that capacity on a machine that has `cpus` and `memory`: what it has all of needs no limit."""
    milli, size = quantities.milli(capacity.get("cpu", "0")), quantities.value(capacity.get("memory", "0"))
    return Limits(
        quota=quota(milli) if 0 < milli < cpus * 1000 else None, memory=size if 0 < size < memory else None
    )  # fmt: skip


def of_all_pods(allocatable: Mapping[str, str]) -> Limits:
    """`allocatable` is without the eviction thresholds: eviction must come before the kernel does."""
    return Limits(
        shares=shares(quantities.milli(allocatable.get("cpu", "0"))),
        memory=quantities.value(allocatable["memory"]) if "memory" in allocatable else None,
    )


def within(limits: Limits, outer: Limits) -> Limits:
    """`limits`, and no more than `outer` where that says something."""
    return replace(
        limits,
        quota=at_most(limits.quota, outer.quota) if limits.quota is not None else outer.quota,
        memory=at_most(limits.memory, outer.memory) if limits.memory is not None else outer.memory,
    )


def at_most(amount: int | None, most: int | None) -> int | None:
    return min(amount, most) if amount is not None and most is not None else amount


def shares(milli: int) -> int:
    return min(MOST_SHARES, max(LEAST_SHARES, milli * SHARES_PER_CORE // 1000))


def quota(milli: int) -> int:
    """Microseconds in each period; 0 is no limit."""
    return max(LEAST_QUOTA, milli * PERIOD // 1000) if milli else 0


def weight(amount: int) -> int:
    """Shares (cgroup v1) as a weight (v2), by the engines' own formula: 1024 of them are 100, the kernel's default."""
    if amount <= LEAST_SHARES:
        return LEAST_WEIGHT
    if amount >= MOST_SHARES:
        return MOST_WEIGHT
    power = math.log2(amount)
    return math.ceil(10 ** ((power * power + 125 * power) / 612 - 7 / 34))
