"""What a node has, what of it pods may have, and the flags that say so.
https://kubernetes.io/docs/tasks/administer-cluster/reserve-compute-resources/
"""

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from api import quantities
from kubelet.cgroups import names
from kubelet.eviction import thresholds
from kubelet.eviction.thresholds import Threshold
from machinery.flags import truth

RESERVABLE = "cpu", "memory", "ephemeral-storage", "pid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """The part of the configuration that this is about."""

    capacity: Mapping[str, str]  # instead of what the machine has, or beside it
    reserved: tuple[Mapping[str, str], ...]  # for the system and for Kubernetes' own
    thresholds: tuple[Threshold, ...]
    transition: float
    enforced: bool
    per_qos: bool
    cgroup_root: names.Name
    max_pids: int | None
    soft_grace: int  # seconds that a pod has at most when a soft threshold evicts it


@dataclass(frozen=True, slots=True)
class Promises:
    """`for_pods` is what all pods together may use: a little more than they may request, so that eviction comes before
    the kernel's own way to make room."""

    capacity: Mapping[str, str]
    allocatable: Mapping[str, str]
    for_pods: Mapping[str, str]


def add_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--capacity", default="", help="cpu=2,memory=4Gi,example.com/foo=3: what the node has, instead of the machine")
    add("--kube-reserved", default="", help="cpu=100m,memory=200Mi,...: not for pods")
    add("--system-reserved", default="", help="the same")
    add("--eviction-hard", default=thresholds.HARD, help="memory.available<1Gi,...")
    add("--eviction-soft", default="", help="the same, after a grace period")
    add("--eviction-soft-grace-period", default="", help="memory.available=1m30s,...")
    add("--eviction-minimum-reclaim", default="", help="imagefs.available=2Gi,...")
    add("--eviction-max-pod-grace-period", type=int, default=0, help="seconds, when a soft threshold is met")
    add("--eviction-pressure-transition-period", type=thresholds.duration, default=300.0)
    add("--enforce-node-allocatable", default="pods", help="pods, or none")
    add("--pod-max-pids", type=int, default=-1, help="-1 is without limit")
    add("--cgroups-per-qos", type=truth, nargs="?", const=True, default=True)
    add("--cgroup-root", default="", help="the group that the node's pods stand in; it is the node's own to limit")


def resources(flags: argparse.Namespace) -> Resources:
    """Raises ValueError."""
    enforced = set(flags.enforce_node_allocatable.split(",")) - {"", "none"}
    if enforced - {"pods"}:
        raise ValueError(f"--enforce-node-allocatable: only pods is enforced here, not {', '.join(sorted(enforced))}")
    if enforced and not flags.cgroups_per_qos:
        raise ValueError(
            "node allocatable enforcement is not supported unless Cgroups Per QOS feature is turned on "
            "(set --enforce-node-allocatable=none)"
        )
    found = thresholds.parse(
        flags.eviction_hard, flags.eviction_soft, flags.eviction_soft_grace_period, flags.eviction_minimum_reclaim
    )
    return Resources(
        capacity=_amounts("--capacity", flags.capacity),
        reserved=(
            _reserve("--kube-reserved", flags.kube_reserved), _reserve("--system-reserved", flags.system_reserved),
        ),
        thresholds=thresholds.with_allocatable(found) if enforced else found,
        transition=flags.eviction_pressure_transition_period,
        enforced=bool(enforced),
        per_qos=flags.cgroups_per_qos,
        cgroup_root=names.parse(flags.cgroup_root),
        max_pids=flags.pod_max_pids if flags.pod_max_pids > 0 else None,
        soft_grace=flags.eviction_max_pod_grace_period,
    )  # fmt: skip


def promises(machine: Mapping[str, str], given: Resources) -> Promises:
    """`machine` is what the node would have by itself."""
    capacity = {**machine, **given.capacity}
    huge = sum(quantities.value(amount) for name, amount in capacity.items() if name.startswith("hugepages-"))
    for_pods = _less(capacity, _total(given.reserved))
    kept = thresholds.hard_reserve(given.thresholds, capacity)
    # Huge pages are set aside when the machine starts, so the memory that they stand in is nobody's any more.
    kept["memory"] = kept.get("memory", 0) + huge
    return Promises(capacity, _less(for_pods, kept), for_pods)


def _total(lists: Iterable[Mapping[str, str]]) -> dict[str, Decimal]:
    return quantities.total(*lists)


def _less(amounts: Mapping[str, str], taken: Mapping[str, Decimal | int]) -> dict[str, str]:
    left = dict(amounts)
    for name, amount in taken.items():
        if name in amounts and amount:
            rest = max(Decimal(), quantities.parse(amounts[name]) - amount)
            left[name] = _spelled(rest, quantities.family(amounts[name]))
    return left


def _spelled(amount: Decimal, family: str) -> str:
    """Bytes that come from kibibytes stay in those, as upstream shows a node's memory."""
    whole = amount == amount.to_integral_value() and amount and amount % 1024 == 0
    return f"{int(amount) // 1024}Ki" if family == "binary" and whole else quantities.spelled(amount, "decimal")


def _amounts(flag: str, text: str) -> dict[str, str]:
    try:
        return {name: quantities.canonical(amount) for name, amount in thresholds.pairs(text, "=")}
    except ValueError as e:
        raise ValueError(f"{flag}: {e}") from e


def _reserve(flag: str, text: str) -> dict[str, str]:
    found = _amounts(flag, text)
    for name, amount in found.items():
        if name not in RESERVABLE:
            raise ValueError(f"cannot reserve {name} resource")
        if quantities.parse(amount) < 0:
            raise ValueError(f"resource quantity for {name} cannot be negative: {amount}")
    return found
