"""Claims for devices in a real control plane; the test stands in for the scheduler and the kubelets."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest
import pytest_asyncio

from api import meta
from api.resource_claims import FINALIZER
from api.types import (
    AllocationResult,
    Container,
    Device,
    DeviceAllocationResult,
    DeviceClaim,
    DeviceRequest,
    DeviceRequestAllocationResult,
    DeviceTaint,
    Event,
    ExactDeviceRequest,
    Namespace,
    ObjectMeta,
    Pod,
    PodResourceClaim,
    PodSpec,
    ResourceClaimConsumerReference,
    ResourceClaimSpec,
    ResourceClaimTemplate,
    ResourceClaimTemplateSpec,
    ResourcePool,
    ResourceQuota,
    ResourceQuotaSpec,
    ResourceSlice,
    ResourceSliceSpec,
    ResourceV1ResourceClaim,
    ServiceAccount,
)
from machinery.client import Client
from machinery.testing import ControlPlane
from tests.integration.processes import controller_manager, until

POD_CLAIM = "resource.kubernetes.io/pod-claim-name"


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


def template(namespace: str = "default") -> ResourceClaimTemplate:
    metadata = ObjectMeta(name="one-gpu", namespace=namespace)
    return ResourceClaimTemplate(metadata=metadata, spec=ResourceClaimTemplateSpec(spec=spec()))


async def test_a_claim_from_a_template_comes_and_goes_with_its_pod(client: Client, controllers: None) -> None:
    await client.create(template())
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


async def test_a_quota_of_devices_holds_for_claims_from_templates(client: Client, controllers: None) -> None:
    limit = {"gpu.example.com.deviceclass.resource.k8s.io/devices": "1", "count/resourceclaims.resource.k8s.io": "5"}
    await client.create(
        ResourceQuota(metadata=ObjectMeta(name="q", namespace="default"), spec=ResourceQuotaSpec(hard=limit))
    )
    await until(client, ResourceQuota, lambda found: found[0].status.hard == limit)
    await client.create(template())
    await client.create(pod("first", resourceClaimTemplateName="one-gpu"))
    await until(client, ResourceV1ResourceClaim, lambda found: len(found) == 1)
    await client.create(pod("second", resourceClaimTemplateName="one-gpu"))
    events = await until(client, Event, lambda found: any(e.reason == "FailedResourceClaimCreation" for e in found))
    [message] = {e.message for e in events if e.reason == "FailedResourceClaimCreation"}
    assert message.startswith("PodResourceClaim device: create ResourceClaim second-device-")
    assert "exceeded quota: q, requested: gpu.example.com.deviceclass.resource.k8s.io/devices=1" in message
    await client.delete(Pod, "first", "default", grace_seconds=0)
    [claim] = await until(client, ResourceV1ResourceClaim, lambda found: _of(found, "second"))
    [quota] = await until(client, ResourceQuota, lambda found: set(found[0].status.used.values()) == {"1"})
    assert claim.metadata.namespace == quota.metadata.namespace


def _of(claims: list[ResourceV1ResourceClaim], pod_name: str) -> bool:
    return [c.metadata.ownerReferences[0].name for c in claims] == [pod_name]


async def test_a_namespace_goes_with_claims_that_are_allocated(client: Client, controllers: None) -> None:
    await client.create(Namespace(metadata=ObjectMeta(name="crew")))
    await until(client, ServiceAccount, lambda found: any(a.metadata.namespace == "crew" for a in found))
    await client.create(template("crew"))
    user = pod("user", resourceClaimTemplateName="one-gpu")
    user.metadata.namespace = "crew"
    user = await client.create(user)
    [claim] = await until(client, ResourceV1ResourceClaim, lambda found: len(found) == 1)
    await allocate(client, claim, user)
    await client.delete(Namespace, "crew")
    await until(client, Namespace, lambda found: not any(n.metadata.name == "crew" for n in found))
    assert (await client.list(ResourceV1ResourceClaim)).items == []


async def test_a_tainted_device_loses_its_pods(client: Client, controllers: None) -> None:
    device = Device(name="gpu-0")
    pool = ResourcePool(name="node1", generation=1, resourceSliceCount=1)
    driver = ResourceSliceSpec(driver="gpu.example.com", nodeName="node1", pool=pool, devices=[device])
    published = await client.create(ResourceSlice(metadata=ObjectMeta(name="node1-gpus"), spec=driver))
    claim = await client.create(
        ResourceV1ResourceClaim(metadata=ObjectMeta(name="one", namespace="default"), spec=spec())
    )
    user = pod("user", resourceClaimName="one")
    user.spec.nodeName = "node1"
    user = await client.create(user)
    await allocate(client, claim, user)
    published.spec.devices[0].taints = [DeviceTaint(key="example.com/broken", effect="NoExecute")]
    await client.update(published)
    await until(client, Pod, lambda found: not found)
    await until(client, ResourceV1ResourceClaim, lambda found: found[0].status.allocation is None)


@pytest.mark.parametrize("kills", [5, pytest.param(60, marks=pytest.mark.long)])
async def test_a_manager_that_is_killed_makes_no_claim_twice(
    plane: ControlPlane, client: Client, tmp_path: Path, kills: int
) -> None:
    pauses = Random(9)
    made: Counter[tuple[str, str]] = Counter()
    start = (await client.list(ResourceV1ResourceClaim)).resource_version

    async def count() -> None:
        async for batch in client.watch(ResourceV1ResourceClaim, resource_version=start):
            for event in batch:
                if event.type == "ADDED":
                    metadata = event.object.metadata
                    made[metadata.ownerReferences[0].uid, metadata.annotations[POD_CLAIM]] += 1

    async def die_and_come_back() -> None:
        for _ in range(kills):
            async with controller_manager(plane, tmp_path, "--leader-elect-identity=phoenix") as process:
                await asyncio.wait([asyncio.ensure_future(process.wait())], timeout=pauses.uniform(0.6, 1.6))
                assert process.returncode is None, "it ended by itself"
                process.send_signal(signal.SIGKILL)
                await process.wait()

    async with controller_manager(plane, tmp_path, "--leader-elect-identity=phoenix"):
        await until(client, ServiceAccount, lambda found: any(a.metadata.namespace == "default" for a in found))
    await client.create(template())
    counting, dying = asyncio.create_task(count()), asyncio.create_task(die_and_come_back())
    names: list[str] = []
    while not dying.done():
        names.append(f"p{len(names)}")
        user = pod(names[-1], resourceClaimTemplateName="one-gpu")
        user.spec.resourceClaims.append(PodResourceClaim(name="second", resourceClaimTemplateName="one-gpu"))
        await client.create(user)
        await asyncio.wait([dying], timeout=0.02)
    await dying
    async with controller_manager(plane, tmp_path, "--leader-elect-identity=phoenix"):
        users = await until(
            client, Pod, lambda found: all(len(p.status.resourceClaimStatuses) == 2 for p in found), seconds=60
        )
        said = {s.resourceClaimName for p in users for s in p.status.resourceClaimStatuses}
        assert said == {c.metadata.name for c in (await client.list(ResourceV1ResourceClaim)).items}
        assert len(said) == 2 * len(names)
        for name in names:
            await client.delete(Pod, name, "default", grace_seconds=0)
        await until(client, ResourceV1ResourceClaim, lambda found: not found, seconds=60)
    counting.cancel()
    assert made.total() == len(made) == 2 * len(names), "the watch must have seen each claim once"
