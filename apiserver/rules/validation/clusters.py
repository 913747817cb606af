"""Namespaces, nodes, leases and priority classes."""

from msgspec.structs import astuple

from api import names
from api.paths import Path, duplicate, forbidden, invalid, not_supported
from api.types import Lease, Namespace, Node, PriorityClass
from apiserver.rules.validation.metadata import standard_finalizer
from apiserver.rules.validation.placement import taints
from apiserver.rules.validation.resources import quantity
from apiserver.rules.validation.values import Faults, cidr, formed, immutable, nonnegative, optional

SPEC = Path("spec")
STATUS = Path("status")


def namespace(it: Namespace) -> Faults:
    for name in it.spec.finalizers:
        at = SPEC.child("finalizers")
        yield from formed(at, name, names.qualified_name_faults)
        yield from standard_finalizer(at, name)


def nothing(new: Namespace, old: Namespace) -> Faults:
    """The kind has no rules for this beyond those of metadata."""
    yield from ()


def namespace_status_updated(new: Namespace, old: Namespace) -> Faults:
    at, phase = STATUS.child("Phase"), new.status.phase
    if not new.metadata.deletionTimestamp:
        if phase != "Active":
            yield invalid(at, phase, "may only be 'Active' if `deletionTimestamp` is empty")
    elif phase != "Terminating":
        yield invalid(at, phase, "may only be 'Terminating' if `deletionTimestamp` is not empty")


def node(it: Node) -> Faults:
    if it.spec.taints:
        yield from taints(Path("metadata").child("taints"), it.spec.taints)
    yield from _amounts(it)
    at = SPEC.child("podCIDRs")
    for i, value in enumerate(it.spec.podCIDRs):
        yield from cidr(at.index(i), value)
    if len(it.spec.podCIDRs) > 1:
        families = {":" in value for value in it.spec.podCIDRs}
        if len(families) < 2 or len(it.spec.podCIDRs) > 2:
            yield invalid(at, it.spec.podCIDRs, "may specify no more than one CIDR for each IP family")


def node_updated(new: Node, old: Node) -> Faults:
    yield from _amounts(new)
    seen = set()
    for i, address in enumerate(new.status.addresses):
        if (same := astuple(address)) in seen:
            yield duplicate(STATUS.child("addresses").index(i), address)
        seen.add(same)
    if old.spec.podCIDRs and new.spec.podCIDRs != old.spec.podCIDRs:
        why = 'node updates may not change podCIDR except from "" to valid'
        yield forbidden(SPEC.child("podCIDRs"), why)
    if old.spec.providerID and new.spec.providerID != old.spec.providerID:
        why = 'node updates may not change providerID except from "" to valid'
        yield forbidden(SPEC.child("providerID"), why)
    if new.spec.taints:
        yield from taints(Path("metadata").child("taints"), new.spec.taints)
    if new.spec.externalID != old.spec.externalID:
        yield forbidden(SPEC.child("externalID"), "may not be updated")


def _amounts(it: Node) -> Faults:
    for of in ("capacity", "allocatable"):
        amounts = getattr(it.status, of)
        for name in amounts:
            yield from quantity(STATUS.child(of, name), name, amounts[name])


def lease(it: Lease) -> Faults:
    spec = it.spec
    if spec.leaseDurationSeconds is not None and spec.leaseDurationSeconds <= 0:
        yield invalid(SPEC.child("leaseDurationSeconds"), spec.leaseDurationSeconds, "must be greater than 0")
    yield from nonnegative(SPEC.child("leaseTransitions"), spec.leaseTransitions)
    if "/" in spec.strategy:
        yield from formed(SPEC.child("strategy"), spec.strategy, names.qualified_name_faults)
    else:
        yield from optional(SPEC.child("strategy"), spec.strategy, ("OldestEmulationVersion",))
    if spec.preferredHolder and not spec.strategy:
        yield forbidden(SPEC.child("preferredHolder"), "may only be specified if `strategy` is defined")


def priority_class(it: PriorityClass) -> Faults:
    if it.metadata.name.startswith("system-"):
        why = "priority class names with 'system-' prefix are reserved for system use only"
        yield forbidden(Path("metadata").child("name"), why)
    if (it.value or 0) > 1_000_000_000:
        why = "maximum allowed value of a user defined priority is 1000000000"
        yield forbidden(Path("value"), why)
    if it.preemptionPolicy not in ("", "PreemptLowerPriority", "Never"):
        yield not_supported(Path("preemptionPolicy"), it.preemptionPolicy, ("PreemptLowerPriority", "Never"))


def priority_class_updated(new: PriorityClass, old: PriorityClass) -> Faults:
    if new.value != old.value:
        yield forbidden(Path("value"), "may not be changed in an update.")
    yield from immutable(Path("preemptionPolicy"), new.preemptionPolicy, old.preemptionPolicy)
