"""Who owns a stateful set's claims, and with whom they go: the retention policy. Pure.

https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#persistentvolumeclaim-retention . The garbage
collector deletes what has no owner left, so owning is all there is to it: the set owns what goes when it is deleted, a
pod that is too many owns what goes when the set is made smaller.
"""

from api import meta
from api.types import OwnerReference, PersistentVolumeClaim, Pod, StatefulSet
from controller_manager.stateful_pods import ordinal_of, ordinals


def owners_of_new(of: StatefulSet) -> list[OwnerReference]:
    policy = of.spec.persistentVolumeClaimRetentionPolicy
    return [meta.controller_reference(of)] if policy is not None and policy.whenDeleted == "Delete" else []


def is_left_behind(claim: PersistentVolumeClaim, name: str) -> bool:
    """Whether it belongs to a pod of this name that is gone, and will be collected: no new pod may mount it."""
    return any(r.kind == "Pod" and r.name == name for r in claim.metadata.ownerReferences)


def owners(of: StatefulSet, claim: PersistentVolumeClaim, pod: Pod) -> list[OwnerReference]:
    """The owners that the claim of this pod should have; as they are if another controller has it."""
    present = claim.metadata.ownerReferences
    ours = (of.metadata.uid, pod.metadata.uid)
    others = [r for r in present if r.uid not in ours]
    policy = of.spec.persistentVolumeClaimRetentionPolicy
    if policy is None or any(r.controller for r in others):
        return present
    too_many = ordinal_of(pod) not in ordinals(of)
    wanted: list[OwnerReference] = []
    if too_many and policy.whenScaled == "Delete":
        wanted = [meta.controller_reference(pod)]
    elif policy.whenDeleted == "Delete":
        wanted = [meta.controller_reference(of)]
    if {r.uid for r in present if r.uid in ours} == {r.uid for r in wanted}:
        return present
    return others + wanted
