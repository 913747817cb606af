"""How much of the node's disk a pod has filled, and whether that is more than it may.
https://kubernetes.io/docs/concepts/storage/ephemeral-storage/#resource-emphemeralstorage-consumption
"""

import asyncio
import os
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

from api import quantities
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


async def excess(pod: Pod, layout: Layout, runtime: Runtime, records: Iterable[Record]) -> str:
    """What the pod is to be evicted for, in upstream's words; "" if it keeps within its limits."""
    used = await asyncio.to_thread(_volumes, pod, layout)
    for volume in pod.spec.volumes:
        limit = volume.emptyDir.sizeLimit if volume.emptyDir is not None else None
        if limit and used.get(volume.name or "", 0) > quantities.value(limit):
            return f'Usage of EmptyDir volume "{volume.name}" exceeds the limit "{limit}". '
    limits = {c.name: c.resources.limits.get(RESOURCE) for c in pod.spec.containers}
    if not any(limits.values()):
        return ""
    written = await _written(runtime, records)
    total = sum(quantities.value(limit) for limit in limits.values() if limit)
    if all(limits.values()) and sum(written.values()) + sum(used.values()) > total:
        amount = quantities.spelled(Decimal(total), "binary")
        return f"Pod ephemeral local storage usage exceeds the total limit of containers {amount}. "
    for name, limit in limits.items():
        if limit and written.get(name, 0) > quantities.value(limit):
            return f'Container {name} exceeded its local ephemeral storage limit "{limit}". '
    return ""


async def _written(runtime: Runtime, records: Iterable[Record]) -> dict[str, int]:
    found = {}
    for record in records:
        if record.running and not record.is_pause:
            try:
                found[record.name] = await runtime.written(record.id)
            except NoSuchContainer:
                continue
    return found


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
