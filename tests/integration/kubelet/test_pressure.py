"""What a node does when it runs short, and whom it does not let in."""

import asyncio
import re
import shutil
from typing import Any

import pytest

from api import meta
from api.types import EmptyDirVolumeSource, Event, Node, Pod, ResourceRequirements, Volume, VolumeMount
from kubelet.eviction import evicting
from tests.integration.kubelet.test_wishes import ready, sh, told

FILLED = "dd if=/dev/zero of=/memory/f bs=1M count=120"
IN_MEMORY = [Volume(name="memory", emptyDir=EmptyDirVolumeSource(medium="Memory"))]


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evicting, "PERIOD", 0.2)


def ended(pod: Pod) -> bool:
    return pod.status.phase == "Failed"


async def node_says(lab: Any, condition: str, status: str) -> None:
    listing = await lab.client.list(Node)
    if meta.is_true(listing.items[0], condition) == (status == "True"):
        return
    async for batch in lab.client.watch(Node, resource_version=listing.resource_version):
        for event in batch:
            found = [c for c in event.object.status.conditions if c.type == condition]
            if found and found[0].status == status:
                return


async def reasons(lab: Any, wanted: set[str]) -> None:
    """Returns when there have been events for all of these reasons."""
    listing = await lab.client.list(Event, "default")
    found = {event.reason for event in listing.items}
    if wanted <= found:
        return
    async for batch in lab.client.watch(Event, "default", resource_version=listing.resource_version):
        found |= {event.object.reason for event in batch}
        if wanted <= found:
            return


async def test_a_node_short_of_memory_ends_the_largest_pod_and_takes_no_more(
    lab: Any, pods: Any, containers: Any
) -> None:  # fmt: skip
    mounts = [VolumeMount(name="memory", mountPath="/memory")]
    flags = (
        "--capacity", "memory=250Mi", "--eviction-hard", "memory.available<150Mi",
        "--eviction-pressure-transition-period", "2s",
    )  # fmt: skip
    async with lab.kubelet(*flags):
        await lab.create(pods("large", containers(volumeMounts=mounts), volumes=IN_MEMORY))
        await lab.create(pods("small"))
        large = await lab.until("large", ready)
        await lab.until("small", ready)
        sh(lab, large, FILLED)
        large = await lab.until("large", ended)
        assert large.status.reason == "Evicted"
        assert re.fullmatch(
            r"The node was low on resource: memory\. Threshold quantity: 150Mi, available: \d+Ki\. "
            r"Container main was using \d+Ki, request is 0, has larger consumption of memory\. ",
            large.status.message,
        )
        target = meta.condition(large, "DisruptionTarget")
        assert target is not None
        assert (target.status, target.reason) == ("True", "TerminationByKubelet")
        assert await told(lab, "EvictionThresholdMet") == "Attempting to reclaim memory"
        await node_says(lab, "MemoryPressure", "True")
        await lab.create(pods("late"))
        late = await lab.until("late", ended)
        words = "Pod was rejected: The node had condition: [MemoryPressure]. "
        assert (late.status.reason, late.status.message) == ("Evicted", words)
        await node_says(lab, "MemoryPressure", "False")
        async with asyncio.timeout(20):
            await reasons(lab, {"NodeHasInsufficientMemory", "NodeHasSufficientMemory"})
        assert ready(await lab.until("small", ready))


async def test_a_node_short_of_disk_frees_what_it_can_and_then_ends_a_pod(lab: Any, pods: Any) -> None:
    async with lab.kubelet():
        await lab.create(pods("web"))
        await lab.create(pods("critical", priorityClassName="system-node-critical"))
        await lab.until("web", ready)
        await lab.until("critical", ready)
    more_than_is_free = (shutil.disk_usage(lab.root).free + 2**30) | 1  # thousands would be told as such
    async with lab.kubelet("--eviction-hard", f"nodefs.available<{more_than_is_free}"):
        web = await lab.until("web", ended)
        words = f"The node was low on resource: ephemeral-storage. Threshold quantity: {more_than_is_free}, available: "
        assert (web.status.reason, web.status.message[: len(words)]) == ("Evicted", words)
        await node_says(lab, "DiskPressure", "True")
        assert ready(await lab.until("critical", ready))


async def test_a_node_turns_away_what_it_has_no_room_for(lab: Any, pods: Any, containers: Any) -> None:
    def wanting(name: str, cpu: str, **spec: Any) -> Pod:
        return pods(name, containers(resources=ResourceRequirements(requests={"cpu": cpu})), **spec)

    async with lab.kubelet("--capacity", "cpu=1,pods=2"):
        await lab.create(wanting("first", "700m"))
        await lab.until("first", ready)
        await lab.create(wanting("second", "500m"))
        second = await lab.until("second", ended)
        words = "Pod was rejected: Node didn't have enough resource: cpu, requested: 500, used: 700, capacity: 1000"
        assert (second.status.reason, second.status.message) == ("OutOfcpu", words)
        assert await told(lab, "OutOfcpu") == words.removeprefix("Pod was rejected: ")
        await lab.create(pods("elsewhere", nodeSelector={"zone": "b"}))
        assert (await lab.until("elsewhere", ended)).status.reason == "NodeAffinity"
        await lab.create(wanting("critical", "500m", priorityClassName="system-node-critical"))
        first = await lab.until("first", ended)
        assert (first.status.reason, first.status.message) == ("Preempting", "Preempted in order to admit critical pod")
        await lab.until("critical", ready)
