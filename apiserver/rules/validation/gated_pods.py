"""While gates keep the scheduler away from a pod, where it may run can still be narrowed.

https://kubernetes.io/docs/concepts/scheduling-eviction/pod-scheduling-readiness/#mutable-pod-scheduling-directives
"""

from msgspec.structs import replace

from api.paths import Path, invalid
from api.types import Affinity, NodeAffinity, NodeSelectorTerm, PodSpec
from apiserver.rules.validation.values import Faults

SPEC = Path("spec")


def narrowed(munged: PodSpec, old: PodSpec) -> Faults:
    """What is wrong with how it was narrowed, which is then put back in `munged`."""
    if munged.nodeSelector != old.nodeSelector:
        if any(munged.nodeSelector.get(k) != v for k, v in old.nodeSelector.items()):
            why = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
            yield invalid(SPEC.child("nodeSelector"), munged.nodeSelector, why)
        munged.nodeSelector = old.nodeSelector
    now, before = (spec.affinity.nodeAffinity if spec.affinity is not None else None for spec in (munged, old))
    if now != before:
        yield from _terms_narrowed(now, before)
        _restore_node_affinity(munged, old)


def _terms_narrowed(new: NodeAffinity | None, old: NodeAffinity | None) -> Faults:
    """Each term may come to ask for more; which terms there are stays, for another one would be another way in."""
    at = SPEC.child("affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms")
    now, before = _terms(new), _terms(old)
    if not before:
        return
    if len(now) != len(before):
        yield invalid(at, now, "no additions/deletions to non-empty NodeSelectorTerms list are allowed")
        return
    for i, (term, was) in enumerate(zip(now, before, strict=True)):
        if not _asks_for_more(term, was):
            yield invalid(at.index(i), term, "only additions are allowed (no mutations or deletions)")


def _terms(affinity: NodeAffinity | None) -> list[NodeSelectorTerm]:
    required = affinity.requiredDuringSchedulingIgnoredDuringExecution if affinity is not None else None
    return required.nodeSelectorTerms if required is not None else []


def _asks_for_more(new: NodeSelectorTerm, old: NodeSelectorTerm) -> bool:
    """An empty term matches no node: with a requirement it would match some."""
    if not old.matchExpressions and not old.matchFields:
        return new == old
    return all(
        getattr(new, of)[: len(getattr(old, of))] == getattr(old, of) for of in ("matchExpressions", "matchFields")
    )


def _restore_node_affinity(munged: PodSpec, old: PodSpec) -> None:
    before = old.affinity.nodeAffinity if old.affinity is not None else None
    affinity = replace(munged.affinity or Affinity(), nodeAffinity=before)
    munged.affinity = None if old.affinity is None and affinity == Affinity() else affinity
