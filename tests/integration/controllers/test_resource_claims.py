"""Claims for devices in a real control plane; the test stands in for the scheduler and the kubelets."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from api import meta
from api.types import (
    AllocationResult,
    Container,
    DeviceAllocationResult,
    DeviceClaim,
    DeviceRequest,
    DeviceRequestAllocationResult,
    ExactDeviceRequest,
    ObjectMeta,
    Pod,
    PodResourceClaim,
    PodSpec,
    ResourceClaimConsumerReference,
    ResourceClaimSpec,
    ResourceClaimTemplate,
    ResourceClaimTemplateSpec,
    ResourceV1ResourceClaim,
    ServiceAccount,
)
from machinery.client import Client
from machinery.testing import ControlPlane
from tests.integration.processes import controller_manager, until

FINALIZER = "resource.kubernetes.io/delete-protection"


def spec() -> ResourceClaimSpec:
    request = DeviceRequest(name="gpu", exactly=ExactDeviceRequest(deviceClassName="gpu.example.com"))
    return ResourceClaimSpec(devices=DeviceClaim(requests=[request]))


def pod(name: str, **named: str) -> Pod:
    return Pod(
        metadata=ObjectMeta(name=name, namespace="default"),
        spec=PodSpec(
            containers=[Container(name="main", image="app:1")],
            resourceClaims=[PodResourceClaim(name="device", **named)],  # type: ignore[arg-type]
            terminationGracePeriodSeconds=0,
        ),
    )


async def allocate(client: Client, claim: ResourceV1ResourceClaim, *pods: Pod) -> None:
    claim = meta.clone(claim)
    claim.metadata.finalizers = [FINALIZER]
    claim = await client.update(claim)
    device = DeviceRequestAllocationResult(request="gpu", driver="gpu.example.com", pool="node1", device="gpu-0")
    claim.status.allocation = AllocationResult(devices=DeviceAllocationResult(results=[device]))
    claim.status.reservedFor = [
        ResourceClaimConsumerReference(resource="pods", name=p.metadata.name, uid=p.metadata.uid) for p in pods
    ]
    await client.update_status(claim)


@pytest_asyncio.fixture
async def controllers(plane: ControlPlane, client: Client, tmp_path: Path) -> AsyncIterator[None]:
    async with controller_manager(plane, tmp_path):
        await until(client, ServiceAccount, lambda found: any(a.metadata.namespace == "default" for a in found))
        yield


async def test_a_claim_from_a_template_comes_and_goes_with_its_pod(client: Client, controllers: None) -> None:
    template = ResourceClaimTemplate(
        metadata=ObjectMeta(name="one-gpu", namespace="default"), spec=ResourceClaimTemplateSpec(spec=spec())
    )
    await client.create(template)
    await client.create(pod("user", resourceClaimTemplateName="one-gpu"))
    [claim] = await until(client, ResourceV1ResourceClaim, lambda found: len(found) == 1)
    [user] = await until(client, Pod, lambda found: bool(found[0].status.resourceClaimStatuses))
    assert meta.is_controlled_by(claim, user)
    assert claim.metadata.name.startswith("user-device-")
    assert [r.name for r in claim.spec.devices.requests] == ["gpu"]
    assert [(s.name, s.resourceClaimName) for s in user.status.resourceClaimStatuses] == [
        ("device", claim.metadata.name)
    ]
    await allocate(client, claim, user)
    await client.delete(Pod, "user", "default", grace_seconds=0)
    await until(client, ResourceV1ResourceClaim, lambda found: not found)


async def test_a_shared_claim_is_free_when_both_its_pods_are_gone(client: Client, controllers: None) -> None:
    claim = await client.create(
        ResourceV1ResourceClaim(metadata=ObjectMeta(name="shared", namespace="default"), spec=spec())
    )
    users = [await client.create(pod(name, resourceClaimName="shared")) for name in ("a", "b")]
    await allocate(client, claim, *users)
    await client.delete(Pod, "a", "default", grace_seconds=0)
    [held] = await until(client, ResourceV1ResourceClaim, lambda found: len(found[0].status.reservedFor) == 1)
    assert held.status.reservedFor[0].uid == users[1].metadata.uid
    assert held.status.allocation is not None
    await client.delete(Pod, "b", "default", grace_seconds=0)
    [free] = await until(client, ResourceV1ResourceClaim, lambda found: not found[0].metadata.finalizers)
    assert free.status.allocation is None
    assert free.status.reservedFor == []
