"""Claims of devices: https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/

There is no scheduler here: the test allocates as one would.
"""

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from api.resource_claims import FINALIZER
from api.types import (
    AllocationResult,
    Binding,
    DeviceAllocationResult,
    DeviceClaim,
    DeviceRequest,
    DeviceRequestAllocationResult,
    ExactDeviceRequest,
    HostPathVolumeSource,
    ObjectMeta,
    ObjectReference,
    Pod,
    PodResourceClaim,
    ResourceClaim,
    ResourceClaimConsumerReference,
    ResourceClaimSpec,
    ResourcePool,
    ResourceRequirements,
    ResourceSlice,
    ResourceSliceSpec,
    ResourceV1ResourceClaim,
    Volume,
    VolumeMount,
)  # fmt: skip
from api.types import Device as Published
from kubelet.runtime.simulated import Engine
from proto import dra_pb2 as pb
from tests.integration.kubelet.asking import identity, ready, sh, told, waiting
from tests.unit.kubelet.drivers import FakeDriver

DRIVER = "lamps.example"


class Lamps:
    """A driver with a lamp for each request, and its CDI files."""

    def __init__(self, root: Path) -> None:
        self.cdi = root / "cdi"
        self.cdi.mkdir()
        self.data = root / "plugins" / DRIVER
        self.data.mkdir(parents=True)
        self.driver = FakeDriver(root / "plugins_registry", DRIVER, answers=self._devices)

    @property
    def flags(self) -> tuple[str, str]:
        return "--cdi-spec-dirs", str(self.cdi)

    def _devices(self, claim: pb.Claim) -> Iterable[pb.Device]:
        devices = []
        for colour in ("red", "blue"):
            name = f"{claim.uid}-{colour}"
            (self.data / name).write_text(f"a {colour} lamp\n")
            edits = {
                "env": [f"{colour.upper()}_LAMP={name}"],
                # As a driver in a pod sees it.
                "mounts": [{"hostPath": f"/var/lib/kubelet/plugins/{DRIVER}/{name}", "containerPath": f"/lamps/{colour}",
                            "options": ["ro", "bind"]}],
                "deviceNodes": [{"path": f"/dev/lamp-{colour}", "hostPath": "/dev/kmsg", "permissions": "r"}],
            }  # fmt: skip
            devices.append({"name": name, "containerEdits": edits})
            yield pb.Device(
                request_names=[colour], pool_name="node1", device_name=f"lamp-{colour}",
                cdi_device_ids=[f"{DRIVER}/lamp={name}"],
            )  # fmt: skip
        file = {
            "cdiVersion": "0.7.0", "kind": f"{DRIVER}/lamp", "devices": devices,
            "containerEdits": {"env": [f"CLAIM={claim.name}"], "additionalGids": [4711]},
        }  # fmt: skip
        (self.cdi / f"{claim.uid}.json").write_text(json.dumps(file))


@pytest.fixture
def lamps(root: Path) -> Lamps:
    return Lamps(root)


def asking(containers: Any, name: str = "main", request: str = "") -> Any:
    return containers(name, resources=ResourceRequirements(claims=[ResourceClaim(name="lamp", request=request)]))


async def claim(lab: Any, name: str) -> ResourceV1ResourceClaim:
    requests = [
        DeviceRequest(name=colour, exactly=ExactDeviceRequest(deviceClassName=DRIVER)) for colour in ("red", "blue")
    ]
    spec = ResourceClaimSpec(devices=DeviceClaim(requests=requests))
    made: ResourceV1ResourceClaim = await lab.client.create(
        ResourceV1ResourceClaim(metadata=ObjectMeta(name=name, namespace="default"), spec=spec)
    )
    return made


async def start(lab: Any, pods: Any, name: str, of: str, *given: Any) -> Pod:
    """A pod that uses a claim, which has no node yet."""
    pod = pods(
        name, *given, resourceClaims=[PodResourceClaim(name="lamp", resourceClaimName=of)],
        terminationGracePeriodSeconds=1,
    )  # fmt: skip
    pod.spec.nodeName = ""
    made: Pod = await lab.create(pod)
    return made


async def bind(lab: Any, *pods: Pod) -> None:
    for pod in pods:
        target = ObjectReference(kind="Node", name="node1")
        binding = Binding(metadata=ObjectMeta(name=pod.metadata.name, namespace="default"), target=target)
        await lab.client.create_subresource(Pod, pod.metadata.name, "default", "binding", binding)


