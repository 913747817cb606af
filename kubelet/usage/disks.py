"""How much of the disk pods hold.  Counting files takes long, so what was counted holds for a minute, as upstream."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from api.types import Pod
from api.types import Volume as VolumeSpec
from api.volumes import claim_name
from kubelet.pods.storage import count
from kubelet.runtime.interfaces import EngineError, Record, Runtime
from kubelet.usage.figures import FileSystem, Volume
from kubelet.volumes.contents import is_made_of_files
from kubelet.volumes.layouts import Layout
from machinery.clocks import Clock
from machinery.remembering import Memory

COUNTED_SECONDS = 60.0
AT_ONCE = 4
"""Questions to the engine about the sizes of its containers, each of which walks through a tree of files."""


class Disks:
    def __init__(self, root: Path, runtime: Runtime, clock: Clock, claimed: Callable[[str, str], Path | None]) -> None:
        """`claimed` tells where the data of a claim is: its namespace and name are given."""
        self._root = root
        self._claimed = claimed
        self._runtime = runtime
        self._clock = clock
        self._volumes: Memory[str, list[Volume]] = Memory(clock)
        self._layers: Memory[str, int] = Memory(clock)
        self._images: Memory[str, int] = Memory(clock, 1)
        self._turns = asyncio.Semaphore(AT_ONCE)

    def node(self) -> FileSystem:
        """The file system that the pods' files are on."""
        found = file_system(self._root, self._clock.now())
        return _holding(found, found.capacity - found.available, found.inodes - found.inodes_free)

    async def images(self) -> int:
        """Bytes; what images share counts in each of them."""
        if "" not in self._images:
            try:
                sizes = [image.size for image in await self._runtime.images()]
            except EngineError:
                return 0
            self._images.put("", sum(sizes), COUNTED_SECONDS)
        return self._images[""]

    async def volumes(self, pod: Pod) -> list[Volume]:
        uid = pod.metadata.uid
        if uid not in self._volumes:
            found = await asyncio.to_thread(self._count, pod)
            self._volumes.put(uid, found, COUNTED_SECONDS)
        return self._volumes[uid]

    async def layer(self, record: Record) -> FileSystem:
        """What the container has written beside its volumes; images and containers are taken to lie where pods do."""
        on = file_system(self._root, self._clock.now())
        async with self._turns:
            if record.id not in self._layers:
                try:
                    written = await self._runtime.written(record.id)
                except EngineError:
                    return on  # it is just going
                self._layers.put(record.id, written, COUNTED_SECONDS)
        return _holding(on, self._layers[record.id], None)

    def _count(self, pod: Pod) -> list[Volume]:
        now = self._clock.now()
        found = []
        for volume in pod.spec.volumes:
            claim = claim_name(pod, volume)
            path = self._directory(pod, volume, claim)
            if path is not None and path.is_dir():
                found.append(Volume(volume.name or "", _holding(file_system(path, now), *count(path)), claim))
        return found

    def _directory(self, pod: Pod, volume: VolumeSpec, claim: str) -> Path | None:
        """None of what is not the kubelet's: the machine's own paths, and volumes in memory."""
        if claim:
            return self._claimed(pod.metadata.namespace, claim)
        on_disk = volume.emptyDir is not None and volume.emptyDir.medium != "Memory"
        return Layout(self._root, pod.metadata.uid).volume(volume) if on_disk or is_made_of_files(volume) else None


def file_system(path: Path, now: float) -> FileSystem:
    found = os.statvfs(path)
    return FileSystem(
        now, found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize, found.f_files, found.f_ffree
    )


def _holding(on: FileSystem, used: int, inodes: int | None) -> FileSystem:
    return replace(on, used=used, inodes_used=inodes)
