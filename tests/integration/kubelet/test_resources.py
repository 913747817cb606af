"""A node gives its pods what it says that it has, and no more."""

import re
from pathlib import Path
from typing import Any

from api import meta
from api.types import Event, Node, Pod, ResourceRequirements
from tests.integration.kubelet.test_wishes import ready, sh, told

GROUPS = Path("/sys/fs/cgroup")
# Two processes that calculate until they are stopped.
BUSY = ["sh", "-c", "while :; do :; done & while :; do :; done"]
# Twice as much memory as its node has, in a process that the container's own outlives.
GREEDY = ["sh", "-c", "sleep 1; tail -c 200m /dev/zero"]


def amounts(requests: dict[str, str] | None = None, limits: dict[str, str] | None = None) -> ResourceRequirements:
    return ResourceRequirements(requests=requests or limits or {}, limits=limits or {})


def group(lab: Any, *below: str) -> Path:
    """Of cgroup v1, which is what these tests were written on."""
    return GROUPS / "memory" / Path(lab.cluster, "node1", "kubepods", *below)


def number(file: Path) -> int:
    return int(file.read_text())


def periods(place: Path) -> int:
    """Tenths of a second in which something there wanted to run."""
    return int(re.search(r"nr_periods (\d+)", (place / "cpu.stat").read_text())[1])  # type: ignore[index]


def used(lab: Any) -> float:
    """Seconds of processor time."""
    return number(GROUPS / "cpuacct" / lab.cluster / "node1" / "cpuacct.usage") / 1e9


async def test_pods_stand_in_the_groups_of_their_classes(lab: Any, pods: Any, containers: Any) -> None:
    both = {"cpu": "100m", "memory": "32Mi"}
    asked = {"cpu": "300m", "memory": "16Mi"}
    async with lab.kubelet("--capacity", "cpu=1,memory=1Gi", "--pod-max-pids", "20"):
        await lab.create(pods("fixed", containers(resources=amounts(limits=both))))
        await lab.create(pods("loose", containers(resources=amounts(asked))))
        await lab.create(pods("free"))
        fixed, loose, free = [await lab.until(name, ready) for name in ("fixed", "loose", "free")]
        places = [
            group(lab, f"pod{fixed.metadata.uid}"), group(lab, "burstable", f"pod{loose.metadata.uid}"),
            group(lab, "besteffort", f"pod{free.metadata.uid}"),
        ]  # fmt: skip
        for pod, place in zip((fixed, loose, free), places, strict=True):
            inside = sh(lab, pod, "cat /proc/self/cgroup")
            expected = str(place.relative_to(GROUPS / "memory"))
            assert re.search(f"memory:/{re.escape(expected)}/[0-9a-f]{{64}}", inside)
        assert number(places[0] / "memory.limit_in_bytes") == 32 * 2**20
        assert number(group(lab) / "memory.limit_in_bytes") == 2**30
        cpu = [Path(str(p).replace("memory", "cpu", 1)) for p in places]
        assert [number(p / "cpu.shares") for p in cpu] == [102, 307, 2]
        assert [number(p / "cpu.cfs_quota_us") for p in cpu] == [10_000, -1, -1]
        assert number(cpu[1].parent / "cpu.shares") == 307
        pids = Path(str(places[0]).replace("memory", "pids", 1))
        assert number(pids / "pids.max") == 20
        said = sh(lab, fixed, "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 5 & done 2>&1")
        assert "can't fork" in said
        for pod in (fixed, loose, free):
            await lab.client.delete(Pod, pod.metadata.name, "default", grace_seconds=1)
        for pod in (fixed, loose, free):
            await lab.until_gone(pod.metadata.name)
        assert not [place for place in (*places, *cpu, pids) if place.exists()]


async def test_pods_get_no_more_than_their_node_has(lab: Any, pods: Any, containers: Any) -> None:
    async with lab.kubelet("--capacity", "cpu=200m,memory=100Mi,example.com/foo=3", "--eviction-hard", ""):
        node: Node = await lab.client.get(Node, "node1")
        assert {name: node.status.capacity[name] for name in ("cpu", "memory", "example.com/foo")} == {
            "cpu": "200m", "memory": "100Mi", "example.com/foo": "3",
        }  # fmt: skip
        await lab.create(pods("busy", containers(command=BUSY, resources=amounts({"cpu": "100m"}, {"cpu": "2"}))))
        busy = await lab.until("busy", ready)
        # The pod may have two processors, and its node has a fifth of one.
        before = periods(place := GROUPS / "cpu" / lab.cluster / "node1"), used(lab)
        while (passed := periods(place) - before[0]) < 5:
            sh(lab, busy, "true")
        assert used(lab) - before[1] <= (passed + 1) * 0.02 * 1.1
        await lab.client.delete(Pod, "busy", "default", grace_seconds=1)
        await lab.create(pods("greedy", containers(command=GREEDY), restartPolicy="Never"))
        greedy = await lab.until("greedy", lambda pod: pod.status.phase == "Failed")
        ended = greedy.status.containerStatuses[0].state.terminated
        assert (ended.reason, ended.exitCode) == ("OOMKilled", 137)


async def test_groups_of_pods_that_are_gone_are_removed(lab: Any, pods: Any) -> None:
    left = group(lab, "burstable", "pod0f0f0f0f-0000-0000-0000-000000000000")
    left.mkdir(parents=True)
    async with lab.kubelet():
        await lab.create(pods("web"))
        await lab.until("web", ready)
        assert not left.exists()
        assert await told(lab, "NodeAllocatableEnforced") == "Updated Node Allocatable limit across pods"


async def test_a_node_that_may_not_make_groups_says_so_and_goes_on(
    lab: Any, pods: Any, monkeypatch: Any, tmp_path: Path
) -> None:  # fmt: skip
    monkeypatch.setattr("kubelet.cgroups.trees.MOUNT", tmp_path)
    async with lab.kubelet():
        await lab.create(pods("web"))
        pod = await lab.until("web", ready)
        assert meta.is_true(pod, "Ready")
        assert "Failed to update Node Allocatable Limits" in await told(lab, "FailedNodeAllocatableEnforcement")
        events = (await lab.client.list(Event, "default")).items
        assert [e.reason for e in events].count("FailedNodeAllocatableEnforcement") == 1
