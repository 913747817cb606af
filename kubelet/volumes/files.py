"""Sets of files that change all at once.

A volume's visible names are links through one link, `..data`, to a directory with a time stamp; an update makes a new
directory and then renames one link over `..data`, so that a reader sees the old files or the new ones, never a mixture
(upstream: AtomicWriter).
"""

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

DATA = "..data"


@dataclass(frozen=True, slots=True)
class File:
    data: bytes
    mode: int = 0o644
    owner: int | None = None
    """None: the kubelet's own user."""


def write(directory: Path, files: Mapping[str, File], group: int | None = None) -> bool:
    """Make `directory` hold exactly `files` (by relative path).  True if anything changed."""
    directory.mkdir(parents=True, exist_ok=True)
    old = _target(directory)
    if old is not None and _same(old, files):
        _link_names(directory, files)  # a kubelet that ended right after its renaming has not come to that
        return False
    fresh = Path(tempfile.mkdtemp(prefix="..", dir=directory))
    fresh.chmod(0o755)
    for name, file in files.items():
        path = fresh / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.data)
        path.chmod(file.mode | (0o440 if group is not None else 0))
        if group is not None:
            os.chown(path, -1, group)
        if file.owner is not None:
            os.chown(path, file.owner, -1)
    link = directory / "..data_tmp"
    link.unlink(missing_ok=True)
    link.symlink_to(fresh.name)
    link.rename(directory / DATA)
    _link_names(directory, files)
    _leave_only(directory, fresh)
    return True


def _leave_only(directory: Path, fresh: Path) -> None:
    """The files before these go, and whatever an update that was broken off has made: the disk may have been full."""
    for path in directory.iterdir():
        if path.name.startswith("..") and path.is_dir() and not path.is_symlink() and path != fresh:
            shutil.rmtree(path)


def _target(directory: Path) -> Path | None:
    data = directory / DATA
    return directory / data.readlink() if data.is_symlink() else None


def _same(directory: Path, files: Mapping[str, File]) -> bool:
    present = {str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file()}
    return present == set(files) and all((directory / n).read_bytes() == f.data for n, f in files.items())


def _link_names(directory: Path, files: Mapping[str, File]) -> None:
    wanted = {PurePosixPath(name).parts[0] for name in files}
    for name in wanted:
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(f"{DATA}/{name}")
    for path in directory.iterdir():
        if not path.name.startswith("..") and path.name not in wanted:
            path.unlink()
