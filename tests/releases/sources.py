"""The source of a kept release: its components run beside today's, in this environment with the packages of today."""

import lzma
import subprocess
import tarfile
from pathlib import Path

from tests.releases import KEPT

PACKAGES = (
    "proto", "api", "machinery", "apiserver", "controller_manager", "scheduler", "kubelet", "kube_proxy", "cluster_dns",
)  # fmt: skip
SOURCE = "source.tar.xz"


def last() -> Path:
    """The directory of the last release whose source is kept."""
    found = [source.parent for source in KEPT.glob(f"*/{SOURCE}")]
    return max(found, key=lambda release: [int(number) for number in release.name.split(".")])


def keep(directory: Path, commit: str) -> None:
    """What the components are made of, as it was in the commit."""
    command = ("git", "archive", commit, *PACKAGES, ":!*.pyi")
    tar = subprocess.run(command, check=True, capture_output=True).stdout
    (directory / SOURCE).write_bytes(lzma.compress(tar, preset=9 | lzma.PRESET_EXTREME))


def unpack(place: Path) -> dict[str, str]:
    """Of the last release; the environment in which `python -m` finds its components, and not those beside it."""
    with tarfile.open(last() / SOURCE) as tar:
        tar.extractall(place, filter="data")
    return {"PYTHONPATH": str(place), "PYTHONSAFEPATH": "1"}
