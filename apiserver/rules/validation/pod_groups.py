"""Pods that are scheduled together: PodGroups, and the Workloads that have templates of them.

https://kubernetes.io/docs/concepts/workloads/workload-api/
"""

from typing import Any

from api import names
from api.paths import Path, duplicate, invalid, required, too_many
from api.types import (
    DisruptionMode,
    GangSchedulingPolicy,
    PodGroup,
    PodGroupSchedulingPolicy,
    PodGroupTemplate,
    SchedulingV1beta1TypedLocalObjectReference,
    Workload,
)
from apiserver.rules.validation.values import Faults, formed, immutable

SPEC = Path("spec")
TEMPLATES = SPEC.child("podGroupTemplates")
MOST_TEMPLATES = 8
TOO_SMALL = "must be greater than or equal to 1"


def workload(it: Workload) -> Faults:
    if it.spec.controllerRef is not None:
        yield from _controller(SPEC.child("controllerRef"), it.spec.controllerRef)
    count = len(it.spec.podGroupTemplates)
    if not count:
        yield required(TEMPLATES, "must have at least one item")
    if count > MOST_TEMPLATES:
        yield too_many(TEMPLATES, count, MOST_TEMPLATES)
    seen: set[str] = set()
    for at, template in enumerate(it.spec.podGroupTemplates[:MOST_TEMPLATES]):
        name = template.name or ""
        if name and name in seen:
            yield duplicate(TEMPLATES.index(at), name)
        seen.add(name)
        yield from _template(TEMPLATES.index(at), template)


def workload_updated(new: Workload, old: Workload) -> Faults:
    if old.spec.controllerRef is not None:
        yield from immutable(SPEC.child("controllerRef"), new.spec.controllerRef, old.spec.controllerRef)
    elif new.spec.controllerRef is not None:
        yield from _controller(SPEC.child("controllerRef"), new.spec.controllerRef)
    before = {t.name: t for t in old.spec.podGroupTemplates}
    if [t.name for t in new.spec.podGroupTemplates] != [*before]:
        yield invalid(TEMPLATES, None, "field is immutable")
        return
    for at, template in enumerate(new.spec.podGroupTemplates):
        known = before[template.name]
        yield from _fixed(TEMPLATES.index(at), template, known, ("disruptionMode", "priority", "priorityClassName"))
        place = TEMPLATES.index(at).child("schedulingPolicy")
        yield from _policy_updated(place, template.schedulingPolicy, known.schedulingPolicy)


def pod_group(it: PodGroup) -> Faults:
    reference = it.spec.workloadRef
    if reference is not None:
        at = SPEC.child("workloadRef")
        yield from _named(at.child("workloadName"), reference.workloadName, names.dns_subdomain_faults)
        yield from _named(at.child("templateName"), reference.templateName, names.dns_label_faults)
    yield from _policy(SPEC.child("schedulingPolicy"), it.spec.schedulingPolicy)
    yield from _mode(SPEC.child("disruptionMode"), it.spec.disruptionMode)
    if it.spec.priorityClassName:
        yield from formed(SPEC.child("priorityClassName"), it.spec.priorityClassName, names.dns_subdomain_faults)


def pod_group_updated(new: PodGroup, old: PodGroup) -> Faults:
    fixed = (
        "workloadRef", "disruptionMode", "priority", "priorityClassName", "schedulingConstraints", "resourceClaims",
        "parentCompositePodGroupName", "preemptionPolicy",
    )  # fmt: skip
    yield from _fixed(SPEC, new.spec, old.spec, fixed)
    yield from _policy_updated(SPEC.child("schedulingPolicy"), new.spec.schedulingPolicy, old.spec.schedulingPolicy)


def _template(at: Path, it: PodGroupTemplate) -> Faults:
    yield from _named(at.child("name"), it.name, names.dns_label_faults)
    yield from _policy(at.child("schedulingPolicy"), it.schedulingPolicy)
    yield from _mode(at.child("disruptionMode"), it.disruptionMode)
    if it.priorityClassName:
        yield from formed(at.child("priorityClassName"), it.priorityClassName, names.dns_subdomain_faults)


def _controller(at: Path, it: SchedulingV1beta1TypedLocalObjectReference) -> Faults:
    if it.apiGroup:
        yield from formed(at.child("apiGroup"), it.apiGroup, names.dns_subdomain_faults)
    yield from _named(at.child("kind"), it.kind, names.path_segment_faults)
    yield from _named(at.child("name"), it.name, names.path_segment_faults)


def _named(at: Path, value: str | None, faults: Any) -> Faults:
    if not value:
        yield required(at)
    else:
        yield from formed(at, value, faults)


def _policy(at: Path, it: PodGroupSchedulingPolicy | None) -> Faults:
    yield from _one(at, it, "basic", "gang")
    if it is not None and it.gang is not None:
        yield from _count(at.child("gang", "minCount"), it.gang)


def _count(at: Path, gang: GangSchedulingPolicy) -> Faults:
    if not gang.minCount:
        yield required(at)
    elif gang.minCount < 1:
        yield invalid(at, gang.minCount, TOO_SMALL)


def _mode(at: Path, it: DisruptionMode | None) -> Faults:
    if it is not None:
        yield from _one(at, it, "single", "all")


def _one(at: Path, it: Any, *members: str) -> Faults:
    """Exactly one of the members is set."""
    listed = ", ".join(f"`{name}`" for name in members)
    given = [name for name in members if getattr(it, name, None) is not None]
    if not given:
        yield invalid(at, "", f"must specify one of: {listed}")
    elif len(given) > 1:
        found = "{" + ", ".join(f"`{name}`" for name in given) + "}"
        yield invalid(at, found, f"exactly one of {listed} is required, but multiple fields are set")


def _policy_updated(
    at: Path, new: PodGroupSchedulingPolicy | None, old: PodGroupSchedulingPolicy | None
) -> Faults:  # fmt: skip
    """Only the size of a gang may change."""
    yield from _one(at, new, "basic", "gang")
    if new is None or old is None:
        return
    yield from immutable(at.child("basic"), new.basic, old.basic)
    if new.gang is None and old.gang is not None:
        yield invalid(at.child("gang"), None, "field cannot be cleared once set")
    elif new.gang is not None and old.gang is None:
        yield invalid(at.child("gang"), None, "field cannot be set once created")
    elif new.gang is not None:
        yield from _count(at.child("gang", "minCount"), new.gang)


def _fixed(at: Path, new: Any, old: Any, fields: tuple[str, ...]) -> Faults:
    for name in fields:
        yield from immutable(at.child(name), getattr(new, name), getattr(old, name))
