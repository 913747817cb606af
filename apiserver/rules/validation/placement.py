"""Where a pod may run: affinity, tolerations, spreading.

https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/
"""

from collections import Counter

from api import names
from api.paths import Path, duplicate, forbidden, invalid, not_supported, required
from api.types import (
    Affinity,
    LabelSelector,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    PodAffinityTerm,
    Taint,
    Toleration,
    TopologySpreadConstraint,
    WeightedPodAffinityTerm,
)  # fmt: skip
from apiserver.rules.validation.selectors import selector
from apiserver.rules.validation.values import NOT_POSITIVE, Faults, formed, optional, positive

EFFECTS = {"NoSchedule", "PreferNoSchedule", "NoExecute"}
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
NOT_AN_OPERATOR = "not a valid selector operator"


def affinity(path: Path, it: Affinity) -> Faults:
    if it.nodeAffinity is not None:
        at, node = path.child("nodeAffinity"), it.nodeAffinity
        if node.requiredDuringSchedulingIgnoredDuringExecution is not None:
            yield from node_selector(at.child(REQUIRED), node.requiredDuringSchedulingIgnoredDuringExecution)
        for i, term in enumerate(node.preferredDuringSchedulingIgnoredDuringExecution):
            here = at.child(PREFERRED).index(i)
            yield from _weight(here, term.weight)
            if term.preference is not None:
                yield from _term(here.child("preference"), term.preference, check_values=False)
    for name in ("podAffinity", "podAntiAffinity"):
        pods = getattr(it, name)
        if pods is not None:
            yield from _pods(path.child(name), getattr(pods, REQUIRED), getattr(pods, PREFERRED))


def node_selector(path: Path, it: NodeSelector) -> Faults:
    at = path.child("nodeSelectorTerms")
    if not it.nodeSelectorTerms:
        yield required(at, "must have at least one node selector term")
    for i, term in enumerate(it.nodeSelectorTerms):
        yield from _term(at.index(i), term, check_values=True)


def _term(path: Path, it: NodeSelectorTerm, *, check_values: bool) -> Faults:
    for i, expression in enumerate(it.matchExpressions):
        yield from _expression(path.child("matchExpressions").index(i), expression, check_values=check_values)
    for i, expression in enumerate(it.matchFields):
        yield from _field(path.child("matchFields").index(i), expression)


