"""Build contexts as tar archives that depend on nothing but their files' names, modes and contents."""

import hashlib
import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

IGNORED = {"__pycache__", ".mypy_cache", ".pytest_cache"}


def files(root: Path, *below: str) -> list[tuple[str, Path]]:
    """Every file under `root` (or under its entries `below` only): name in the archive and path, sorted."""
    places = [root / name for name in below] or [root]
    found = {path for place in places for path in ([place] if place.is_file() else place.rglob("*"))}
    keep = (p for p in found if p.is_file() and not IGNORED & set(p.parts) and p.suffix not in {".pyc", ".proto"})
    return sorted((str(path.relative_to(root)), path) for path in keep)


def archive(entries: Iterable[tuple[str, Path]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, path in entries:
            info = tar.gettarinfo(path, name)
            info.mtime = info.uid = info.gid = 0
            info.uname = info.gname = ""
            info.mode = 0o755 if info.mode & 0o100 else 0o644
            if info.isreg():
                with path.open("rb") as content:
                    tar.addfile(info, content)
            else:
                tar.addfile(info)
    return buffer.getvalue()


def digest(*parts: bytes | str) -> str:
    """One hash over parts whose borders count."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "big"))
        total.update(data)
    return total.hexdigest()
