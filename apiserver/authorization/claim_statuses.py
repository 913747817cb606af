"""Who may write which part of a ResourceClaim's status, beyond the right to write to it at all.

Allocating and reserving is `resourceclaims/binding`; what is told of a driver's devices is `resourceclaims/driver` with
the driver's name, by `arbitrary-node:` verbs, or by `associated-node:` verbs for a service account whose token was made
on the one node that the claim is allocated to.
https://kubernetes.io/docs/concepts/security/hardening-guide/dynamic-resource-allocation/
"""

from typing import Any

from api import kinds
from api.paths import Fault, Path, forbidden, refusal
from api.types import AllocatedDeviceStatus, AllocationResult, ResourceClaimStatus, ResourceV1ResourceClaim
from apiserver.authentication.accounts import EXTRA, PREFIX
from apiserver.authorization.deciding import Authorizer
from apiserver.authorization.deciding import refusal as denied
from apiserver.requests import Request, User

CLAIMS = kinds.of(ResourceV1ResourceClaim)
STATUS = Path("status")
NODE_NAME = f"{EXTRA}node-name"


class ClaimStatuses:
    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def judge(self, request: Request, obj: Any, old: Any) -> None:
        """Raises Invalid: upstream's strategy asks this."""
        if request.kind is not CLAIMS or request.subresource != "status" or obj is None or old is None:
            return
        faults = [*self._binding(request, obj.status, old.status), *self._devices(request, obj.status, old.status)]
        if faults:
            raise refusal(CLAIMS.group, CLAIMS.name, obj.metadata.name, faults)

    def _binding(self, request: Request, new: ResourceClaimStatus, old: ResourceClaimStatus) -> list[Fault]:
        if new.allocation == old.allocation and new.reservedFor == old.reservedFor:
            return []
        refused = self._refused(request.at(subresource="binding", namespace="", name=""))
        if not refused:
            return []
        needed = f'resource="resourceclaims/binding", verb="{request.verb}" permission'
        return [forbidden(STATUS, f"changing status.allocation or status.reservedFor requires {needed}: {refused}")]

    def _devices(self, request: Request, new: ResourceClaimStatus, old: ResourceClaimStatus) -> list[Fault]:
        verbs = [f"arbitrary-node:{request.verb}"]
        if (node := _node(new.allocation)) and _is_on(request.user, node):
            verbs.insert(0, f"associated-node:{request.verb}")
        faults = []
        for driver in _changed(new, old):
            asked = request.at(subresource="driver", name=driver)
            refused = [self._refused(asked.at(verb=verb)) for verb in verbs]
            if all(refused):
                needed = f'resource="resourceclaims/driver", verb="[{" ".join(verbs)}]" permission'
                why = f"changing status.devices requires {needed}: {refused[0]}"
                faults.append(forbidden(STATUS.child("devices"), why))
        return faults

    def _refused(self, request: Request) -> str:
        """Why; "" if it is not."""
        decision = self._authorizer.decide(request)
        return "" if decision.allowed else denied(request, decision.reason).message


def _changed(new: ResourceClaimStatus, old: ResourceClaimStatus) -> list[str]:
    """The drivers of whose devices something else is told than before.

    What was told goes with the allocation: whoever may give that up need not speak for the drivers.
    """

    def devices(status: ResourceClaimStatus) -> dict[tuple[str, ...], AllocatedDeviceStatus]:
        return {(it.driver, it.pool, it.device, it.shareID): it for it in status.devices}

    now, before = devices(new), devices(old)
    if old.allocation is not None and new.allocation is None:
        before = {}
    return sorted({key[0] for key in now.keys() | before.keys() if now.get(key) != before.get(key)})


def _node(allocation: AllocationResult | None) -> str:
    """The one node that the claim is allocated to; "" if there are more."""
    selector = allocation.nodeSelector if allocation is not None else None
    if selector is None or len(selector.nodeSelectorTerms) != 1:
        return ""
    [term] = selector.nodeSelectorTerms
    if term.matchExpressions or len(term.matchFields) != 1:
        return ""
    [field] = term.matchFields
    one = (field.key, field.operator, len(field.values)) == ("metadata.name", "In", 1)
    return field.values[0] if one else ""


def _is_on(user: User, node: str) -> bool:
    return user.name.startswith(PREFIX) and tuple(user.extra.get(NODE_NAME, ())) == (node,)
