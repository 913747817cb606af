"""Which claims a pod has, and whether it may use them; the words are upstream's."""

from collections.abc import Iterator

from api import resource_claims
from api.resource_claims import Unusable
from api.types import Container, Pod, PodResourceClaim, ResourceV1ResourceClaim


class ClaimFault(Exception):
    """A claim cannot be prepared, or what was prepared not undone, for now."""


def claim_name(pod: Pod, reference: PodResourceClaim) -> str:
    """The name of the claim that a pod means; "" if it needs none.  Raises ClaimFault."""
    try:
        return resource_claims.name_of(pod, reference)
    except Unusable as e:
        raise ClaimFault(str(e)) from e


def drivers(pod: Pod, reference: PodResourceClaim, claim: ResourceV1ResourceClaim) -> list[str]:
    """The names of those whose devices the claim has.  Raises ClaimFault if it is not there for the pod to use."""
    own, its = pod.metadata, claim.metadata
    try:
        resource_claims.check_owner(pod, reference, claim)
    except Unusable as e:
        raise ClaimFault(str(e)) from e
    if not resource_claims.is_reserved_for(claim, pod):
        whose = f"{its.name} ({its.uid})"
        raise ClaimFault(f"pod {own.name} ({own.uid}) is not allowed to use ResourceClaim {whose}")
    if claim.status.allocation is None:
        raise ClaimFault(f"ResourceClaim {its.name}: not allocated")
    return list(dict.fromkeys(result.driver or "" for result in resource_claims.results(claim.status.allocation)))


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
