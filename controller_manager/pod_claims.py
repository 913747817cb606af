"""The ResourceClaims of pods: which a pod uses, how long it needs them, how one is made from a template. Pure.

https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/#resourceclaims-templates
"""

import hashlib
from collections.abc import Iterable

from api import meta
from api.types import (
    ObjectMeta,
    Pod,
    PodResourceClaim,
    PodResourceClaimStatus,
    ResourceClaimConsumerReference,
    ResourceClaimTemplate,
    ResourceV1ResourceClaim,
)
from controller_manager.pods import is_finished, is_terminating
from controller_manager.revisions import SAFE

POD_CLAIM = "resource.kubernetes.io/pod-claim-name"
"""The annotation of a claim that was made from a template: the entry in the pod's spec that it was made for."""
LONGEST_BASE = 57
SUFFIX = 5


def status_of(pod: Pod, entry: PodResourceClaim) -> PodResourceClaimStatus | None:
    """What the pod's status says of the claim from a template; None if nothing yet."""
    return next((s for s in pod.status.resourceClaimStatuses if s.name == entry.name), None)


def name_of(pod: Pod, entry: PodResourceClaim) -> str:
    """The name of the claim; "" if none is made yet, or none is needed."""
    status = status_of(pod, entry)
    return entry.resourceClaimName or (status.resourceClaimName if status is not None else "") or ""


def has_any(pod: Pod) -> bool:
    """Quickly: whether it has to do with claims at all. Most pods do not."""
    return bool(pod.spec.resourceClaims) or pod.status.extendedResourceClaimStatus is not None


def used(pod: Pod) -> Iterable[str]:
    """The names of the claims in the spec, as far as they are known."""
    return (name for entry in pod.spec.resourceClaims if (name := name_of(pod, entry)))


def held(pod: Pod) -> Iterable[str]:
    """The names of all claims of the pod: also of that which a scheduler makes for extended resources."""
    extended = pod.status.extendedResourceClaimStatus
    return (*used(pod), *((extended.resourceClaimName,) if extended is not None else ()))


def is_done(pod: Pod) -> bool:
    """Whether nothing of it runs or ever will. One that is being deleted can be bound no more."""
    return is_finished(pod) or (is_terminating(pod) and not pod.spec.nodeName)


def is_pod(consumer: ResourceClaimConsumerReference) -> bool:
    return not consumer.apiGroup and consumer.resource == "pods"


def generated(
    pod: Pod, entry: PodResourceClaim, template: ResourceClaimTemplate, attempt: int = 0
) -> ResourceV1ResourceClaim:
    """The claim for an entry of the pod. `attempt` counts the names that were others' already.

    The end of the name looks random, as upstream's is, but follows from the pod: who makes it again, after a write of
    which nobody knows whether it was done, is told that it is there.
    """
    of = template.spec.metadata
    base = base_name(pod.metadata.name, entry.name)
    digest = hashlib.sha256(f"{pod.metadata.uid} {entry.name} {attempt}".encode()).digest()
    suffix = "".join(SAFE[byte % len(SAFE)] for byte in digest[:SUFFIX])
    return ResourceV1ResourceClaim(
        metadata=ObjectMeta(
            name=base + suffix, generateName=base, namespace=pod.metadata.namespace, labels=dict(of.labels),
            annotations=of.annotations | {POD_CLAIM: entry.name}, ownerReferences=[meta.controller_reference(pod)],
        ),
        spec=meta.clone(template.spec.spec),
    )  # fmt: skip


def base_name(pod: str, entry: str) -> str:
    """Of both names as much as leaves room for the rest in 63 characters, in proportion to their lengths."""
    whole = f"{pod}-{entry}-"
    if len(whole) <= LONGEST_BASE:
        return whole
    of_pod, of_entry = (name[: len(name) * LONGEST_BASE // len(whole)] for name in (pod, entry))
    return f"{of_pod.rstrip('.-')}-{of_entry}"  # a part of a name must not begin with a hyphen
