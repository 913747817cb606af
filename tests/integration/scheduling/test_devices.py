"""Pods that claim devices, which drivers would offer: slices and nodes are only objects here."""

import pytest

from api import meta
from api.types import DeviceClass, Pod, PodResourceClaim, ResourceSlice, ResourceV1ResourceClaim
from tests.integration.processes import NODE, until
from tests.unit.scheduler.device_objects import claim, device_class, request, slice_of

from .workloads import EMPTY_NODE, Lab, unschedulable

pytestmark = pytest.mark.asyncio(loop_scope="session")
DRIVER = "devices.example.com"
PODS = 40
OFFERED = {NODE: 7, EMPTY_NODE: 9}


def given(claims: list[ResourceV1ResourceClaim]) -> list[tuple[str, str]]:
    return sorted(
        (r.pool, r.device)
        for c in claims
        if c.status.allocation is not None and c.status.allocation.devices is not None
        for r in c.status.allocation.devices.results
    )


def bound(pods: list[Pod]) -> list[Pod]:
    return [p for p in pods if p.spec.nodeName]


async def offer(lab: Lab) -> list[tuple[str, str]]:
    """The devices of both nodes: their pools and names."""
    await lab.client.create(device_class(lab.namespace, f'device.driver == "{DRIVER}"'))
    for node, count in OFFERED.items():
        slice_ = slice_of(*(f"d{i}" for i in range(count)), node=node, driver=DRIVER, name=f"{lab.namespace}-{node}")
        await lab.client.create(slice_)
    return sorted((node, f"d{i}") for node, count in OFFERED.items() for i in range(count))


async def withdraw(lab: Lab) -> None:
    for node in OFFERED:
        await lab.client.delete(ResourceSlice, f"{lab.namespace}-{node}")
    await lab.client.delete(DeviceClass, lab.namespace)


async def test_as_many_pods_run_as_there_are_devices_and_a_freed_one_goes_to_the_next(lab: Lab) -> None:
    devices = await offer(lab)
    for node in OFFERED:
        await lab.give(node, 0)
    for number in range(PODS):
        new = claim(f"c{number}", request("r", of=lab.namespace))
        new.metadata.namespace, new.metadata.uid, new.metadata.resourceVersion = lab.namespace, "", ""
        await lab.client.create(new)
        await lab.create(
            f"p{number}", "low", 0, resourceClaims=[PodResourceClaim(name="x", resourceClaimName=f"c{number}")]
        )
    await until(lab.client, Pod, lambda pods: len(bound(pods)) == len(devices), lab.namespace)
    rest = PODS - len(devices)
    pods = await until(
        lab.client, Pod, lambda pods: sum(unschedulable(p) and not p.spec.nodeName for p in pods) == rest, lab.namespace
    )  # fmt: skip
    claims = (await lab.client.list(ResourceV1ResourceClaim, lab.namespace)).items
    assert given(claims) == devices
    for each in claims:
        if each.status.allocation is not None:
            assert len(each.status.reservedFor) == 1
            assert each.metadata.finalizers == ["resource.kubernetes.io/delete-protection"]
    refused = meta.condition(next(p for p in pods if not p.spec.nodeName), "PodScheduled")
    assert refused is not None
    assert "2 cannot allocate all claims. still not schedulable" in refused.message

    gone = bound(pods)[0]
    held = next(c for c in claims if any(u.name == gone.metadata.name for u in c.status.reservedFor))
    await lab.client.delete(Pod, gone.metadata.name, lab.namespace, grace_seconds=0)
    # The controller of claims does the same when the pod is gone.
    free = {"status": {"reservedFor": None, "allocation": None}}
    await lab.client.patch(
        ResourceV1ResourceClaim, held.metadata.name, lab.namespace, free, subresource="status"
    )  # fmt: skip
    names = {p.metadata.name for p in bound(pods)}
    pods = await until(
        lab.client, Pod, lambda pods: any(p.metadata.name not in names for p in bound(pods)), lab.namespace
    )  # fmt: skip
    claims = (await lab.client.list(ResourceV1ResourceClaim, lab.namespace)).items
    assert given(claims) == devices
    await withdraw(lab)
