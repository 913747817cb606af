"""What becomes of pods when their engine or their kubelet stops, crashes and comes back."""

import asyncio
from collections import Counter
from typing import Any

from api import meta
from api.types import EmptyDirVolumeSource, Node, Pod, Volume, VolumeMount
from tests.integration.kubelet.engines import PrivateEngine

NAMES = ("a", "b", "c", "d")


def ready(pod: Pod) -> bool:
    return meta.is_true(pod, "Ready")


def restarts(pod: Pod) -> int:
    return pod.status.containerStatuses[0].restartCount if pod.status.containerStatuses else 0


def sh(lab: Any, pod: Pod, command: str) -> str:
    done = lab.engine.exec_create(
        pod.status.containerStatuses[0].containerID.removeprefix("docker://"), ["sh", "-c", command]
    )
    return str(lab.engine.exec_start(done["Id"]).decode())


def running(lab: Any) -> Counter[tuple[str, str]]:
    """How many containers run, by pod and container."""
    labels = [c["Labels"] for c in lab.containers() if c["State"] == "running"]
    return Counter((n["io.kubernetes.pod.name"], n["io.kubernetes.container.name"]) for n in labels)


async def test_pods_keep_names_addresses_and_volumes_when_their_engine_is_killed(
    own_lab: Any, private_engine: PrivateEngine, pods: Any, containers: Any
) -> None:
    mount = VolumeMount(name="v", mountPath="/v")
    volume = Volume(name="v", emptyDir=EmptyDirVolumeSource())
    async with own_lab.kubelet():
        await own_lab.create(pods("web", containers(volumeMounts=[mount]), volumes=[volume]))
        before = await own_lab.until("web", ready)
        sh(own_lab, before, "echo kept > /v/file")
        await asyncio.to_thread(private_engine.kill)
        await asyncio.to_thread(private_engine.start)
        after = await own_lab.until("web", lambda pod: ready(pod) and restarts(pod) == 1)
        assert after.metadata.uid == before.metadata.uid
        assert after.status.podIP == before.status.podIP
        assert after.status.containerStatuses[0].lastState.terminated is not None
        assert sh(own_lab, after, "cat /v/file") == "kept\n"
        assert running(own_lab) == {("web", "POD"): 1, ("web", "main"): 1}


async def test_pods_come_back_as_they_were_when_engine_and_kubelet_were_stopped(
    own_lab: Any, private_engine: PrivateEngine, pods: Any
) -> None:
    before = {}
    async with own_lab.kubelet():
        for name in NAMES:
            await own_lab.create(pods(name))
        for name in NAMES:
            before[name] = await own_lab.until(name, ready)
    await asyncio.to_thread(private_engine.stop)
    await asyncio.to_thread(private_engine.start)
    async with own_lab.kubelet():
        for name in NAMES:
            after = await own_lab.until(name, lambda pod: ready(pod) and restarts(pod) == 1)
            assert (after.metadata.uid, after.status.podIP) == (before[name].metadata.uid, before[name].status.podIP)
        assert running(own_lab) == {(name, each): 1 for name in NAMES for each in ("POD", "main")}


async def test_an_engine_that_is_killed_in_the_middle_of_starts_makes_nothing_run_twice(
    own_lab: Any, private_engine: PrivateEngine, pods: Any
) -> None:
    async with own_lab.kubelet():
        for name in NAMES:
            await own_lab.create(pods(name))
        await own_lab.until_made(3)
        await asyncio.to_thread(private_engine.kill)
        await asyncio.to_thread(private_engine.start)
        for name in NAMES:
            await own_lab.until(name, ready)
        assert running(own_lab) == {(name, each): 1 for name in NAMES for each in ("POD", "main")}
        for name in NAMES:
            await own_lab.client.delete(Pod, name, "default")
        for name in NAMES:
            await own_lab.until_gone(name)
        assert own_lab.containers() == []
        assert "veth" not in own_lab.inside("ip", "-br", "link")
        assert list((own_lab.root / "pods").iterdir()) == []


async def test_a_kubelet_that_dies_in_the_middle_of_starts_finds_them_again(lab: Any, pods: Any) -> None:
    async with lab.kubelet():
        for name in NAMES:
            await lab.create(pods(name))
    for made in (1, 3, 4, 6):
        async with lab.kubelet():
            await lab.until_made(made)
    async with lab.kubelet():
        for name in NAMES:
            pod = await lab.until(name, ready)
            assert restarts(pod) == 0
        assert running(lab) == {(name, each): 1 for name in NAMES for each in ("POD", "main")}
        assert lab.inside("ip", "-br", "link").count("veth") == len(NAMES)


async def test_names_that_a_crash_has_left_behind_are_in_nobodys_way(lab: Any, pods: Any) -> None:
    """Containers of the wanted names, made by nobody knows whom: one was never started, one has ended, one runs."""
    for name in ("created", "exited", "running"):
        pod = await lab.create(pods(name))
        left = f"k8s_main_{name}_default_{pod.metadata.uid}_0"
        command = ["true"] if name == "exited" else ["sleep", "1000"]
        host = lab.engine.create_host_config(network_mode="none")
        labels = {"io.wherry.cluster": lab.cluster}
        made = lab.engine.create_container("busybox:1.35", command, name=left, host_config=host, labels=labels)
        if name != "created":
            lab.engine.start(made["Id"])
        if name == "exited":
            lab.engine.wait(made["Id"])
    async with lab.kubelet():
        for name in ("created", "exited", "running"):
            await lab.until(name, ready)


async def test_a_node_without_its_engine_is_not_ready_until_it_is_back(
    own_lab: Any, private_engine: PrivateEngine
) -> None:
    async def until(status: str) -> Any:
        async with asyncio.timeout(30):
            listing = await own_lab.client.list(Node)
            if (found := meta.condition(listing.items[0], "Ready")).status == status:
                return found
            async for batch in own_lab.client.watch(Node, resource_version=listing.resource_version):
                for event in batch:
                    if (found := meta.condition(event.object, "Ready")) and found.status == status:
                        return found
        raise AssertionError("the watch ended")

    async with own_lab.kubelet():
        await until("True")
        await asyncio.to_thread(private_engine.kill)
        down = await until("False")
        assert (down.reason, down.message) == ("KubeletNotReady", "container runtime is down")
        await asyncio.to_thread(private_engine.start)
        await until("True")
