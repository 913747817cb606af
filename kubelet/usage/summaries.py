"""/stats/summary: upstream's Summary document (stats/v1alpha1).

https://github.com/kubernetes/kubelet/blob/master/pkg/apis/stats/v1alpha1/types.go
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from api import times
from kubelet.usage.figures import Figures, FileSystem, Interface, Memory, total
from kubelet.usage.looking import ContainerUse, Look, PodUse

Document = dict[str, Any]
DEFAULT_INTERFACE = "eth0"


@dataclass(frozen=True, slots=True)
class About:
    """What is no matter of looks. `started` is when the node was, `pods` when each pod was, by uid."""

    node: str
    started: float
    pods: Mapping[str, float]
    files: FileSystem
    images: int = 0  # bytes
    max_processes: int = 0


def summary(before: Look, after: Look, about: About, *, only_cpu_and_memory: bool = False) -> Document:
    """Rates are those between the looks."""
    earlier = _earlier(before)
    window = after.time - before.time
    pods = [_pod(pod, earlier, window, about, only_cpu_and_memory) for pod in after.pods]
    return {"node": _node(before, after, about, only_cpu_and_memory), "pods": pods}


def _earlier(look: Look) -> dict[str, int]:
    """Processor time by container, and by pod."""
    found = {use.record.id: use.figures.cpu.total for pod in look.pods for use in pod.containers}
    return found | {pod.uid: pod.total(look.time).cpu.total for pod in look.pods}


def _node(before: Look, after: Look, about: About, only_cpu_and_memory: bool) -> Document:
    window, now = after.time - before.time, times.format(after.time)
    pods = total([p.total(after.time) for p in after.pods], after.time)
    pods_before = total([p.total(before.time) for p in before.pods], before.time)
    system = [
        _system("kubelet", after.kubelet, before.kubelet.cpu.total, window, about),
        _system("pods", pods, pods_before.cpu.total, window, about),
    ]
    found = {
        "nodeName": about.node, "systemContainers": system, "startTime": times.format(about.started),
        **_cpu_and_memory(after.node, before.node.cpu.total, window),
    }  # fmt: skip
    if only_cpu_and_memory:
        return found
    return found | {
        "network": _network(after.interfaces, now),
        "fs": _files(about.files),
        "runtime": {"imageFs": _files(about.files) | {"usedBytes": about.images}},
        "rlimit": {"time": now, "maxpid": about.max_processes, "curproc": after.node.processes},
    }


def _system(name: str, figures: Figures, earlier: int, window: float, about: About) -> Document:
    return {
        "name": name,
        "startTime": times.format(about.started),
        **_cpu_and_memory(figures, earlier, window),
    }


def _pod(pod: PodUse, earlier: Mapping[str, int], window: float, about: About, only_cpu_and_memory: bool) -> Document:
    started = about.pods.get(pod.uid) or min((c.record.started_at for c in pod.containers), default=0.0)
    whole = pod.total(_time(pod))
    found: Document = {
        "podRef": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
        "startTime": times.format(started),
        "containers": [_container(c, earlier, window, about, only_cpu_and_memory) for c in pod.containers],
        **_cpu_and_memory(whole, earlier.get(pod.uid), window),
    }
    if only_cpu_and_memory:
        return found
    if pod.interfaces:
        found["network"] = _network(pod.interfaces, times.format(whole.time))
    if pod.volumes:
        found["volume"] = [
            {**_files(v.files), "name": v.name}
            | ({"pvcRef": {"name": v.claim, "namespace": pod.namespace}} if v.claim else {})
            for v in pod.volumes
        ]
    ephemeral = [c.layer for c in pod.containers if c.layer] + [v.files for v in pod.volumes if not v.claim]
    used, inodes = _sum(f.used for f in ephemeral), _sum(f.inodes_used for f in ephemeral)
    found["ephemeral-storage"] = _files(about.files) | {"usedBytes": used, "inodesUsed": inodes}
    found["process_stats"] = {"process_count": whole.processes}
    return found


def _time(pod: PodUse) -> float:
    uses = [*pod.containers, *([pod.sandbox] if pod.sandbox is not None else [])]
    return max(u.figures.time for u in uses)


def _sum(amounts: Iterable[int | None]) -> int:
    return sum(amount or 0 for amount in amounts)


def _container(
    use: ContainerUse, earlier: Mapping[str, int], window: float, about: About, only_cpu_and_memory: bool
) -> Document:
    found = {
        "name": use.record.name,
        "startTime": times.format(use.record.started_at),
        **_cpu_and_memory(use.figures, earlier.get(use.record.id), window),
    }
    if only_cpu_and_memory:
        return found
    # The engine keeps what containers write to their standard streams where the kubelet does not see it.
    logs = {k: v for k, v in _files(about.files).items() if k not in ("usedBytes", "inodesUsed")}
    return found | {"rootfs": _files(use.layer or about.files), "logs": logs}


def _cpu_and_memory(figures: Figures, earlier: int | None, window: float) -> Document:
    """`earlier` is the processor time at the beginning of `window` seconds; None: it was not there yet."""
    now = times.format(figures.time)
    cpu: Document = {"time": now}
    if earlier is not None:
        used = figures.cpu.total - earlier
        # Less than before is no time at all: the group was made anew.
        cpu["usageNanoCores"] = int((used if used >= 0 else figures.cpu.total) / window)
    memory = figures.memory
    return {
        "cpu": cpu | {"usageCoreNanoSeconds": figures.cpu.total},
        "memory": {"time": now} | _memory(memory),
        "swap": {"time": now, "swapUsageBytes": memory.swap},
    }


def _memory(memory: Memory) -> Document:
    found = {
        "usageBytes": memory.usage, "workingSetBytes": memory.working_set, "rssBytes": memory.rss,
        "pageFaults": memory.faults, "majorPageFaults": memory.major_faults,
    }  # fmt: skip
    return {"availableBytes": max(0, memory.limit - memory.working_set)} | found if memory.limit else found


def _network(interfaces: Iterable[Interface], now: str) -> Document:
    shown = [
        {
            "name": i.name, "rxBytes": i.received.bytes, "rxErrors": i.received.errors, "txBytes": i.sent.bytes,
            "txErrors": i.sent.errors,
        }
        for i in interfaces
    ]  # fmt: skip
    default = next((i for i in shown if i["name"] == DEFAULT_INTERFACE), {})
    return {"time": now, **default, "interfaces": shown}


def _files(files: FileSystem) -> Document:
    found = {
        "time": times.format(files.time), "availableBytes": files.available, "capacityBytes": files.capacity,
        "usedBytes": files.used, "inodesFree": files.inodes_free, "inodes": files.inodes,
        "inodesUsed": files.inodes_used,
    }  # fmt: skip
    return {name: value for name, value in found.items() if value is not None}
