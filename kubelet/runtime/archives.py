"""The files of an image, as the engine gives them away."""

import io
import tarfile
from pathlib import Path
from typing import BinaryIO


def extract(archive: BinaryIO, directory: Path) -> None:
    """Raises OSError, or tarfile.TarError for what is no archive or would land outside."""
    with tarfile.open(fileobj=archive, mode="r:") as files:
        files.extractall(directory, filter=_member)  # noqa: S202


def only(archive: bytes) -> tuple[str, bytes]:
    """Of the one file that is in it: where it links to, or "", and what it contains.  Raises tarfile.TarError."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as files:
        member = files.next()
        content = files.extractfile(member) if member is not None and member.isreg() else None
        link = member.linkname if member is not None and member.issym() else ""
        return link, content.read() if content is not None else b""


def _member(member: tarfile.TarInfo, directory: str) -> tarfile.TarInfo | None:
    """With the mode that it has in the image.  Devices and pipes are nothing to read."""
    if member.isdev():
        return None
    return tarfile.tar_filter(member, directory).replace(mode=member.mode)
