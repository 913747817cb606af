"""What a subPath leads to, held fast before the engine mounts it.

A container that shares the volume can swap a directory for a link at any moment, so a path that was looked at may lead
elsewhere by the time the engine follows it.  Therefore the path is walked once, by openat2, which the kernel keeps
beneath the volume, and what it led to is mounted at a place of the kubelet's own that no container can reach.  The
engine is given that place (upstream: PrepareSafeSubpath).

The place must be in the mount namespace that the engine mounts from.  A kubelet in a container has another one, and
nothing is shared between the two: so each step is done by a thread that joins the engine's and ends.  That needs
SYS_ADMIN, SYS_CHROOT and SYS_PTRACE, which a node's kubelet has for other reasons.
"""

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from threading import Thread
from typing import TypeVar

T = TypeVar("T")
OPEN_TREE, MOVE_MOUNT, OPENAT2 = 428, 429, 437  # the same on every architecture
CLONE_FS, CLONE_NEWNS = 0x200, 0x20000
AT_FDCWD, AT_EMPTY_PATH, AT_RECURSIVE, OPEN_TREE_CLONE = -100, 0x1000, 0x8000, 1
MOVE_MOUNT_F_EMPTY_PATH = 4
NO_MAGIC_LINKS, BENEATH, IN_ROOT = 0x02, 0x08, 0x10
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8
RENAMED_MEANWHILE = 32  # how often a walk is begun anew because somebody renames directories below it
MOST_READ = 1 << 20

_libc = ctypes.CDLL(None, use_errno=True)


class Pinning:
    """`process` names the engine's, in whose mount namespace it all happens.  Where there is none, paths are only
    walked, here, and the engine is given what was found.  Raises OSError, also for a path that leaves its volume."""

    def __init__(self, process: Callable[[], int | None] = lambda: None) -> None:
        self._process = process

    def pin(self, volume: Path, inner: str, at: Path, *, create: bool = False) -> Path:
        """Where that can be mounted from which `inner` leads to, below the volume.  What is missing of it is made, as
        directories; `create`: the volume's own directory too."""
        process = self._process()

        def held() -> Path:
            if create:
                volume.mkdir(parents=True, exist_ok=True)
            with _opened(os.open(volume, os.O_PATH | os.O_DIRECTORY)) as root, _opened(_found(root, inner)) as found:
                if process is None:
                    return Path(os.readlink(f"/proc/self/fd/{found}"))
                _place(found, at)
                _mount(found, at)
                return at

        return _inside(process, held)

    def release(self, places: Path) -> None:
        """Take away what is pinned in this directory, and the directory."""
        if places.exists():
            _inside(self._process(), lambda: _release(places))

    def read(self, volume: Path, inner: str) -> bytes:
        """A file of the volume; links in it are followed as if the volume was the root directory."""

        # A pipe that a container has put there must not hold the kubelet up.
        flags = os.O_RDONLY | os.O_NONBLOCK

        def data() -> bytes:
            with (
                _opened(os.open(volume, os.O_PATH | os.O_DIRECTORY)) as root,
                _opened(_open(root, inner, flags, IN_ROOT)) as file,
            ):
                if not stat.S_ISREG(os.fstat(file).st_mode):
                    raise OSError(errno.EINVAL, "not a regular file", inner)
                return os.read(file, MOST_READ)

        return _inside(self._process(), data)


def _inside(process: int | None, function: Callable[[], T]) -> T:
    if process is None:
        return function()
    outcome: Future[T] = Future()
    thread = Thread(target=_join, args=(process, function, outcome))
    thread.start()
    thread.join()
    return outcome.result()


def _join(process: int, function: Callable[[], T], outcome: Future[T]) -> None:
    """Never undone: the thread ends with it."""
    try:
        with _opened(os.open(f"/proc/{process}/ns/mnt", os.O_RDONLY)) as namespace:
            _checked(_libc.unshare(CLONE_FS), "unshare")
            _checked(_libc.setns(namespace, CLONE_NEWNS), "setns")
        outcome.set_result(function())
    except BaseException as e:
        outcome.set_exception(e)


@contextmanager
def _opened(handle: int) -> Iterator[int]:
    try:
        yield handle
    finally:
        os.close(handle)


def _found(root: int, inner: str) -> int:
    with suppress(FileNotFoundError):
        return _open(root, inner, os.O_PATH)
    mode = stat.S_IMODE(os.fstat(root).st_mode)
    parts = PurePosixPath(inner).parts
    for n, part in enumerate(parts):
        with _opened(_open(root, str(PurePosixPath(*parts[:n])), os.O_PATH | os.O_DIRECTORY)) as parent:
            _make(parent, part, mode)
    return _open(root, inner, os.O_PATH)


def _make(parent: int, name: str, mode: int) -> None:
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        return
    # Not through the umask; and if it has been swapped for another directory meanwhile, that one is the volume's too.
    with _opened(os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)) as made:
        os.fchmod(made, mode)


def _open(root: int, path: str, flags: int, resolve: int = BENEATH) -> int:
    how = struct.pack("QQQ", flags | os.O_CLOEXEC, 0, resolve | NO_MAGIC_LINKS)
    for _ in range(RENAMED_MEANWHILE):
        handle = _libc.syscall(OPENAT2, root, os.fsencode(path), how, len(how))
        if handle >= 0 or ctypes.get_errno() != errno.EAGAIN:
            break
    return _checked(handle, path)


def _place(found: int, at: Path) -> None:
    at.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    if stat.S_ISDIR(os.fstat(found).st_mode):
        at.mkdir(exist_ok=True)
    else:
        at.touch(exist_ok=True)


def _mount(found: int, at: Path) -> None:
    flags = AT_EMPTY_PATH | OPEN_TREE_CLONE | AT_RECURSIVE | os.O_CLOEXEC
    with _opened(_checked(_libc.syscall(OPEN_TREE, found, b"", flags), "open_tree")) as tree:
        moved = _libc.syscall(MOVE_MOUNT, tree, b"", AT_FDCWD, os.fsencode(at), MOVE_MOUNT_F_EMPTY_PATH)
        _checked(moved, str(at))


def _release(places: Path) -> None:
    # Never deeper: below a place that is still mounted are the volume's own files.
    for place in places.iterdir():
        while _libc.umount2(os.fsencode(place), MNT_DETACH | UMOUNT_NOFOLLOW) == 0:
            continue
        if ctypes.get_errno() != errno.EINVAL:  # which says that nothing is mounted there
            raise OSError(ctypes.get_errno(), "umount", str(place))
        if place.is_dir():
            place.rmdir()
        else:
            place.unlink()
    places.rmdir()


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result
