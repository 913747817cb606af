"""The kernel's files of control groups.

https://docs.kernel.org/admin-guide/cgroup-v1/ and https://docs.kernel.org/admin-guide/cgroup-v2.html . Version 1 has
a hierarchy for each controller, and a group stands in all of them; version 2 has one, in which each group says what
its children may be limited in.
"""

import contextlib
import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kubelet.cgroups import names
from kubelet.cgroups.limits import PERIOD, Limits, weight
from kubelet.cgroups.names import Name

MOUNT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Reading:
    """Of one group with all below it."""

    memory: int = 0  # bytes that could not be given back at once: the working set
    pids: int = 0


class Tree(Protocol):
    """Every method may raise OSError."""

    def make(self, name: Name) -> None:
        """With all groups above it; it is no error if it is there."""
        ...

    def write(self, name: Name, limits: Limits) -> None: ...

    def read(self, name: Name) -> Reading: ...

    def exists(self, name: Name) -> bool: ...

    def children(self, name: Name) -> list[str]:
        """The names of the directories in it."""
        ...

    def remove(self, name: Name) -> None:
        """With all below it; it is no error if it is gone.  Nothing may run in it."""
        ...

    def memory_directory(self, name: Name) -> Path:
        """Where the kernel tells of the group's memory."""
        ...


def tree(mount: Path, driver: str) -> "Tree":
    """Of the version that is mounted there."""
    return Unified(mount, driver) if (mount / "cgroup.controllers").exists() else Split(mount, driver)


class Split:
    """Version 1."""

    CONTROLLERS = "memory", "cpu", "cpuacct", "pids"

    def __init__(self, mount: Path, driver: str) -> None:
        self._mount = mount
        self._driver = driver

    def make(self, name: Name) -> None:
        for controller in self.CONTROLLERS:
            if (self._mount / controller).is_dir():
                self._directory(controller, name).mkdir(parents=True, exist_ok=True)
        if not self.exists(name):
            raise FileNotFoundError(errno.ENOENT, "no memory controller", str(self._mount / "memory"))

    def write(self, name: Name, limits: Limits) -> None:
        cpu, memory = self._directory("cpu", name), self._directory("memory", name)
        if limits.shares is not None:
            _set(cpu / "cpu.shares", limits.shares)
        _set(cpu / "cpu.cfs_period_us", PERIOD)
        _set(cpu / "cpu.cfs_quota_us", -1 if limits.quota is None else limits.quota)
        _set(memory / "memory.limit_in_bytes", -1 if limits.memory is None else limits.memory)
        if (pids := self._directory("pids", name) / "pids.max").exists():
            _set(pids, "max" if limits.pids is None else limits.pids)

    def read(self, name: Name) -> Reading:
        memory, pids = self._directory("memory", name), self._directory("pids", name) / "pids.current"
        inactive = _pairs(memory / "memory.stat").get("total_inactive_file", 0)
        used = int((memory / "memory.usage_in_bytes").read_text())
        return Reading(max(0, used - inactive), int(pids.read_text()) if pids.exists() else 0)

    def exists(self, name: Name) -> bool:
        return self._directory("memory", name).is_dir()

    def children(self, name: Name) -> list[str]:
        return _children(self._directory("memory", name))

    def remove(self, name: Name) -> None:
        # The engine makes a container's parents in every hierarchy, also in those that are none of ours.
        for hierarchy in self._mount.iterdir():
            if hierarchy.is_dir() and not hierarchy.is_symlink():
                _remove(hierarchy / names.directory(name, self._driver))

    def memory_directory(self, name: Name) -> Path:
        return self._directory("memory", name)

    def _directory(self, controller: str, name: Name) -> Path:
        return self._mount / controller / names.directory(name, self._driver)


class Unified:
    """Version 2."""

    CONTROLLERS = "cpuset", "cpu", "io", "memory", "hugetlb", "pids"

    def __init__(self, mount: Path, driver: str) -> None:
        self._mount = mount
        self._driver = driver

    def make(self, name: Name) -> None:
        place = self._mount
        for part in names.directory(name, self._driver).parts:
            self._hand_down(place)
            place = place / part
            place.mkdir(exist_ok=True)
        # What is limited in a group stands in its own files; the engine's containers below need the same again.
        self._hand_down(place)

    def _hand_down(self, place: Path) -> None:
        """Let the groups within have every controller that this one has."""
        has = (place / "cgroup.controllers").read_text().split()
        given = (place / "cgroup.subtree_control").read_text().split()
        missing = [c for c in self.CONTROLLERS if c in has and c not in given]
        if missing:
            _set(place / "cgroup.subtree_control", " ".join(f"+{c}" for c in missing))

    def write(self, name: Name, limits: Limits) -> None:
        place = self._directory(name)
        if limits.shares is not None:
            _set(place / "cpu.weight", weight(limits.shares))
        _set(place / "cpu.max", f"{'max' if limits.quota is None else limits.quota} {PERIOD}")
        _set(place / "memory.max", "max" if limits.memory is None else limits.memory)
        if (pids := place / "pids.max").exists():
            _set(pids, "max" if limits.pids is None else limits.pids)

    def read(self, name: Name) -> Reading:
        place = self._directory(name)
        inactive = _pairs(place / "memory.stat").get("inactive_file", 0)
        used = int((place / "memory.current").read_text())
        pids = place / "pids.current"
        return Reading(max(0, used - inactive), int(pids.read_text()) if pids.exists() else 0)

    def exists(self, name: Name) -> bool:
        return self._directory(name).is_dir()

    def children(self, name: Name) -> list[str]:
        return _children(self._directory(name))

    def remove(self, name: Name) -> None:
        _remove(self._directory(name))

    def memory_directory(self, name: Name) -> Path:
        return self._directory(name)

    def _directory(self, name: Name) -> Path:
        return self._mount / names.directory(name, self._driver)


def _set(file: Path, value: object) -> None:
    """Only where it differs: the kernel walks the whole tree below for some of these."""
    with contextlib.suppress(OSError):  # some can be written and not read
        if file.read_text().strip() == str(value):
            return
    # Opened without O_CREAT: a file that the kernel does not have is an error, also in a directory that is not its own.
    with open(os.open(file, os.O_WRONLY | os.O_TRUNC), "w") as opened:
        opened.write(f"{value}")


def _pairs(file: Path) -> dict[str, int]:
    return {key: int(value) for key, _, value in (line.partition(" ") for line in file.read_text().splitlines())}


def _children(place: Path) -> list[str]:
    return sorted(p.name for p in place.iterdir() if p.is_dir()) if place.is_dir() else []


def _remove(place: Path) -> None:
    if not place.is_dir():
        return
    for child in _children(place):
        _remove(place / child)
    with contextlib.suppress(FileNotFoundError):
        place.rmdir()
