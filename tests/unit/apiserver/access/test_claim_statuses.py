"""Who may write which part of a ResourceClaim's status."""

from typing import Any

import pytest

from api.errors import Invalid
from apiserver.authorization.claim_statuses import ClaimStatuses
from apiserver.authorization.deciding import NO, YES, Authorizer, Decision
from apiserver.requests import Request, User
from tests.unit.apiserver.admission.worlds import asking
from tests.unit.apiserver.rules.devices import ALLOCATION, CONSUMER, claim

ON_N = {
    **ALLOCATION,
    "nodeSelector": {
        "nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}]
    },
}
DRIVER = "gpu.example.com"
DEVICE = {"driver": DRIVER, "pool": "p", "device": "d"}
ACCOUNT = "system:serviceaccount:ns:driver"


class Only(Authorizer):
    """Allows one thing, and remembers what it was asked."""

    def __init__(self, *allowed: str) -> None:
        self.allowed = allowed
        self.asked: list[str] = []

    def decide(self, request: Request) -> Decision:
        parts = [request.verb, request.subresource, request.namespace, request.name]
        self.asked.append(" ".join(part for part in parts if part))
        return YES if self.asked[-1] in self.allowed else NO


async def wrote(new: Any, old: Any, authorizer: Only, user: User | None = None, verb: str = "update") -> list[str]:
    """The faults of a write to the status."""
    after, before = claim(status=new)[1], claim(status=old)[1]
    request = asking(after, verb, subresource="status").at(user=user or User("someone"))
    try:
        await ClaimStatuses(authorizer).judge(request, after, before)
    except Invalid as e:
        return [cause["field"] + ": " + cause["message"] for cause in e.details["causes"]]
    return []


@pytest.mark.parametrize(
    ("new", "old"),
    [
        ({"allocation": ALLOCATION}, {}),
        ({}, {"allocation": ALLOCATION}),
        ({"allocation": ALLOCATION, "reservedFor": [CONSUMER]}, {"allocation": ALLOCATION}),
    ],
)
async def test_who_allocates_and_reserves_may_bind_claims(new: Any, old: Any) -> None:
    assert await wrote(new, old, Only("update binding")) == []
    assert await wrote(new, old, Only("patch binding"), verb="patch") == []
    [fault] = await wrote(new, old, Only("update status ns one"))
    assert fault == (
        "status: Forbidden: changing status.allocation or status.reservedFor requires "
        'resource="resourceclaims/binding", verb="update" permission: resourceclaims/binding.resource.k8s.io is '
        'forbidden: User "someone" cannot update resource "resourceclaims/binding" in API group "resource.k8s.io" at '
        "the cluster scope"
    )


async def test_who_writes_neither_is_not_asked_for_more() -> None:
    nobody = Only()
    status = {"allocation": ALLOCATION, "reservedFor": [CONSUMER], "devices": [DEVICE]}
    assert await wrote(status, status, nobody) == []
    assert nobody.asked == []


@pytest.mark.parametrize(
    ("allocation", "user", "asked"),
    [
        (ON_N, User(ACCOUNT, extra={"authentication.kubernetes.io/node-name": ("n",)}), ["associated-node", "arbitrary-node"]),
        (ON_N, User(ACCOUNT, extra={"authentication.kubernetes.io/node-name": ("m",)}), ["arbitrary-node"]),
        (ON_N, User("driver", extra={"authentication.kubernetes.io/node-name": ("n",)}), ["arbitrary-node"]),
        (ON_N, User(ACCOUNT), ["arbitrary-node"]),
        (ALLOCATION, User(ACCOUNT, extra={"authentication.kubernetes.io/node-name": ("n",)}), ["arbitrary-node"]),
    ],
)  # fmt: skip
async def test_a_driver_speaks_of_its_devices_on_its_node(allocation: Any, user: User, asked: list[str]) -> None:
    old, new = {"allocation": allocation}, {"allocation": allocation, "devices": [DEVICE]}
    verbs = [f"{prefix}:update" for prefix in asked]
    nobody = Only()
    [fault] = await wrote(new, old, nobody, user)
    assert fault.startswith(
        'status.devices: Forbidden: changing status.devices requires resource="resourceclaims/driver", '
        f'verb="[{" ".join(verbs)}]" permission: '
    )
    assert nobody.asked == [f"{verb} driver ns {DRIVER}" for verb in verbs]
    for verb in verbs:
        assert await wrote(new, old, Only(f"{verb} driver ns {DRIVER}"), user) == []
        assert await wrote(old, new, Only(f"{verb} driver ns {DRIVER}"), user) == []
    other = {"allocation": allocation, "devices": [{**DEVICE, "driver": "other.example.com"}]}
    assert len(await wrote(other, new, Only(f"{verbs[0]} driver ns {DRIVER}"), user)) == 1


async def test_what_drivers_told_goes_with_the_allocation() -> None:
    told = {"allocation": ALLOCATION, "devices": [DEVICE]}
    assert await wrote({}, told, Only("update binding")) == []
