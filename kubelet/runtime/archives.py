"""The files of an image, as the engine gives them away."""

import tarfile
from pathlib import Path
from typing import BinaryIO


def extract(archive: BinaryIO, directory: Path) -> None:
    """Raises OSError, or tarfile.TarError for what is no archive or would land outside."""
    with tarfile.open(fileobj=archive, mode="r:") as files:
        files.extractall(directory, filter=_member)  # noqa: S202


def _member(member: tarfile.TarInfo, directory: str) -> tarfile.TarInfo | None:
    """With the mode that it has in the image.  Devices and pipes are nothing to read."""
    if member.isdev():
        return None
    return tarfile.tar_filter(member, directory).replace(mode=member.mode)