async def allocate(lab: Any, name: str, *users: Pod) -> None:
    """As a scheduler would."""
    found = await lab.client.get(ResourceV1ResourceClaim, name, "default")
    found.metadata.finalizers = [FINALIZER]
    found = await lab.client.update(found)
    results = [
        DeviceRequestAllocationResult(request=colour, driver=DRIVER, pool="node1", device=f"lamp-{colour}")
        for colour in ("red", "blue")
    ]
    found.status.allocation = AllocationResult(devices=DeviceAllocationResult(results=results))
    found.status.reservedFor = [
        ResourceClaimConsumerReference(resource="pods", name=pod.metadata.name, uid=pod.metadata.uid) for pod in users
    ]
    await lab.client.update_status(found)


async def run(lab: Any, pods: Any, name: str, of: str, *given: Any) -> Pod:
    """A pod with a claim of its own, once it is ready."""
    await claim(lab, of)
    pod = await start(lab, pods, name, of, *given)
    await allocate(lab, of, pod)
    await bind(lab, pod)
    found: Pod = await lab.until(name, ready)
    return found


async def test_containers_get_the_devices_of_their_requests(
    lab: Any, lamps: Lamps, pods: Any, containers: Any
) -> None:  # fmt: skip
    async with lab.kubelet(*lamps.flags), lamps.driver.serving():
        given = (asking(containers, "one", "red"), asking(containers, "both"), containers("none"))
        pod = await run(lab, pods, "lit", "pair", *given)
        (uid,) = {c.metadata.uid for c in (await lab.client.list(ResourceV1ResourceClaim, "default")).items}
        show = "echo $CLAIM $RED_LAMP $BLUE_LAMP; cat /lamps/*; ls /dev/lamp-*; id -G"
        assert sh(lab, pod, show, "one").split("\n") == [
            f"pair {uid}-red", "a red lamp", "/dev/lamp-red", "0 4711", "",
        ]  # fmt: skip
        told = sh(lab, pod, show, "both").split("\n")
        assert told[:-2] == [
            f"pair {uid}-red {uid}-blue", "a blue lamp", "a red lamp", "/dev/lamp-blue", "/dev/lamp-red",
        ]  # fmt: skip
        assert "4711" not in sh(lab, pod, "echo $CLAIM; ls /dev/lamp* /lamps 2>/dev/null; id -G", "none")
        assert "Read-only file system" in sh(lab, pod, "echo > /lamps/red", "one")
        assert "Operation not permitted" in sh(lab, pod, "echo > /dev/lamp-red", "one")
        assert lamps.driver.prepared == [["pair"]]
        await lab.client.delete(Pod, "lit", "default")
        await lab.until_gone("lit")
        assert lamps.driver.unprepared == [["pair"]]


async def test_a_claim_that_pods_share_is_prepared_once_and_undone_after_the_last(
    lab: Any, lamps: Lamps, pods: Any, containers: Any
) -> None:
    async with lab.kubelet(*lamps.flags), lamps.driver.serving():
        await claim(lab, "pair")
        users = [await start(lab, pods, name, "pair", asking(containers)) for name in ("a", "b")]
        await allocate(lab, "pair", *users)
        await bind(lab, *users)
        for name in ("a", "b"):
            pod = await lab.until(name, ready)
            assert sh(lab, pod, "cat /lamps/red") == "a red lamp\n"
        assert lamps.driver.prepared == [["pair"]]
        await lab.client.delete(Pod, "a", "default")
        await lab.until_gone("a")
        assert lamps.driver.unprepared == []
        await lab.client.delete(Pod, "b", "default")
        await lab.until_gone("b")
        assert lamps.driver.unprepared == [["pair"]]


async def test_a_pod_waits_for_its_claim_and_for_the_driver(
    lab: Any, lamps: Lamps, pods: Any, containers: Any
) -> None:  # fmt: skip
    prefix = "Failed to prepare dynamic resources: prepare dynamic resources: "
    async with lab.kubelet(*lamps.flags):
        made = await claim(lab, "pair")
        early, late = [await start(lab, pods, name, "pair", asking(containers)) for name in ("early", "late")]
        await bind(lab, early)
        whose = f"pair ({made.metadata.uid})"
        assert await told(lab, "FailedPrepareDynamicResources", "early") == (
            f"{prefix}pod early ({early.metadata.uid}) is not allowed to use ResourceClaim {whose}"
        )
        await allocate(lab, "pair", early, late)
        await bind(lab, late)
        assert await told(lab, "FailedPrepareDynamicResources", "late") == (
            f"{prefix}DRA driver {DRIVER} is not registered"
        )
        assert waiting(await lab.until("late", lambda p: p.status.containerStatuses)) == "ContainerCreating"
        async with lamps.driver.serving():
            for name in ("early", "late"):
                await lab.until(name, ready)


