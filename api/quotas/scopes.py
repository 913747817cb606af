"""Which pods and claims a quota with scopes is about.

https://kubernetes.io/docs/concepts/policy/resource-quotas/#quota-scopes
"""

from collections.abc import Iterable

from api.qos import qos_class
from api.types import (
    PersistentVolumeClaim,
    Pod,
    PodAffinityTerm,
    ResourceQuota,
    ScopedResourceSelectorRequirement,
    WeightedPodAffinityTerm,
)  # fmt: skip


def of(quota: ResourceQuota) -> list[ScopedResourceSelectorRequirement]:
    """All conditions of a quota; an object must meet every one of them to count."""
    plain = [ScopedResourceSelectorRequirement(scopeName=scope, operator="Exists") for scope in quota.spec.scopes]
    selector = quota.spec.scopeSelector
    return plain + (list(selector.matchExpressions) if selector is not None else [])


def covers_pod(scope: ScopedResourceSelectorRequirement, pod: Pod) -> bool:
    match scope.scopeName:
        case "Terminating":
            return _ends(pod)
        case "NotTerminating":
            return not _ends(pod)
        case "BestEffort":
            return qos_class(pod.spec) == "BestEffort"
        case "NotBestEffort":
            return qos_class(pod.spec) != "BestEffort"
        case "PriorityClass":
            return _selects(scope, [pod.spec.priorityClassName] if pod.spec.priorityClassName else [])
        case "CrossNamespacePodAffinity":
            return any(t.namespaces or t.namespaceSelector is not None for t in _terms(pod))
    return False


def covers_claim(scope: ScopedResourceSelectorRequirement, claim: PersistentVolumeClaim) -> bool:
    if scope.scopeName != "VolumeAttributesClass":
        return False
    modifying = claim.status.modifyVolumeStatus
    names = (
        claim.spec.volumeAttributesClassName,
        claim.status.currentVolumeAttributesClassName,
        modifying.targetVolumeAttributesClassName if modifying is not None else "",
    )
    return _selects(scope, [name for name in names if name])


def _selects(scope: ScopedResourceSelectorRequirement, found: list[str]) -> bool:
    """Whether one of the values meets the condition; none at all is something that a condition may ask for."""
    match scope.operator:
        case "Exists":
            return bool(found)
        case "DoesNotExist":
            return not found
        case "In":
            return any(value in scope.values for value in found)
    return not found or any(value not in scope.values for value in found)


def _ends(pod: Pod) -> bool:
    return pod.spec.activeDeadlineSeconds is not None and pod.spec.activeDeadlineSeconds >= 0


def _terms(pod: Pod) -> Iterable[PodAffinityTerm]:
    affinity = pod.spec.affinity
    if affinity is None:
        return
    for each in (affinity.podAffinity, affinity.podAntiAffinity):
        if each is not None:
            yield from each.requiredDuringSchedulingIgnoredDuringExecution
            weighted: list[WeightedPodAffinityTerm] = each.preferredDuringSchedulingIgnoredDuringExecution
            yield from (w.podAffinityTerm for w in weighted if w.podAffinityTerm is not None)
