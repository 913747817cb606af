"""What pods use: read from the kernel's files, and told in the documents of upstream."""

import asyncio
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from api.types import EmptyDirVolumeSource, PersistentVolumeClaimVolumeSource, Pod, Volume
from kubelet.runtime.interfaces import EngineError, Record
from kubelet.runtime.simulated import Simulated
from kubelet.usage import cgroups
from kubelet.usage.cgroups import Cgroups
from kubelet.usage.container_samples import container_samples
from kubelet.usage.disks import Disks
from kubelet.usage.figures import Cpu, Figures, FileSystem, Interface, Memory, Traffic
from kubelet.usage.figures import Volume as VolumeUse
from kubelet.usage.looking import ContainerUse, Look, Looking, PodUse
from kubelet.usage.resource_samples import resource_samples
from kubelet.usage.summaries import About, summary
from kubelet.volumes.layouts import Layout
from machinery.metrics import rendered
from machinery.testing import FakeClock
from tests.unit.kubelet.builders import exited, pause, pod, running
from tests.unit.kubelet.test_nodes import MACHINE

NOW = 1_700_000_000.0
MOUNTS_1 = """\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /lxc/a /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
"""
MOUNTS_2 = "31 23 0:28 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup rw\n"


def write(directory: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    return directory


def test_groups_are_found_where_their_trees_are_seen() -> None:
    seen = cgroups.mounts(MOUNTS_1)
    mine = (
        "8:pids:/docker/c\n4:memory:/lxc/a/docker/c\n2:cpu,cpuacct:/docker/c\n1:name=systemd:/docker/c\n0::/docker/c\n"
    )
    found = cgroups.groups(mine, seen)
    assert found["cpu"] == found["cpuacct"] == Path("/sys/fs/cgroup/cpu,cpuacct/docker/c")
    assert found["memory"] == Path("/sys/fs/cgroup/memory/docker/c")
    assert found["pids"] == Path("/sys/fs/cgroup/pids/docker/c")
    assert cgroups.groups("0::/kubepods/x\n", cgroups.mounts(MOUNTS_2)) == {"": Path("/sys/fs/cgroup/kubepods/x")}


def test_version_1_is_read(tmp_path: Path) -> None:
    write(tmp_path, {
        "cpuacct.usage": "5000000000\n", "cpuacct.stat": "user 300\nsystem 200\n",
        "cpu.stat": "nr_periods 10\nnr_throttled 4\nthrottled_time 700\n",
        "memory.usage_in_bytes": "1000\n", "memory.failcnt": "3\n", "memory.max_usage_in_bytes": "2000\n",
        "memory.stat": "cache 1\nhierarchical_memory_limit 5000\ntotal_cache 600\ntotal_rss 300\ntotal_inactive_file 400\n"
        "total_pgfault 7\ntotal_pgmajfault 2\ntotal_mapped_file 50\ntotal_swap 6\n",
        "pids.current": "3\n",
    })  # fmt: skip
    found = cgroups.group_figures(dict.fromkeys(cgroups.CONTROLLERS, tmp_path), NOW)
    tick = cgroups.SECOND // os.sysconf("SC_CLK_TCK")
    assert found.cpu == Cpu(5_000_000_000, 300 * tick, 200 * tick, 10, 4, 700)
    assert found.memory == Memory(1000, 600, 300, 600, 50, 6, 2000, 5000, 3, 7, 2)
    assert found.processes == 3


def test_version_2_is_read(tmp_path: Path) -> None:
    write(tmp_path, {
        "cpu.stat": "usage_usec 5000\nuser_usec 3000\nsystem_usec 2000\nnr_periods 9\nnr_throttled 1\nthrottled_usec 8\n",
        "memory.current": "1000\n", "memory.max": "max\n", "memory.peak": "2000\n", "memory.swap.current": "6\n",
        "memory.stat": "anon 300\nfile 600\nfile_mapped 50\ninactive_file 400\npgfault 7\npgmajfault 2\n",
        "memory.events": "low 0\nhigh 0\nmax 3\noom 0\n", "pids.current": "3\n",
    })  # fmt: skip
    found = cgroups.group_figures({"": tmp_path}, NOW)
    assert found.cpu == Cpu(5_000_000, 3_000_000, 2_000_000, 9, 1, 8_000)
    assert found.memory == Memory(1000, 600, 300, 600, 50, 6, 2000, 0, 3, 7, 2)


def test_no_limit_is_none_whatever_number_stands_for_it(tmp_path: Path) -> None:
    write(tmp_path, {"memory.stat": "hierarchical_memory_limit 9223372036854771712\n", "memory.usage_in_bytes": "1"})
    assert cgroups.group_figures({"memory": tmp_path}, NOW).memory.limit == 0


def test_this_process_has_figures_and_one_that_is_gone_has_none() -> None:
    gauge = Cgroups()
    own = gauge.figures(os.getpid(), NOW)
    assert own is not None
    assert own.memory.usage > 0
    assert own.cpu.total > 0
    assert gauge.figures(2**22 + 1, NOW) is None
    assert gauge.interfaces(os.getpid()) == []  # its network is the node's own
    assert gauge.node(NOW).memory.limit > gauge.node(NOW).memory.working_set > 0
    assert 0 < cgroups.boot_time() < os.stat("/proc/self").st_mtime


def test_a_node_that_is_a_part_of_a_machine_is_its_own_group(tmp_path: Path) -> None:
    proc = write(tmp_path / "proc", {
        "self/mountinfo": f"31 23 0:28 / {tmp_path}/cgroup rw - cgroup2 cgroup rw\n",
        f"{os.getpid()}/cgroup": "0::/own\n", "meminfo": "MemTotal: 4000 kB\nMemAvailable: 1000 kB\n",
    })  # fmt: skip
    write(tmp_path / "cgroup", {
        "wherry/node1/memory.current": "1000\n", "wherry/node1/cpu.stat": "usage_usec 5\n",
        "own/memory.current": "100\n", "own/cpu.stat": "usage_usec 1\n",
    })  # fmt: skip
    found = Cgroups(proc, [PurePosixPath("none"), PurePosixPath("wherry/node1")]).node(NOW)
    assert (found.memory.usage, found.memory.limit, found.cpu.total) == (1100, 4000 * 1024, 6000)
    assert Cgroups(proc).node(NOW).memory.working_set == 3000 * 1024


def test_interfaces_are_read() -> None:
    table = (
        "Inter-|   Receive                         |  Transmit\n face |bytes packets errs drop fifo frame compressed multicast|bytes\n"
        "    lo:   1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 100 10 1 2 0 0 0 0 200 20 3 4 0 0 0 0\n"
    )
    [_, eth0] = cgroups.interfaces(table)
    assert eth0 == Interface("eth0", Traffic(100, 10, 1, 2), Traffic(200, 20, 3, 4))


def test_names_may_be_any_bytes(tmp_path: Path) -> None:
    write(tmp_path, {
        "self/mountinfo": f"31 23 0:28 / {tmp_path}/cgroup rw - cgroup2 cgroup rw\n", "7/net/dev": "", "7/cgroup": "",
    })  # fmt: skip
    (tmp_path / "7/net/dev").write_bytes(b"\n\n  eth\xff: 100 10 1 2 0 0 0 0 200 20 3 4 0 0 0 0\n")
    (tmp_path / "7/cgroup").write_bytes("0::/pod\u2028\x1c".encode() + b"\xff\n")
    (tmp_path / "7/ns").mkdir()
    (tmp_path / "7/ns/net").symlink_to("net:[7]")
    gauge = Cgroups(tmp_path)
    assert [i.received.bytes for i in gauge.interfaces(7)] == [100]
    assert gauge.figures(7, NOW) is not None


def figures(time: float, cpu: int, working_set: int = 100, limit: int = 0) -> Figures:
    return Figures(time, Cpu(cpu, cpu, 0), Memory(working_set + 10, working_set, 50, limit=limit, faults=5), 2)


ETH0 = Interface("eth0", Traffic(7, 1), Traffic(9, 1))


def look(time: float, cpu: int) -> Look:
    own = ContainerUse(running(pid=11), figures(time, cpu, limit=1000), FileSystem(time, 100, 50, 10, 5, 20))
    box = ContainerUse(pause(), figures(time, cpu // 10))
    volumes = (
        VolumeUse("cache", FileSystem(time, 100, 50, 10, 5, 30, 3)),
        VolumeUse("data", FileSystem(time, 100, 50, 10, 5, 40, 4), "claim"),
    )
    found = PodUse("default", "web", "u1", box, (own,), (ETH0,), volumes)
    return Look(time, figures(time, cpu * 3), figures(time, 5), (ETH0,), (found,))


ABOUT = About("n1", NOW - 1000, {"u1": NOW - 60}, FileSystem(NOW, 1000, 600, 100, 60, 400, 40), 77, 32768)


def test_the_summary_tells_rates_between_two_looks() -> None:
    found = summary(look(NOW - 2, 1000), look(NOW, 3000), ABOUT)
    node, [web] = found["node"], found["pods"]
    assert (node["nodeName"], node["startTime"]) == ("n1", "2023-11-14T21:56:40Z")
    assert node["cpu"] == {"time": "2023-11-14T22:13:20Z", "usageNanoCores": 3000, "usageCoreNanoSeconds": 9000}
    assert [c["name"] for c in node["systemContainers"]] == ["kubelet", "pods"]
    assert node["fs"] == {
        "time": "2023-11-14T22:13:20Z", "availableBytes": 600, "capacityBytes": 1000, "usedBytes": 400,
        "inodesFree": 60, "inodes": 100, "inodesUsed": 40,
    }  # fmt: skip
    assert node["runtime"]["imageFs"]["usedBytes"] == 77
    assert (node["rlimit"]["maxpid"], node["rlimit"]["curproc"]) == (32768, 2)
    assert node["network"]["interfaces"] == [{"name": "eth0", "rxBytes": 7, "rxErrors": 0, "txBytes": 9, "txErrors": 0}]
    assert web["podRef"] == {"name": "web", "namespace": "default", "uid": "u1"}
    assert web["startTime"] == "2023-11-14T22:12:20Z"
    # The pod's own process counts in the pod, and is no container of it.
    assert (web["cpu"]["usageCoreNanoSeconds"], web["cpu"]["usageNanoCores"]) == (3300, 1100)
    assert web["network"]["rxBytes"] == 7
    assert web["process_stats"] == {"process_count": 4}
    [main] = web["containers"]
    assert (main["name"], main["cpu"]["usageNanoCores"]) == ("main", 1000)
    assert main["memory"] == {
        "time": "2023-11-14T22:13:20Z", "availableBytes": 900, "usageBytes": 110, "workingSetBytes": 100,
        "rssBytes": 50, "pageFaults": 5, "majorPageFaults": 0,
    }  # fmt: skip
    assert main["rootfs"]["usedBytes"] == 20
    assert [(v["name"], v["usedBytes"], v.get("pvcRef")) for v in web["volume"]] == [
        ("cache", 30, None), ("data", 40, {"name": "claim", "namespace": "default"}),
    ]  # fmt: skip
    # What is behind a claim is not the node's to limit.
    assert web["ephemeral-storage"]["usedBytes"] == 50


def test_the_summary_can_be_of_cpu_and_memory_alone() -> None:
    found = summary(look(NOW - 2, 1000), look(NOW, 3000), ABOUT, only_cpu_and_memory=True)
    assert {"network", "fs", "runtime", "rlimit"}.isdisjoint(found["node"])
    assert set(found["pods"][0]) == {"podRef", "startTime", "containers", "cpu", "memory", "swap"}
    assert set(found["pods"][0]["containers"][0]) == {"name", "startTime", "cpu", "memory", "swap"}


def test_what_was_not_there_before_has_no_rate_yet() -> None:
    found = summary(replace(look(NOW - 2, 1000), pods=()), look(NOW, 3000), ABOUT)
    assert "usageNanoCores" not in found["pods"][0]["cpu"]
    assert "usageNanoCores" not in found["pods"][0]["containers"][0]["cpu"]


def told(families: Iterable[Metric]) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Samples by name and labels, as a scraper reads them."""
    _, body = rendered(families)
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def test_the_resource_metrics_have_upstreams_names_and_labels() -> None:
    found = told(resource_samples(look(NOW, 3_000_000_000)))
    container = (("container", "main"), ("namespace", "default"), ("pod", "web"))
    assert found["container_cpu_usage_seconds_total"] == {container: 3.0}
    assert found["container_memory_working_set_bytes"] == {container: 100}
    assert found["container_start_time_seconds"] == {container: NOW - 60}
    assert found["pod_cpu_usage_seconds_total"] == {container[1:]: 3.3}
    assert found["pod_memory_working_set_bytes"] == {container[1:]: 200}
    assert found["node_cpu_usage_seconds_total"] == {(): 9.0}
    assert found["resource_scrape_error"] == found["scrape_error"] == {(): 0}


def test_the_container_metrics_are_of_the_machine_of_pods_and_of_containers() -> None:
    found = told(container_samples(look(NOW, 3_000_000_000), MACHINE))
    by_id = {dict(labels)["id"]: value for labels, value in found["container_cpu_usage_seconds_total"].items()}
    assert by_id == {"/": 9.0, "/kubepods/podu1": 3.3, "/kubepods/podu1/main0": 3.0, "/kubepods/podu1/pause0": 0.3}
    [received] = [k for k in found["container_network_receive_bytes_total"] if dict(k)["pod"] == "web"]
    assert dict(received) == {
        "container": "", "id": "/kubepods/podu1/pause0", "image": "", "name": "pause0", "namespace": "default",
        "pod": "web", "interface": "eth0",
    }  # fmt: skip
    assert "container_memory_failcnt" in found
    assert found["machine_cpu_cores"]


class Gauge(Cgroups):
    """Tells what it is asked about; each look is a second of one processor later."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def figures(self, pid: int, now: float) -> Figures | None:
        self.asked.append(pid)
        return None if pid == 404 else figures(now, int((now - NOW) * 1e9))

    def interfaces(self, pid: int) -> list[Interface]:
        return [ETH0]

    node_interfaces = lambda self: [ETH0]  # noqa: E731
    node = lambda self, now: figures(now, int((now - NOW) * 1e9))  # noqa: E731


def looking(*records: Record) -> tuple[Looking, Gauge, FakeClock]:
    gauge, clock = Gauge(), FakeClock(NOW)
    return Looking(gauge, lambda: records, clock, own_pid=1), gauge, clock


async def test_only_what_runs_is_looked_at_and_once_for_all_who_ask() -> None:
    eyes, gauge, clock = looking(running(pid=11), running("gone", pid=404), exited("old"), pause())
    first = await eyes.look()
    assert [(p.name, [c.record.name for c in p.containers]) for p in first.pods] == [("web", ["main"])]
    assert await eyes.look() is first
    assert sorted(gauge.asked) == [1, 10, 11, 404]
    await clock.advance(2)
    assert (await eyes.look()).time == NOW + 2


async def test_a_clock_that_is_set_back_does_not_make_a_look_last() -> None:
    eyes, _, clock = looking(running(pid=11))
    first = await eyes.look()
    clock.jump(-400)
    assert await eyes.look() is not first


async def test_the_first_to_ask_for_a_rate_waits_for_a_second() -> None:
    eyes, _, clock = looking(running(pid=11))
    asking = asyncio.create_task(eyes.two_looks())
    while not asking.done():
        await asyncio.sleep(0)
        if clock._sleepers:
            await clock.advance(1)
    before, after = asking.result()
    assert (before.time, after.time) == (NOW, NOW + 1)
    await clock.advance(30)
    before, after = await eyes.two_looks()
    assert (before.time, after.time) == (NOW + 1, NOW + 31)


class Engine(Simulated):
    away = False

    async def written(self, container: str) -> int:
        if self.away:
            raise EngineError("it is gone")
        return 4096


def with_volumes(root: Path) -> Pod:
    of = pod(volumes=[
        Volume(name="cache", emptyDir=EmptyDirVolumeSource()),
        Volume(name="memory", emptyDir=EmptyDirVolumeSource(medium="Memory")),
        Volume(name="data", persistentVolumeClaim=PersistentVolumeClaimVolumeSource(claimName="claim")),
    ])  # fmt: skip
    write(Layout(root, "u1").volume(of.spec.volumes[0]), {"a": "x" * 10_000})
    return of


async def test_volumes_are_counted_once_a_minute(tmp_path: Path) -> None:
    clock = FakeClock(NOW)
    of = with_volumes(tmp_path)
    data = write(tmp_path / "data", {"b": "y"})
    disks = Disks(tmp_path, Engine("c", "n"), clock, lambda namespace, name: data if name == "claim" else None)
    cache, claimed = await disks.volumes(of)
    assert (cache.name, cache.files.inodes_used, claimed.name, claimed.claim) == ("cache", 2, "data", "claim")
    assert cache.files.used is not None
    assert cache.files.used >= 10_000
    write(data, {"c": "y"})
    assert (await disks.volumes(of))[1].files.inodes_used == 2
    await clock.advance(61)
    assert (await disks.volumes(of))[1].files.inodes_used == 3


async def test_a_layer_whose_container_is_just_going_counts_nothing(tmp_path: Path) -> None:
    engine = Engine("c", "n")
    disks = Disks(tmp_path, engine, FakeClock(NOW), lambda namespace, name: None)
    assert (await disks.layer(running())).used == 4096
    engine.away = True
    assert (await disks.layer(running())).used == 4096
    assert (await disks.layer(running("other"))).used is None