async def test_a_kubelet_that_comes_back_gives_back_what_the_one_before_was_given(
    lab: Any, lamps: Lamps, pods: Any, containers: Any
) -> None:
    async with lamps.driver.serving():
        async with lab.kubelet(*lamps.flags):
            for name in ("kept", "dropped"):
                await run(lab, pods, name, f"of-{name}", asking(containers))
        await lab.client.delete(Pod, "dropped", "default", grace_seconds=0)
        async with lab.kubelet(*lamps.flags):
            pod = await lab.until("kept", ready)
            assert sh(lab, pod, "cat /lamps/red") == "a red lamp\n"
            await lab.client.delete(Pod, "kept", "default")
            await lab.until_gone("kept")
            assert sorted(lamps.driver.prepared) == [["of-dropped"], ["of-kept"]]
            assert sorted(lamps.driver.unprepared) == [["of-dropped"], ["of-kept"]]


async def test_a_pod_does_not_go_while_its_driver_is_away(
    lab: Any, lamps: Lamps, pods: Any, containers: Any
) -> None:  # fmt: skip
    async with lab.kubelet(*lamps.flags):
        async with lamps.driver.serving():
            pod = await run(lab, pods, "lit", "pair", asking(containers))
        await lab.client.delete(Pod, "lit", "default")
        await asyncio.to_thread(lab.engine.wait, identity(pod), timeout=20)
        assert (await lab.client.get(Pod, "lit", "default")).status.phase == "Running"
        async with lamps.driver.serving():
            await lab.until_gone("lit")
            assert lamps.driver.unprepared == [["pair"]]


async def test_a_device_that_no_file_knows_is_why_a_container_cannot_be_made(
    lab: Any, lamps: Lamps, pods: Any, containers: Any, tmp_path: Path
) -> None:
    async with lab.kubelet("--cdi-spec-dirs", str(tmp_path / "none")), lamps.driver.serving():
        made = await claim(lab, "pair")
        pod = await start(lab, pods, "dark", "pair", asking(containers, request="red"))
        await allocate(lab, "pair", pod)
        await bind(lab, pod)
        pod = await lab.until("dark", lambda p: waiting(p) == "CreateContainerError")
        assert pod.status.containerStatuses[0].state.waiting.message == (
            f"CDI device injection failed: unresolvable CDI devices {DRIVER}/lamp={made.metadata.uid}-red"
        )


async def test_pods_find_the_kubelets_directories_where_drivers_look_for_them(
    lab: Any, pods: Any, containers: Any
) -> None:
    paths = {"registry": "/var/lib/kubelet/plugins_registry", "plugins": "/var/lib/kubelet/plugins"}
    volumes = [Volume(name=n, hostPath=HostPathVolumeSource(path=p, type="Directory")) for n, p in paths.items()]
    mounts = [VolumeMount(name=n, mountPath=p) for n, p in paths.items()]
    async with lab.kubelet():
        await lab.create(pods("driver", containers(volumeMounts=mounts), volumes=volumes))
        pod = await lab.until("driver", ready)
        for name in ("plugins_registry", "plugins"):
            sh(lab, pod, f"touch /var/lib/kubelet/{name}/here")
            assert (lab.root / name / "here").exists()


async def test_what_was_published_before_the_kubelet_came_is_removed(lab: Any) -> None:
    def of(node: str) -> ResourceSlice:
        pool = ResourcePool(name=node, generation=1, resourceSliceCount=1)
        spec = ResourceSliceSpec(driver=DRIVER, nodeName=node, pool=pool, devices=[Published(name="lamp-0")])
        return ResourceSlice(metadata=ObjectMeta(name=node), spec=spec)

    for node in ("node1", "other"):
        await lab.client.create(of(node))
    listing = await lab.client.list(ResourceSlice)
    async with lab.kubelet(), asyncio.timeout(20):
        async for batch in lab.client.watch(ResourceSlice, resource_version=listing.resource_version):
            if gone := [event.object.metadata.name for event in batch if event.type == "DELETED"]:
                break
    assert gone == ["node1"]


async def test_simulated_nodes_ask_drivers_too_and_their_containers_get_nothing(
    lab: Any, lamps: Lamps, pods: Any, containers: Any
) -> None:
    lab.simulated = Engine()
    async with lab.kubelet(), lamps.driver.serving():
        await run(lab, pods, "lit", "pair", asking(containers))
        assert lamps.driver.prepared == [["pair"]]
        await lab.client.delete(Pod, "lit", "default")
        await lab.until_gone("lit")
        assert lamps.driver.unprepared == [["pair"]]
    for program in lab.simulated.programs.values():
        program.cancel()
