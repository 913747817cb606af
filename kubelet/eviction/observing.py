"""What there is left of everything now, and what each pod uses of it."""

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from api import quantities
from api.types import Pod
from kubelet.cgroups.keeping import Groups
from kubelet.eviction import thresholds as signals
from kubelet.eviction.deciding import Observation
from kubelet.eviction.ranking import Usage
from kubelet.nodes import machines
from kubelet.nodes.capacities import Promises
from kubelet.pods import storage
from kubelet.pods.caches import Cache
from kubelet.runtime.interfaces import Runtime, Version
from kubelet.usage.looking import Looking
from kubelet.volumes.layouts import Layout

PROC = Path("/proc")


class Observer:
    """`machine` is where this process sees the machine's root directory, None if it does not."""

    def __init__(
        self, promised: Promises, root: Path, runtime: Runtime, cache: Cache, looking: Looking,
        groups: Callable[[], Groups], machine: Path | None,
    ) -> None:  # fmt: skip
        self._promised = promised
        self._root = root
        self._runtime = runtime
        self._cache = cache
        self._looking = looking
        self._groups = groups
        self._machine = machine
        self._images: Path | None = None

    def engine_is(self, version: Version) -> None:
        """Its images count from now on."""
        if self._machine is not None and version.directory:
            self._images = self._machine / version.directory.lstrip("/")

    def observe(self) -> dict[str, Observation]:
        found = self._memory()
        found |= disk(self._root, signals.NODE_DISK, signals.NODE_INODES)
        if self._images is not None:
            found |= disk(self._images, signals.IMAGE_DISK, signals.IMAGE_INODES)
        found[signals.PIDS] = pids(PROC)
        return found

    def _memory(self) -> dict[str, Observation]:
        """What the node's capacity has left beside its pods, if the machine, which is others' too, has that."""
        used = self._groups().of_all_pods()
        capacity, shared = quantities.value(self._promised.capacity["memory"]), machines.free_memory()
        if used is None:
            return {signals.MEMORY: Observation(min(capacity, shared), capacity)}
        for_pods = quantities.value(self._promised.for_pods["memory"])
        return {
            signals.MEMORY: Observation(max(0, min(capacity - used.memory, shared)), capacity),
            signals.ALLOCATABLE_MEMORY: Observation(max(0, for_pods - used.memory), for_pods),
        }

    async def usages(self, pods: Iterable[Pod], resource: str) -> Mapping[str, Usage]:
        """By uid; a pod that nothing is known of is left out."""
        pods = list(pods)
        measure = {"memory": self._memory_of, "pids": self._pids_of, "inodes": self._inodes_of}.get(
            resource, self._disk_of
        )
        found = await asyncio.gather(*(measure(pod) for pod in pods))
        return {p.metadata.uid: usage for p, usage in zip(pods, found, strict=True) if usage is not None}

    async def _memory_of(self, pod: Pod) -> Usage | None:
        look = await self._looking.look()
        used = next((p for p in look.pods if p.uid == pod.metadata.uid), None)
        if used is None:
            return None
        containers = {c.record.name: c.figures.memory.working_set for c in used.containers}
        group = self._groups().of(pod)  # with what its volumes in memory hold
        return Usage(group.memory if group is not None else used.total(look.time).memory.working_set, containers)

    async def _pids_of(self, pod: Pod) -> Usage | None:
        group = self._groups().of(pod)
        return Usage(group.pids) if group is not None else None

    async def _disk_of(self, pod: Pod) -> Usage | None:
        layout = Layout(self._root, pod.metadata.uid)
        written = await storage.written(self._runtime, self._cache.of(pod.metadata.uid), self._machine)
        return Usage(sum(written.values()) + await asyncio.to_thread(storage.usage, layout.pod), written)

    async def _inodes_of(self, pod: Pod) -> Usage | None:
        layout = Layout(self._root, pod.metadata.uid)
        return Usage(await asyncio.to_thread(_entries, layout.pod))


def disk(place: Path, available: str, inodes: str) -> dict[str, Observation]:
    """What a file system has left for whoever is not root, under the names of two signals."""
    try:
        found = os.statvfs(place)
    except OSError:
        return {}
    seen = {available: Observation(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)}
    if found.f_files:  # some make them as they need them
        seen[inodes] = Observation(found.f_ffree, found.f_files)
    return seen


def pids(proc: Path) -> Observation:
    """Of the machine: every thread has one."""
    most = min(int((proc / "sys/kernel" / name).read_text()) for name in ("pid_max", "threads-max"))
    running = int((proc / "loadavg").read_text().split()[3].partition("/")[2])
    return Observation(most - running, most)


def _entries(place: Path) -> int:
    return sum(len(directories) + len(files) for _, directories, files in os.walk(place))
