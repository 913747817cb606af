"""Volumes behind claims: where their files are on this node, and when those of this project's own kind are removed.

https://kubernetes.io/docs/concepts/storage/persistent-volumes/#claims-as-volumes

Under the root directory, `volumes/NAME` holds the data of a volume of the driver local.wherry.io. They outlive pods and
kubelets. Only what is marked goes when its volume has gone: a file `volumes/.deletable/NAME`, made while the volume's
reclaim policy is Delete. So a volume that was retained, or of which nothing is known, keeps its data.
"""

import asyncio
import logging
import os
import shutil
import stat
from pathlib import Path

from api import volumes
from api.types import PersistentVolume, PersistentVolumeClaim, Pod
from kubelet.volumes.contents import VolumeFault
from machinery.informers import Informer

log = logging.getLogger("volumes")
MARKS = ".deletable"
ON_MISMATCH = "OnRootMismatch"


def claim_fault(claim: PersistentVolumeClaim | None, name: str, pod: Pod) -> str:
    """Why a pod cannot have the claim's volume, in upstream's words; "" if it can.  `claim` None: there is none."""
    if claim is None:
        return f'failed to fetch PVC from API server: persistentvolumeclaims "{name}" not found'
    if claim.metadata.deletionTimestamp:
        return "PVC is being deleted"
    if claim.status.phase != "Bound" or not claim.spec.volumeName:
        return "PVC is not bound"
    if any(volumes.claim_name(pod, v) == name for v in pod.spec.volumes if v.ephemeral is not None) and not any(
        r.uid == pod.metadata.uid for r in claim.metadata.ownerReferences
    ):
        return f"PVC {pod.metadata.namespace}/{name} was not created for pod (pod is not owner)"
    return ""


class Kept:
    """The directories of this node's own volumes."""

    def __init__(self, root: Path) -> None:
        self._root = root / "volumes"

    def path(self, volume: PersistentVolume) -> Path | None:
        """Where the volume's data is; None if it is not of our own driver."""
        csi = volume.spec.csi
        if csi is None or csi.driver != volumes.LOCAL_DRIVER:
            return None
        handle = csi.volumeHandle or ""
        if not handle or "/" in handle or handle.startswith("."):
            raise VolumeFault(f"volume handle {handle!r} is not a name")
        return self._root / handle

    def set_up(self, volume: PersistentVolume) -> None:
        """Make the directory, unless it is there."""
        path = self.path(volume)
        assert path is not None
        if not path.exists():
            path.mkdir(parents=True)
            path.chmod(0o777)
        self.mark(volume)

    def mark(self, volume: PersistentVolume) -> None:
        """Note what is to become of the data when the volume has gone."""
        path = self.path(volume)
        if path is None:
            return
        mark = self._mark(path)
        if volume.spec.persistentVolumeReclaimPolicy != "Delete":
            mark.unlink(missing_ok=True)
        elif path.exists():
            mark.parent.mkdir(exist_ok=True)
            mark.touch()

    def remove(self, volume: PersistentVolume) -> None:
        """Its object has gone."""
        path = self.path(volume)
        if path is not None:
            self._remove(path)

    def sweep(self, known: set[str]) -> None:
        """Remove what is marked and belongs to none of these handles."""
        for mark in (self._root / MARKS).glob("*"):
            if mark.name not in known:
                self._remove(self._root / mark.name)

    def _remove(self, path: Path) -> None:
        mark = self._mark(path)
        if mark.exists():
            log.info("removing %s: its volume has been deleted", path)
            shutil.rmtree(path, ignore_errors=True)
            mark.unlink(missing_ok=True)

    def _mark(self, path: Path) -> Path:
        return self._root / MARKS / path.name


class Keeper:
    """Follows the node's own volumes, and removes the data of those that have gone."""

    def __init__(self, kept: Kept, informer: Informer[PersistentVolume]) -> None:
        self._kept = kept
        self._informer = informer
        self._changes: dict[str, PersistentVolume] = {}  # the last that is known of each volume that has news
        self._news = asyncio.Event()
        informer.on_change(self._changed)

    def _changed(self, old: PersistentVolume | None, new: PersistentVolume | None) -> None:
        volume = new or old
        assert volume is not None
        self._changes[volume.metadata.name] = volume
        self._news.set()

    async def run(self) -> None:
        """Until cancelled."""
        await self._informer.synced()
        known = {v.spec.csi.volumeHandle for v in self._informer.list() if v.spec.csi is not None}
        await asyncio.to_thread(self._kept.sweep, {handle for handle in known if handle})
        while True:
            await self._news.wait()
            self._news.clear()
            while self._changes:
                name, volume = self._changes.popitem()
                there = self._informer.get("", name)
                try:
                    await asyncio.to_thread(
                        self._kept.mark if there is not None else self._kept.remove, there or volume
                    )
                except (VolumeFault, OSError) as e:  # whoever can make volumes may call one what is no name
                    log.warning("volume %s: %s", name, e)


def give_to_group(path: Path, group: int, policy: str) -> None:
    """Let the group read and write everything below `path`.
    https://kubernetes.io/docs/tasks/configure-pod-container/security-context/#configure-volume-permission-and-ownership-change-policy-for-pods
    """
    root = path.stat()
    if policy == ON_MISMATCH and root.st_gid == group and root.st_mode & stat.S_ISGID:
        return
    for _, _, names, directory in os.fwalk(path, topdown=False):
        for name in names:
            _give(directory, name, group)
        mode = stat.S_IMODE(os.fstat(directory).st_mode)
        os.fchown(directory, -1, group)
        os.fchmod(directory, mode | 0o2770)


def _give(directory: int, name: str, group: int) -> None:
    """By handles, not by paths: another pod of the claim may put a link where a file or a directory has been."""
    handle = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=directory)
    try:
        info, itself = os.fstat(handle), f"/proc/self/fd/{handle}"
        if stat.S_ISLNK(info.st_mode):
            os.chown(name, -1, group, dir_fd=directory, follow_symlinks=False)
        else:
            os.chown(itself, -1, group)
            os.chmod(itself, stat.S_IMODE(info.st_mode) | 0o660)
    finally:
        os.close(handle)
