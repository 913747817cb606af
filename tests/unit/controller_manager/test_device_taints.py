"""Taints of devices: whose pods go, and when."""

from typing import Any

import pytest

from api import meta, times
from api.types import (
    AllocationResult,
    Device,
    DeviceAllocationResult,
    DeviceRequestAllocationResult,
    DeviceTaint,
    DeviceToleration,
    ObjectMeta,
    Pod,
    PodResourceClaim,
    ResourceClaimConsumerReference,
    ResourceClaimStatus,
    ResourcePool,
    ResourceSlice,
    ResourceSliceSpec,
    ResourceV1ResourceClaim,
)
from controller_manager.device_taint_eviction import NAME, REASON, toleration_time
from machinery.testing import FakeClock
from tests.unit.controller_manager import making
from tests.unit.controller_manager.making import NOW
from tests.unit.controller_manager.worlds import World, controllers, rest

FOREVER = DeviceToleration(operator="Exists")
MINUTE = DeviceToleration(operator="Exists", effect="NoExecute", tolerationSeconds=60)


def taint(effect: str = "NoExecute", *, age: float = 0.0, key: str = "broken", value: str = "yes") -> DeviceTaint:
    return DeviceTaint(key=key, value=value, effect=effect, timeAdded=times.format(NOW - age))


def published(*taints: DeviceTaint, name: str = "s", generation: int = 1, device: str = "gpu-0") -> ResourceSlice:
    pool = ResourcePool(name="node1", generation=generation, resourceSliceCount=1)
    devices = [Device(name="gpu-1"), Device(name=device, taints=list(taints))]
    return ResourceSlice(
        metadata=ObjectMeta(name=name),
        spec=ResourceSliceSpec(driver="example.com", nodeName="node1", pool=pool, devices=devices),
    )


def claim(user: Pod, *tolerations: DeviceToleration, reserved: bool = True, name: str = "c") -> ResourceV1ResourceClaim:
    result = DeviceRequestAllocationResult(
        request="r", driver="example.com", pool="node1", device="gpu-0", tolerations=list(tolerations)
    )
    consumer = ResourceClaimConsumerReference(resource="pods", name=user.metadata.name, uid=user.metadata.uid)
    return ResourceV1ResourceClaim(
        metadata=ObjectMeta(name=name, namespace="default"),
        status=ResourceClaimStatus(
            allocation=AllocationResult(devices=DeviceAllocationResult(results=[result])),
            reservedFor=[consumer] if reserved else [],
        ),
    )


async def user(world: World, *, node: str = "node1", phase: str = "Running", claims: tuple[str, ...] = ("c",)) -> Pod:
    entries = [PodResourceClaim(name=name, resourceClaimName=name) for name in claims]
    return await world.create(making.pod("p", node=node, phase=phase, resourceClaims=entries))  # type: ignore[no-any-return]


async def changed(world: World, *taints: DeviceTaint) -> None:
    now = world.one(ResourceSlice, "s")
    now.spec = published(*taints).spec
    await world.update(now)
    await rest()


async def later(world: World, term: Any, seconds: float) -> None:
    """Timers of queues are in the event loop's own time: what they would do is done by hand."""
    await world.clock.advance(seconds)
    await term.controllers[0].reconcile_now(meta.Key("default", "p"))


@pytest.mark.parametrize(
    ("tolerations", "seconds"),
    [
        ([], 0),
        ([FOREVER], None),
        ([MINUTE], 60),
        ([MINUTE, FOREVER], None),
        ([DeviceToleration(key="broken", value="yes")], None),
        ([DeviceToleration(key="broken", operator="Equal", value="no")], 0),
        ([DeviceToleration(key="other", operator="Exists")], 0),
        ([DeviceToleration(operator="Exists", effect="NoSchedule")], 0),
        ([MINUTE, DeviceToleration(operator="Exists", effect="NoExecute", tolerationSeconds=5)], 5),
        ([DeviceToleration(operator="Exists", effect="NoExecute", tolerationSeconds=-5)], 0),
        ([DeviceToleration(operator="Exists", tolerationSeconds=5)], None),
    ],
)
def test_a_taint_is_stood_as_long_as_is_said(tolerations: list[DeviceToleration], seconds: float | None) -> None:
    assert toleration_time(tolerations, taint()) == seconds


