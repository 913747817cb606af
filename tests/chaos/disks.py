"""A disk for each etcd member, of its own and small: what can be filled, and can stall, without the others' noticing.

Each is a file with ext4 in it, mounted by root. The kernel has no device-mapper here to delay a device with, and etcd,
being Go, calls no library's fsync that could be preloaded; but a file system that is frozen (FIFREEZE) lets every
write and every fsync wait until it is thawed, which is what a stalled disk does.
"""

import fcntl
import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.chaos.faults.members import NAMES
from wherry.composing import Compose
from wherry.labs import Lab

SIZE = 4 << 30
"""Bytes; of the machine's own disk only what is written is taken. etcd makes two files of 64 MB ahead of its log."""
FREEZE, THAW = 0xC0045877, 0xC0045878
"""FIFREEZE and FITHAW of linux/fs.h."""
FILLER = "filler"


def place(lab: Lab, member: str) -> Path:
    """Where a member's disk is mounted."""
    return Path(f"{lab.data}-disks") / member


def make(lab: Lab) -> None:
    """Makes them, and lets the lab's etcd members have them."""
    for member in NAMES:
        mounted, image = place(lab, member), place(lab, f"{member}.img")
        mounted.mkdir(parents=True)
        image.touch(0o600)
        os.truncate(image, SIZE)
        _run("mkfs.ext4", "-q", "-F", "-m", "0", image)
        _run("mount", "-o", "loop", image, mounted)
        (mounted / "data").mkdir(0o700)
    file = Compose(lab).generated
    document: dict[str, Any] = yaml.safe_load(file.read_text())
    for member in NAMES:
        options = {"type": "none", "o": "bind", "device": str(place(lab, member) / "data")}
        document["volumes"][member] = {"driver": "local", "driver_opts": options}
    file.write_text(yaml.safe_dump(document, sort_keys=False))


def remove(lab: Lab) -> None:
    """Also those that an interrupted run has left."""
    for member in NAMES:
        mounted, image = place(lab, member), place(lab, f"{member}.img")
        if mounted.is_mount():
            thaw(mounted)
            _run("umount", mounted)
        if mounted.exists():
            mounted.rmdir()
        image.unlink(missing_ok=True)
    if place(lab, "").exists():
        place(lab, "").rmdir()


def fill(disk: Path) -> None:
    """To the last block."""
    with (disk / FILLER).open("wb") as filler:
        free = os.statvfs(disk)
        # What the file needs for its own map is found out by asking for less.
        for blocks in range(free.f_bavail, 0, -16):
            try:
                os.posix_fallocate(filler.fileno(), 0, blocks * free.f_frsize)
            except OSError:
                continue
            return


def empty(disk: Path) -> None:
    (disk / FILLER).unlink(missing_ok=True)


def freeze(disk: Path) -> None:
    _control(disk, FREEZE)


def thaw(disk: Path) -> None:
    """Nothing happens if it is not frozen."""
    try:
        _control(disk, THAW)
    except OSError as e:
        if e.errno != 22:  # EINVAL: it was not frozen
            raise


def _control(disk: Path, what: int) -> None:
    directory = os.open(disk, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(directory, what, 0)
    finally:
        os.close(directory)


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
