"""Claims for devices: who gets one, who may use it, when it is given up."""

from collections.abc import Callable
from typing import Any

import pytest

from api import errors, meta
from api.resource_claims import FINALIZER
from api.types import (
    AllocationResult,
    DeviceClaim,
    DeviceRequest,
    ExactDeviceRequest,
    ObjectMeta,
    Pod,
    PodExtendedResourceClaimStatus,
    PodResourceClaim,
    PodResourceClaimStatus,
    ResourceClaimConsumerReference,
    ResourceClaimSpec,
    ResourceClaimStatus,
    ResourceClaimTemplate,
    ResourceClaimTemplateSpec,
    ResourceV1ResourceClaim,
)
from controller_manager import pod_claims
from controller_manager.pod_claims import POD_CLAIM
from tests.unit.controller_manager import making
from tests.unit.controller_manager.worlds import World, controllers, rest

CONTROLLER = "resourceclaim-controller"
GPU = PodResourceClaim(name="gpu", resourceClaimTemplateName="one-gpu")
SHARED = PodResourceClaim(name="gpu", resourceClaimName="shared")
DELETED = "2026-01-01T00:00:00Z"


def spec() -> ResourceClaimSpec:
    request = DeviceRequest(name="r", exactly=ExactDeviceRequest(deviceClassName="gpus"))
    return ResourceClaimSpec(devices=DeviceClaim(requests=[request]))


def template(name: str = "one-gpu", **metadata: Any) -> ResourceClaimTemplate:
    return ResourceClaimTemplate(
        metadata=ObjectMeta(name=name, namespace="default"),
        spec=ResourceClaimTemplateSpec(metadata=ObjectMeta(**metadata), spec=spec()),
    )


def pod(*entries: PodResourceClaim, name: str = "p", node: str = "", phase: str = "Pending", **more: Any) -> Pod:
    return making.pod(name, node=node, phase=phase, resourceClaims=[*(entries or (GPU,))], **more)


def consumer(of: Pod) -> ResourceClaimConsumerReference:
    return ResourceClaimConsumerReference(resource="pods", name=of.metadata.name, uid=of.metadata.uid)


def claim(
    *consumers: ResourceClaimConsumerReference, name: str = "shared", owner: Pod | None = None, allocated: bool = True,
    protected: bool = True, entry: str = "gpu",
) -> ResourceV1ResourceClaim:  # fmt: skip
    return ResourceV1ResourceClaim(
        metadata=ObjectMeta(
            name=name, namespace="default", finalizers=[FINALIZER] if protected else [],
            annotations={POD_CLAIM: entry} if owner is not None else {},
            ownerReferences=[meta.controller_reference(owner)] if owner is not None else [],
        ),
        spec=spec(),
        status=ResourceClaimStatus(
            allocation=AllocationResult() if allocated else None, reservedFor=list(consumers)
        ),
    )  # fmt: skip


async def stored(world: World, made: Pod) -> Pod:
    """The pod as it is there, with the uid that it got."""
    return await world.create(made)  # type: ignore[no-any-return]


def claims(world: World) -> list[ResourceV1ResourceClaim]:
    return list(world.all(ResourceV1ResourceClaim))


def said(world: World, name: str = "p") -> dict[str, str]:
    return {s.name: s.resourceClaimName for s in world.one(Pod, name).status.resourceClaimStatuses}


async def test_a_pod_gets_a_claim_for_each_template_that_it_names(world: World) -> None:
    await world.create(template(labels={"a": "b"}, annotations={"c": "d"}))
    second = PodResourceClaim(name="second", resourceClaimTemplateName="one-gpu")
    user = await stored(world, pod(GPU, second, PodResourceClaim(name="third", resourceClaimName="mine")))
    async with controllers(world, CONTROLLER):
        await rest()
        first, other = claims(world)
        assert first.metadata.name.startswith("p-gpu-")
        assert len(first.metadata.name) == len("p-gpu-") + 5
        assert first.metadata.labels == {"a": "b"}
        assert first.metadata.annotations == {"c": "d", POD_CLAIM: "gpu"}
        assert first.metadata.ownerReferences == [meta.controller_reference(user)]
        assert first.spec == spec()
        assert said(world) == {"gpu": first.metadata.name, "second": other.metadata.name}
        assert world.writes.count(("patch", "Pod", "default/p")) == 1


@pytest.mark.parametrize(
    ("name", "entry", "base"),
    [
        ("p", "gpu", "p-gpu-"),
        ("p" * 50, "g" * 5, "p" * 50 + "-" + "g" * 5 + "-"),
        ("p" * 51, "g" * 5, "p" * 50 + "-" + "g" * 4),
        ("p" * 200, "g" * 63, "p" * 43 + "-" + "g" * 13),
        ("p" * 49 + "." + "p" * 5, "g" * 5, "p" * 49 + "-" + "g" * 4),
    ],
)
def test_a_name_leaves_room_for_both_its_parts(name: str, entry: str, base: str) -> None:
    assert pod_claims.base_name(name, entry) == base


