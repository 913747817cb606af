"""How much of the node's disk a pod has filled, and whether that is more than it may.
https://kubernetes.io/docs/concepts/storage/ephemeral-storage/#resource-emphemeralstorage-consumption
"""

import asyncio
import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from api import quantities
from api.quotas import pods as totals
from api.types import Pod
from kubelet.runtime.interfaces import NoSuchContainer, Record, Runtime
from kubelet.volumes.layouts import Layout

RESOURCE = "ephemeral-storage"
PERIOD = 10.0  # seconds between two looks


def is_limited(pod: Pod) -> bool:
    containers = (*pod.spec.containers, *pod.spec.initContainers)
    return any(v.emptyDir is not None and v.emptyDir.sizeLimit for v in pod.spec.volumes) or any(
        RESOURCE in c.resources.limits for c in containers
    )


class Excess(NamedTuple):
    """Which of the limits was passed, as upstream counts them, and its words for it."""

    signal: str
    message: str


async def excess(
    pod: Pod, layout: Layout, runtime: Runtime, records: Iterable[Record], machine: Path | None = None
) -> Excess | None:
    """What the pod is to be evicted for; None if it keeps within its limits."""
    used = await asyncio.to_thread(_volumes, pod, layout)
    for volume in pod.spec.volumes:
        limit = volume.emptyDir.sizeLimit if volume.emptyDir is not None else None
        if limit and used.get(volume.name or "", 0) > quantities.value(limit):
            why = f'Usage of EmptyDir volume "{volume.name}" exceeds the limit "{limit}". '
            return Excess("emptydirfs.limit", why)
    whole = totals.limits(pod).get(RESOURCE)
    if whole is None:
        return None
    wrote = await written(runtime, records, machine)
    if sum(wrote.values()) + sum(used.values()) > whole.value:
        why = f"Pod ephemeral local storage usage exceeds the total limit of containers {whole}. "
        return Excess("ephemeralpodfs.limit", why)
    for container in pod.spec.containers:
        limit = container.resources.limits.get(RESOURCE)
        if limit and wrote.get(container.name, 0) > quantities.value(limit):
            why = f'Container {container.name} exceeded its local ephemeral storage limit "{limit}". '
            return Excess("containerfs.limit", why)
    return None


async def written(runtime: Runtime, records: Iterable[Record], machine: Path | None = None) -> dict[str, int]:
    """By the containers' names: what each has added to its image's files and, where `machine` shows that, logged."""
    found = {}
    for record in records:
        if record.running and not record.is_pause:
            try:
                found[record.name] = await runtime.written(record.id) + logged(record, machine)
            except NoSuchContainer:
                continue
    return found


def logged(record: Record, machine: Path | None) -> int:
    """Bytes on disk of a container's log and of its older pieces."""
    if machine is None or not record.log_path:
        return 0
    log = machine / record.log_path.lstrip("/")
    total = 0
    for piece in log.parent.glob(f"{log.name}*"):
        with contextlib.suppress(OSError):  # the engine turns them over meanwhile
            total += piece.stat().st_blocks * 512
    return total


def _volumes(pod: Pod, layout: Layout) -> dict[str, int]:
    """By name; those in memory are limited by their file system."""
    directories = [v for v in pod.spec.volumes if v.emptyDir is not None and v.emptyDir.medium != "Memory"]
    return {v.name or "": usage(layout.volume(v)) for v in directories}


def usage(directory: Path) -> int:
    """Bytes on disk of everything below."""
    return count(directory)[0]


def count(directory: Path) -> tuple[int, int]:
    """Bytes on disk and number of files of everything below; a file with two names counts once."""
    total, files, seen = 0, 1, set()
    for parent, directories, names in os.walk(directory):
        for name in (*directories, *names):
            try:
                info = os.lstat(os.path.join(parent, name))
            except OSError:
                continue  # the pod removes files while they are counted
            if info.st_nlink == 1 or (info.st_dev, info.st_ino) not in seen:
                seen.add((info.st_dev, info.st_ino))
                total += info.st_blocks * 512
                files += 1
    return total, files
