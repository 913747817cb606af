"""Which claims a pod has, and whether it may use them; the words are upstream's."""

from collections.abc import Iterator

from api.types import Container, Pod, PodResourceClaim, ResourceV1ResourceClaim


class ClaimFault(Exception):
    """A claim cannot be prepared, or what was prepared not undone, for now."""


def claim_name(pod: Pod, reference: PodResourceClaim) -> str:
    """The name of the claim that a pod means; "" if it needs none.  Raises ClaimFault."""
    where = f'pod "{pod.metadata.namespace}/{pod.metadata.name}"'
    if reference.resourceClaimName:
        return reference.resourceClaimName
    if not reference.resourceClaimTemplateName:
        raise ClaimFault(f'{where}, spec.resourceClaim "{reference.name}": none of the supported fields are set')
    for status in pod.status.resourceClaimStatuses:
        if status.name == reference.name:
            return status.resourceClaimName or ""
    raise ClaimFault(f"{where}: ResourceClaim not created yet")


def drivers(pod: Pod, reference: PodResourceClaim, claim: ResourceV1ResourceClaim) -> list[str]:
    """The names of those whose devices the claim has.  Raises ClaimFault if it is not there for the pod to use."""
    own, its = pod.metadata, claim.metadata
    if not reference.resourceClaimName and not any(
        owner.uid == own.uid and owner.controller for owner in its.ownerReferences
    ):
        theirs, ours = f"{its.namespace}/{its.name}", f"{own.namespace}/{own.name}"
        raise ClaimFault(f"ResourceClaim {theirs} was not created for Pod {ours} (Pod is not owner)")
    if all(user.uid != own.uid for user in claim.status.reservedFor):
        whose = f"{its.name} ({its.uid})"
        raise ClaimFault(f"pod {own.name} ({own.uid}) is not allowed to use ResourceClaim {whose}")
    if claim.status.allocation is None:
        raise ClaimFault(f"ResourceClaim {its.name}: not allocated")
    allocated = claim.status.allocation.devices
    return list(dict.fromkeys(result.driver or "" for result in allocated.results)) if allocated is not None else []


def requests(pod: Pod, container: Container) -> Iterator[tuple[str, str]]:
    """(name of a claim, request) of each device that the container asks for; "" is every request of the claim.

    Raises ClaimFault.
    """
    for wanted in container.resources.claims:
        for reference in pod.spec.resourceClaims:
            if reference.name == wanted.name and (name := claim_name(pod, reference)):
                yield name, top(wanted.request or "")


def top(request: str) -> str:
    """The request that an alternative of it, `request/alternative`, was chosen for."""
    return request.partition("/")[0]