async def test_a_pod_goes_when_its_device_is_tainted(world: World) -> None:
    world.graceful = True
    await world.create(published())
    await world.create(claim(await user(world)))
    async with controllers(world, NAME):
        await rest()
        assert world.writes[3:] == []
        await changed(world, taint())
        gone = world.one(Pod, "p")
        assert gone.metadata.deletionTimestamp
        condition = meta.condition(gone, "DisruptionTarget")
        assert (condition.status, condition.reason) == ("True", "DeletionByDeviceTaintManager")
        assert condition.message == "Device Taint manager: deleting due to NoExecute taint"
        assert world.events(REASON) == ["Marking for deletion"]


async def test_a_pod_that_comes_to_a_tainted_device_goes(world: World) -> None:
    await world.create(published(taint()))
    async with controllers(world, NAME):
        await world.create(claim(await user(world)))
        await rest()
        assert world.all(Pod) == []


@pytest.mark.parametrize(
    "why", ["harmless", "of another device", "old generation", "not reserved", "not bound", "finished", "tolerated"]
)
async def test_a_pod_that_is_not_concerned_stays(world: World, why: str) -> None:
    pod = await user(
        world, node="" if why == "not bound" else "node1", phase="Succeeded" if why == "finished" else "Running"
    )
    tolerations = [FOREVER] if why == "tolerated" else []
    await world.create(claim(pod, *tolerations, reserved=why != "not reserved"))
    device = "gpu-2" if why == "of another device" else "gpu-0"
    await world.create(published(taint("NoSchedule" if why == "harmless" else "NoExecute"), device=device))
    if why == "old generation":
        await world.create(published(name="newer", generation=2))
    async with controllers(world, NAME):
        await rest()
        assert len(world.all(Pod)) == 1
        assert world.events(REASON) == []


async def test_a_pod_has_the_time_that_its_claim_tolerates(world: World, clock: FakeClock) -> None:
    await world.create(claim(await user(world), MINUTE))
    await world.create(published(taint(age=20)))
    async with controllers(world, NAME) as term:
        await rest()
        await later(world, term, 39)
        assert len(world.all(Pod)) == 1
        await later(world, term, 1)
        assert world.all(Pod) == []


@pytest.mark.parametrize("jump", [400, -400])
async def test_a_clock_that_is_set_evicts_neither_sooner_nor_later(world: World, clock: FakeClock, jump: int) -> None:
    await world.create(claim(await user(world), MINUTE))
    await world.create(published(taint()))
    async with controllers(world, NAME) as term:
        await rest()
        clock.jump(jump)
        await later(world, term, 59)
        assert len(world.all(Pod)) == 1
        await later(world, term, 1)
        assert world.all(Pod) == []


async def test_the_first_of_several_taints_decides(world: World, clock: FakeClock) -> None:
    pod = await user(world, claims=("c", "d"))
    await world.create(claim(pod, MINUTE))
    await world.create(claim(pod, MINUTE, name="d"))
    await world.create(published(taint(), taint(age=50, key="older")))
    async with controllers(world, NAME) as term:
        await rest()
        await later(world, term, 10)
        assert world.all(Pod) == []


async def test_a_taint_that_is_taken_back_lets_the_pod_stay(world: World, clock: FakeClock) -> None:
    await world.create(claim(await user(world), MINUTE))
    await world.create(published(taint()))
    async with controllers(world, NAME) as term:
        await rest()
        await changed(world)
        assert world.events(REASON) == ["Cancelling deletion"]
        await later(world, term, 100)
        assert len(world.all(Pod)) == 1


async def test_a_taint_without_a_time_counts_from_its_slice_on(world: World, clock: FakeClock) -> None:
    await world.create(claim(await user(world), MINUTE))
    timeless = taint()
    timeless.timeAdded = ""
    await world.create(published(timeless))
    async with controllers(world, NAME) as term:
        await rest()
        await later(world, term, 59)
        assert len(world.all(Pod)) == 1
        await later(world, term, 1)
        assert world.all(Pod) == []