async def test_a_name_that_another_claim_has_is_passed_over(world: World) -> None:
    await world.create(template())
    user = await stored(world, pod())
    taken = pod_claims.generated(user, GPU, template()).metadata.name
    await world.create(claim(name=taken, allocated=False, protected=False))
    async with controllers(world, CONTROLLER):
        await rest()
        assert len(claims(world)) == 2
        assert said(world)["gpu"] != taken


async def test_a_claim_is_found_again_if_the_pod_does_not_say_which(world: World) -> None:
    await world.create(template())
    user = await stored(world, pod())
    await world.create(claim(name="of-another-entry", owner=user, entry="nic", allocated=False, protected=False))
    await world.create(claim(name="made-before", owner=user, allocated=False, protected=False))
    async with controllers(world, CONTROLLER):
        await rest()
        assert said(world) == {"gpu": "made-before"}
        assert len(claims(world)) == 2


@pytest.mark.parametrize("verb", ["create", "patch"])
async def test_an_answer_that_is_lost_leads_to_no_second_claim(
    world: World, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    await world.create(template())
    await stored(world, pod())
    world.deaf_to.add("ResourceClaim")  # nor is the first one seen
    write, lost = getattr(world, verb), []

    async def answerless(*args: Any, **options: Any) -> Any:
        answer = await write(*args, **options)
        if not lost and not any(type(a).__name__ == "Event" for a in args):
            lost.append(answer)
            raise errors.Unavailable("the API server closed the stream")
        return answer

    monkeypatch.setattr(world, verb, answerless)
    async with controllers(world, CONTROLLER):
        await rest(30)
        assert lost
        await world.hear_again()
        await rest(30)
        [made] = claims(world)
        assert said(world) == {"gpu": made.metadata.name}


async def test_a_pod_that_goes_while_its_claim_is_made_is_no_failure(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.create(template())
    await stored(world, pod())
    create = world.create

    async def too_late(obj: Any, **options: Any) -> Any:
        made = await create(obj, **options)
        await world.finish(Pod, "p")
        return made

    monkeypatch.setattr(world, "create", too_late)
    async with controllers(world, CONTROLLER) as term:
        await rest()
        assert len(claims(world)) == 1
        assert (term.controllers[0].failed, world.writes[-1][0]) == (0, "create")


async def test_a_claim_that_is_not_seen_yet_is_not_made_again(world: World) -> None:
    await world.create(template())
    await stored(world, pod())
    world.deaf_to.add("ResourceClaim")
    async with controllers(world, CONTROLLER) as term:
        await rest()
        for _ in range(3):
            term.controllers[0].queue.add(meta.Key("default", "p"))
            await rest()
        assert [verb for verb, kind, _ in world.writes if kind == "ResourceClaim"] == ["create"]


async def test_a_claim_that_is_deleted_by_mistake_is_made_again(world: World) -> None:
    await world.create(template())
    await stored(world, pod())
    async with controllers(world, CONTROLLER):
        await rest()
        [made] = claims(world)
        await world.delete(ResourceV1ResourceClaim, made.metadata.name, "default")
        await rest()
        [again] = claims(world)
        assert again.metadata.uid != made.metadata.uid
        assert said(world) == {"gpu": again.metadata.name}


async def test_a_claim_that_is_not_the_pods_own_is_replaced(world: World) -> None:
    await world.create(template())
    await world.create(claim(name="others", allocated=False, protected=False))
    user = pod()
    user.status.resourceClaimStatuses = [PodResourceClaimStatus(name="gpu", resourceClaimName="others")]
    await stored(world, user)
    async with controllers(world, CONTROLLER):
        await rest()
        assert said(world)["gpu"].startswith("p-gpu-")


def unneeded() -> Pod:
    user = pod()
    user.status.resourceClaimStatuses = [PodResourceClaimStatus(name="gpu")]
    return user


def going() -> Pod:
    user = pod(node="node1")
    user.metadata.deletionTimestamp = DELETED
    return user


@pytest.mark.parametrize("user", [unneeded, going, lambda: pod(phase="Succeeded"), lambda: pod(SHARED)])
async def test_a_pod_that_needs_no_claim_gets_none(world: World, user: Callable[[], Pod]) -> None:
    await world.create(template())
    await stored(world, user())
    async with controllers(world, CONTROLLER):
        await rest()
        assert claims(world) == []
        assert world.events("FailedResourceClaimCreation") == []


async def test_a_pod_waits_for_its_template(world: World) -> None:
    await stored(world, pod())
    async with controllers(world, CONTROLLER):
        await rest()
        assert world.events("FailedResourceClaimCreation")[0] == (
            'PodResourceClaim gpu: resource claim template "one-gpu": '
            'resourceclaimtemplate.resource.k8s.io "one-gpu" not found'
        )
        await world.create(template())
        await rest()
        assert len(claims(world)) == 1


async def test_a_template_that_is_not_seen_yet_is_asked_for(world: World) -> None:
    world.deaf_to.add("ResourceClaimTemplate")
    async with controllers(world, CONTROLLER):
        await world.create(template())
        await stored(world, pod())
        await rest()
        assert len(claims(world)) == 1
        assert world.events("FailedResourceClaimCreation") == []


@pytest.mark.parametrize(
    ("details", "told"), [({}, True), ({"causes": [{"reason": "NamespaceTerminating"}]}, False)]
)  # fmt: skip
async def test_a_refusal_is_told_unless_the_namespace_is_ending(
    world: World, details: dict[str, Any], told: bool
) -> None:
    await world.create(template())
    user = await stored(world, pod())
    world.refuse("create", "ResourceClaim", errors.Forbidden("exceeded quota", details))
    async with controllers(world, CONTROLLER):
        await rest()
        name = pod_claims.generated(user, GPU, template()).metadata.name
        message = f"PodResourceClaim gpu: create ResourceClaim {name}: exceeded quota"
        assert set(world.events("FailedResourceClaimCreation")) == ({message} if told else set())


@pytest.mark.parametrize(
    ("node", "allocated", "deleted", "reserved"),
    [("node1", True, "", ["p"]), ("node1", False, "", []), ("", True, "", []), ("node1", True, DELETED, [])],
)
async def test_a_claim_is_reserved_for_a_pod_that_is_bound_already(
    world: World, node: str, allocated: bool, deleted: str, reserved: list[str]
) -> None:
    await stored(world, pod(SHARED, node=node))
    keeper = await stored(world, pod(SHARED, name="keeper", phase="Running"))
    made = claim(consumer(keeper), allocated=allocated)
    made.metadata.deletionTimestamp = deleted
    await world.create(made)
    async with controllers(world, CONTROLLER):
        await rest()
        found = world.one(ResourceV1ResourceClaim, "shared")
        assert [each.name for each in found.status.reservedFor] == ["keeper", *reserved]


async def test_a_claim_is_reserved_when_it_is_allocated_after_the_binding(world: World) -> None:
    await world.create(template())
    user = await stored(world, pod(node="node1"))
    async with controllers(world, CONTROLLER):
        await rest()
        [made] = claims(world)
        made.status.allocation = AllocationResult()
        await world.update_status(made)
        await rest()
        assert claims(world)[0].status.reservedFor == [consumer(user)]


async def test_a_claim_of_another_pod_is_not_reserved(world: World) -> None:
    other = await stored(world, pod(name="other", phase="Running", node="node1"))
    await world.create(claim(consumer(other), name="others", owner=other))
    user = pod(node="node1")
    user.status.resourceClaimStatuses = [PodResourceClaimStatus(name="gpu", resourceClaimName="others")]
    await stored(world, user)
    async with controllers(world, CONTROLLER):
        await rest()
        assert world.one(ResourceV1ResourceClaim, "others").status.reservedFor == [consumer(other)]


@pytest.mark.parametrize(
    ("changes", "stays"),
    [
        ({"phase": "Running", "node": "node1"}, True),
        ({"phase": "Pending"}, True),
        ({"phase": "Running", "node": "node1", "going": True}, True),
        ({"phase": "Pending", "going": True}, False),
        ({"phase": "Succeeded", "node": "node1"}, False),
        ({"phase": "Failed", "node": "node1"}, False),
        ({"phase": "Running", "node": "node1", "replaced": True}, False),
        (None, False),
    ],
)
async def test_a_consumer_goes_when_it_will_not_run(world: World, changes: dict[str, Any] | None, stays: bool) -> None:
    keeper = await stored(world, pod(SHARED, name="keeper", node="node1", phase="Running"))
    reference = ResourceClaimConsumerReference(resource="pods", name="p", uid="never-there")
    if changes is not None:
        user = pod(SHARED, node=changes.get("node", ""), phase=changes["phase"])
        user.metadata.deletionTimestamp = DELETED if changes.get("going") else ""
        user = await stored(world, user)
        if not changes.get("replaced"):
            reference = consumer(user)
    elsewhere = ResourceClaimConsumerReference(apiGroup="example.com", resource="jobs", name="p", uid="u")
    await world.create(claim(reference, consumer(keeper), elsewhere))
    async with controllers(world, CONTROLLER):
        await rest()
        found = world.one(ResourceV1ResourceClaim, "shared")
        assert [each.name for each in found.status.reservedFor if each.uid == reference.uid] == ["p"] * stays
        assert consumer(keeper) in found.status.reservedFor
        assert elsewhere in found.status.reservedFor
        assert found.status.allocation is not None
        assert found.metadata.finalizers == [FINALIZER]


async def test_a_consumer_that_is_not_seen_yet_stays(world: World) -> None:
    world.deaf_to.add("Pod")
    async with controllers(world, CONTROLLER):
        user = await stored(world, pod(SHARED, node="node1"))
        await world.create(claim(consumer(user)))
        await rest()
        assert world.one(ResourceV1ResourceClaim, "shared").status.reservedFor == [consumer(user)]


async def test_devices_are_free_when_the_last_of_two_pods_is_gone(world: World) -> None:
    users = [await stored(world, pod(SHARED, name=n, node="node1", phase="Running")) for n in ("a", "b")]
    await world.create(claim(*map(consumer, users)))
    async with controllers(world, CONTROLLER):
        await world.finish(Pod, "a")
        await rest()
        found = world.one(ResourceV1ResourceClaim, "shared")
        assert found.status.reservedFor == [consumer(users[1])]
        assert found.status.allocation is not None
        await world.finish(Pod, "b")
        await rest()
        found = world.one(ResourceV1ResourceClaim, "shared")
        assert found.status == ResourceClaimStatus()
        assert found.metadata.finalizers == []


async def test_what_somebody_else_allocates_stays_allocated(world: World) -> None:
    gone = making.pod("gone")
    await world.create(claim(consumer(gone), protected=False))
    await world.create(claim(name="never-reserved"))
    async with controllers(world, CONTROLLER):
        await rest()
        found = world.one(ResourceV1ResourceClaim, "shared")
        assert found.status.reservedFor == []
        assert found.status.allocation is not None
        assert world.one(ResourceV1ResourceClaim, "never-reserved").status.allocation is not None


@pytest.mark.parametrize("allocated", [True, False])  # False: killed between its two writes, or a scheduler was
async def test_a_claim_that_is_deleted_goes_when_nobody_uses_it(world: World, allocated: bool) -> None:
    user = await stored(world, pod(SHARED, node="node1", phase="Running"))
    await world.create(claim(consumer(user)))
    await world.create(claim(name="unused", allocated=allocated))
    async with controllers(world, CONTROLLER):
        for name in ("shared", "unused"):
            await world.delete(ResourceV1ResourceClaim, name, "default")
        await rest()
        assert [c.metadata.name for c in claims(world)] == ["shared"]
        await world.finish(Pod, "p")
        await rest()
        assert claims(world) == []


async def test_a_protection_without_allocation_is_left_to_the_scheduler(world: World) -> None:
    await world.create(claim(allocated=False))
    async with controllers(world, CONTROLLER):
        await rest()
        assert world.writes[1:] == []


async def test_a_reservation_that_is_not_seen_yet_is_not_lost(world: World) -> None:
    user = await stored(world, pod(SHARED, node="node1", phase="Running"))
    late = await stored(world, pod(SHARED, name="late"))
    await world.create(claim(consumer(user)))
    async with controllers(world, CONTROLLER):
        await rest()
        world.deaf_to.add("ResourceClaim")
        reserved = world.one(ResourceV1ResourceClaim, "shared")
        reserved.status.reservedFor.append(consumer(late))
        await world.update_status(reserved)
        await world.finish(Pod, "p")
        await rest()
        await world.hear_again()
        await rest()
        found = world.one(ResourceV1ResourceClaim, "shared")
        assert found.status.reservedFor == [consumer(late)]
        assert found.status.allocation is not None


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
async def test_a_claim_from_a_template_goes_with_the_end_of_its_pod(world: World, phase: str) -> None:
    await world.create(template())
    user = await stored(world, pod(node="node1"))
    async with controllers(world, CONTROLLER):
        await rest()
        [made] = claims(world)
        made.metadata.finalizers = [FINALIZER]
        made = await world.update(made)
        made.status = ResourceClaimStatus(allocation=AllocationResult(), reservedFor=[consumer(user)])
        await world.update_status(made)
        await rest()
        assert claims(world)[0].status.reservedFor == [consumer(user)]
        ended = world.one(Pod, "p")
        ended.status.phase = phase
        await world.update_status(ended)
        await rest(30)
        assert claims(world) == []


async def test_the_claim_for_extended_resources_goes_with_the_end_of_its_pod(world: World) -> None:
    user = making.pod(phase="Running")
    user.status.extendedResourceClaimStatus = PodExtendedResourceClaimStatus(resourceClaimName="extended")
    user = await stored(world, user)
    extended = claim(consumer(user), name="extended", owner=user)
    await world.create(extended)
    async with controllers(world, CONTROLLER):
        await rest()
        assert len(claims(world)) == 1
        user.status.phase = "Succeeded"
        await world.update_status(user)
        await rest(30)
        assert claims(world) == []
