"""A disk that is full, and an image that is gone: what pods say meanwhile, and that they recover by themselves."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from api.types import ConfigMap, ConfigMapVolumeSource, Event, ObjectMeta, Pod, Volume, VolumeMount
from kubelet.eviction import evicting
from tests.integration.kubelet.conftest import IMAGE
from tests.integration.kubelet.engines import PrivateEngine
from tests.integration.kubelet.test_engine_restarts import ready, restarts
from tests.integration.kubelet.test_pressure import ended, node_says

MIB = 2**20


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evicting, "PERIOD", 0.2)


@pytest.fixture
def small(root: Path) -> Iterator[Path]:
    """The kubelet's root directory is a file system of its own, of 32 MiB."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={32 * MIB}", "wherry-small", str(root)], check=True)
    yield root
    subprocess.run(["umount", "--lazy", str(root)], check=True)  # a container that is just ending may hold it


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """To the last byte."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * MIB):
                pass
        except OSError:
            pass
    yield
    filler.unlink()


async def said(lab: Any, reason: str) -> str:
    """The message of an event for this reason, when there is one."""
    listing = await lab.client.list(Event, "default")
    for event in listing.items:
        if event.reason == reason:
            return str(event.message)
    async for batch in lab.client.watch(Event, "default", resource_version=listing.resource_version):
        for change in batch:
            if change.object.reason == reason:
                return str(change.object.message)
    raise AssertionError("the watch ended")


def waits(reason: str, message: str = "") -> Any:
    def holds(pod: Pod) -> bool:
        states = [status.state.waiting for status in pod.status.containerStatuses if status.state.waiting is not None]
        return any(state.reason == reason and message in state.message for state in states)

    return holds


async def test_a_pod_whose_volumes_find_no_room_starts_when_there_is_some(
    lab: Any, pods: Any, containers: Any, small: Path
) -> None:
    await lab.client.create(ConfigMap(metadata=ObjectMeta(name="c", namespace="default"), data={"k": "v" * 10_000}))
    mounted = containers(volumeMounts=[VolumeMount(name="config", mountPath="/config")])
    volume = Volume(name="config", configMap=ConfigMapVolumeSource(name="c"))
    async with lab.kubelet("--eviction-hard", ""):
        with filled(small):
            await lab.create(pods("web", mounted, volumes=[volume]))
            message = await said(lab, "FailedMount")
            assert message.startswith('MountVolume.SetUp failed for volume "config" : ')
            assert message.endswith(": no space left on device")
        await lab.until("web", ready)


async def test_a_full_disk_costs_the_node_its_pods_until_there_is_room_again(lab: Any, pods: Any, small: Path) -> None:
    flags = "--eviction-hard", "nodefs.available<10%", "--eviction-pressure-transition-period", "1s"
    async with lab.kubelet(*flags):
        await lab.create(pods("web"))
        await lab.until("web", ready)
        with filled(small):
            web = await lab.until("web", ended)
            assert web.status.reason == "Evicted"
            assert web.status.message.startswith(
                "The node was low on resource: ephemeral-storage. Threshold quantity: "
            )
            await node_says(lab, "DiskPressure", "True")
            await lab.create(pods("late"))
            late = await lab.until("late", ended)
            words = "Pod was rejected: The node had condition: [DiskPressure]. "
            assert (late.status.reason, late.status.message) == ("Evicted", words)
        await node_says(lab, "DiskPressure", "False")
        await lab.create(pods("again"))
        await lab.until("again", ready)


async def test_a_container_whose_image_is_gone_starts_again_when_it_is_back(
    own_lab: Any, private_engine: PrivateEngine, pods: Any
) -> None:
    async with own_lab.kubelet():
        await own_lab.create(pods("web"))
        web = await own_lab.until("web", ready)
        private_engine.client.remove_image(IMAGE, force=True)
        private_engine.client.kill(web.status.containerStatuses[0].containerID.removeprefix("docker://"))
        await own_lab.until("web", waits("ErrImagePull"))
        await own_lab.until("web", waits("ImagePullBackOff", f'Back-off pulling image "{IMAGE}"'))
        private_engine.load()
        web = await own_lab.until("web", ready)
        assert restarts(web) == 1