def _expression(path: Path, it: NodeSelectorRequirement, *, check_values: bool) -> Faults:
    at = path.child("values")
    match it.operator:
        case "In" | "NotIn":
            if not it.values:
                yield required(at, "must be specified when `operator` is 'In' or 'NotIn'")
        case "Exists" | "DoesNotExist":
            if it.values:
                yield forbidden(at, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
        case "Gt" | "Lt":
            if len(it.values) != 1:
                yield required(at, "must be specified single value when `operator` is 'Lt' or 'Gt'")
        case _:
            yield invalid(path.child("operator"), it.operator or "", NOT_AN_OPERATOR)
    yield from formed(path.child("key"), it.key, names.qualified_name_faults)
    if check_values:
        for i, value in enumerate(it.values):
            yield from formed(at.index(i), value, names.label_value_faults)


def _field(path: Path, it: NodeSelectorRequirement) -> Faults:
    if it.operator not in ("In", "NotIn"):
        yield invalid(path.child("operator"), it.operator or "", NOT_AN_OPERATOR)
    elif len(it.values) != 1:
        why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        yield required(path.child("values"), why)
    if it.key != "metadata.name":
        yield invalid(path.child("key"), it.key or "", "not a valid field selector key")
        return
    for i, value in enumerate(it.values):
        yield from formed(path.child("values").index(i), value, names.dns_subdomain_faults)


def _weight(path: Path, weight: int | None) -> Faults:
    if not 1 <= (weight or 0) <= 100:
        yield invalid(path.child("weight"), weight or 0, "must be in the range 1-100")


def _pods(path: Path, needed: list[PodAffinityTerm], wished: list[WeightedPodAffinityTerm]) -> Faults:
    for i, term in enumerate(needed):
        yield from _pod_term(path.child(REQUIRED).index(i), term)
    for i, weighted in enumerate(wished):
        at = path.child(PREFERRED).index(i)
        yield from _weight(at, weighted.weight)
        if weighted.podAffinityTerm is not None:
            yield from _pod_term(at.child("podAffinityTerm"), weighted.podAffinityTerm)


def _pod_term(path: Path, it: PodAffinityTerm) -> Faults:
    yield from selector(path.child("labelSelector"), it.labelSelector)
    yield from selector(path.child("namespaceSelector"), it.namespaceSelector)
    for namespace in it.namespaces:
        yield from formed(path.child("namespace"), namespace, names.dns_label_faults)
    for name in ("matchLabelKeys", "mismatchLabelKeys"):
        keys = getattr(it, name)
        if keys and it.labelSelector is None:
            yield forbidden(path.child(name), "must not be specified when labelSelector is not set")
            continue
        for i, key in enumerate(keys):
            yield from formed(path.child(name).index(i), key, names.qualified_name_faults)
    for i, key in enumerate(it.matchLabelKeys):
        if key in it.mismatchLabelKeys:
            why = "exists in both matchLabelKeys and mismatchLabelKeys"
            yield invalid(path.child("matchLabelKeys").index(i), key, why)
    if not it.topologyKey:
        yield required(path.child("topologyKey"), "can not be empty")
    yield from formed(path.child("topologyKey"), it.topologyKey, names.qualified_name_faults)


def tolerations(path: Path, its: list[Toleration]) -> Faults:
    for i, it in enumerate(its):
        at = path.index(i)
        if it.key:
            yield from formed(at.child("key"), it.key, names.qualified_name_faults)
        elif it.operator != "Exists":
            why = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            yield invalid(at.child("operator"), it.operator, why)
        if it.tolerationSeconds is not None and it.effect != "NoExecute":
            why = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            yield invalid(at.child("effect"), it.effect, why)
        if it.operator in ("", "Equal"):
            if faults := names.label_value_faults(it.value):
                yield invalid(at.child("operator"), it.value, ";".join(faults))
        elif it.operator == "Exists":
            if it.value:
                why = "value must be empty when `operator` is 'Exists'"
                yield invalid(at.child("operator"), it.value, why)
        else:
            yield not_supported(at.child("operator"), it.operator, ("Equal", "Exists"))
        yield from optional(at.child("effect"), it.effect, EFFECTS)


def taints(path: Path, its: list[Taint]) -> Faults:
    seen: set[tuple[str, str]] = set()
    for i, it in enumerate(its):
        at = path.index(i)
        yield from formed(at.child("key"), it.key, names.qualified_name_faults)
        if faults := names.label_value_faults(it.value):
            yield invalid(at.child("value"), it.value, ";".join(faults))
        if not it.effect:
            yield required(at.child("effect"))
        elif it.effect not in EFFECTS:
            yield not_supported(at.child("effect"), it.effect, EFFECTS)
        if (it.key, it.effect) in seen:
            yield duplicate(at, it, "taints must be unique by key and effect pair")
        seen.add((it.key, it.effect))


def spreading(path: Path, its: list[TopologySpreadConstraint]) -> Faults:
    left = Counter((it.topologyKey, it.whenUnsatisfiable) for it in its)
    for i, it in enumerate(its):
        at = path.index(i)
        yield from positive(at.child("maxSkew"), it.maxSkew)
        if not it.topologyKey:
            yield required(at.child("topologyKey"), "can not be empty")
        if it.whenUnsatisfiable not in ("DoNotSchedule", "ScheduleAnyway"):
            supported = ("DoNotSchedule", "ScheduleAnyway")
            yield not_supported(at.child("whenUnsatisfiable"), it.whenUnsatisfiable or "", supported)
        same = (it.topologyKey, it.whenUnsatisfiable)
        left[same] -= 1
        if left[same]:
            yield duplicate(at.child("{topologyKey, whenUnsatisfiable}"), f"{{{same[0]}, {same[1]}}}")
        yield from _min_domains(at.child("minDomains"), it)
        for name in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            yield from optional(at.child(name), getattr(it, name), {"Honor", "Ignore"})
        if it.matchLabelKeys:
            yield from _label_keys(at.child("matchLabelKeys"), it.matchLabelKeys, it.labelSelector)
        yield from selector(at.child("labelSelector"), it.labelSelector)


def _min_domains(path: Path, it: TopologySpreadConstraint) -> Faults:
    if it.minDomains is None:
        return
    if it.minDomains <= 0:
        yield invalid(path, it.minDomains, NOT_POSITIVE)
    if it.whenUnsatisfiable != "DoNotSchedule":
        why = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {it.whenUnsatisfiable}"
        yield invalid(path, it.minDomains, why)


def _label_keys(path: Path, keys: list[str], by: LabelSelector | None) -> Faults:
    if by is None:
        yield forbidden(path, "must not be specified when labelSelector is not set")
    selected = {*by.matchLabels, *(e.key for e in by.matchExpressions)} if by is not None else set()
    for i, key in enumerate(keys):
        yield from formed(path.index(i), key, names.qualified_name_faults)
        if key in selected:
            yield invalid(path.index(i), key, "exists in both matchLabelKeys and labelSelector")
