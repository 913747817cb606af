"""The file of a snapshot: a compressed tar that only its owner can read, since the lab's keys are in it.

First stands `snapshot.json`, which says what the rest is of; then `pki/COMPONENT/FILE`, and a tar of its own for each
etcd member's directory (`etcd/MEMBER.tar`) and each node's local volumes (`volumes/NODE.tar`), as the engine gave it.
"""

import gzip
import io
import json
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from machinery import pairs
from wherry.troubles import Trouble

FORMAT = 1
"""Of the file. Counts up when an older `wherry` could not make of it what it was."""
DESCRIPTION = "snapshot.json"
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Description:
    lab: str
    network: str
    """First three numbers of the /24, which objects and certificates speak of."""
    nodes: int
    ha: bool
    taken: str
    """When, as Kubernetes writes times."""
    format: int = FORMAT


class Writer:
    """Adds to an open snapshot."""

    def __init__(self, tar: tarfile.TarFile, description: Description) -> None:
        self._tar = tar
        content = json.dumps(asdict(description)).encode()
        self.stream(DESCRIPTION, io.BytesIO(content))

    def keys(self, pki: Path) -> None:
        for path in sorted(pki.glob("*/*")):
            # A partial one is the remains of a write that was broken off.
            if path.is_file() and not path.name.startswith("."):
                with path.open("rb") as content:
                    self.stream(f"pki/{path.relative_to(pki)}", content, path.stat().st_mode & 0o777)

    def stream(self, name: str, content: IO[bytes], mode: int = 0o600) -> None:
        """A member of this content, all of it."""
        member = tarfile.TarInfo(name)
        member.size, member.mode = content.seek(0, io.SEEK_END), mode
        content.seek(0)
        self._tar.addfile(member, content)


@contextmanager
def written(path: Path, description: Description) -> Iterator[Writer]:
    """A snapshot that stands under its name when the block ends well, whole, and not at all otherwise."""
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        partial.touch(mode=0o600)
        with tarfile.open(partial, "w:gz", compresslevel=1) as tar:
            yield Writer(tar, description)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


class Snapshot:
    """A file that was read to its end and found whole. Raises Trouble if it is something else."""

    def __init__(self, path: Path) -> None:
        self._path = path
        advice = "Give a file that `wherry snapshot save` has written."
        try:
            with tarfile.open(path, "r:gz") as tar:
                self.description = _description(tar, path)
                # The check sum stands at the end, and whoever restores has taken down what was there before.
                self.names = [member.name for member in tar if _is_ours(member)]
                while tar.fileobj is not None and tar.fileobj.read(CHUNK):
                    pass
        except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, ValueError, KeyError, TypeError) as e:
            raise Trouble("snapshot", f"{path} is damaged, or no snapshot of a lab", str(e), advice) from e
        except OSError as e:
            raise Trouble("snapshot", f"{path} cannot be read", str(e), advice) from e

    def stream(self, name: str) -> Iterator[bytes]:
        """The content of a member, piece by piece."""
        with tarfile.open(self._path, "r:gz") as tar:
            content = tar.extractfile(name)
            assert content is not None  # only files are among the names
            while piece := content.read(CHUNK):
                yield piece

    def write_keys(self, pki: Path) -> None:
        with tarfile.open(self._path, "r:gz") as tar:
            for member in tar:
                content = tar.extractfile(member) if member.name.startswith("pki/") else None
                if content is not None:
                    place = pki / PurePosixPath(member.name).relative_to("pki")
                    pairs.replace(place, content.read(), member.mode & 0o644)


def _description(tar: tarfile.TarFile, path: Path) -> Description:
    first = tar.next()
    if first is None or first.name != DESCRIPTION or (content := tar.extractfile(first)) is None:
        raise ValueError(f"its first member is not {DESCRIPTION}")
    told = json.load(content)
    if told["format"] != FORMAT:
        advice = f"Restore it with the Wherry that wrote it; this one reads format {FORMAT}."
        raise Trouble("snapshot", f"{path} has format {told['format']}", advice=advice)
    return Description(**told)


def _is_ours(member: tarfile.TarInfo) -> bool:
    """Raises ValueError for what a snapshot never has: links, and names that lead elsewhere."""
    if not member.isfile() or PurePosixPath(member.name).is_absolute() or ".." in PurePosixPath(member.name).parts:
        raise ValueError(f"{member.name!r} has no place in a snapshot")
    return True
