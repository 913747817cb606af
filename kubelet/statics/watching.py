"""Being told of changes in a directory: inotify(7), which the standard library does not have."""

import asyncio
import ctypes
import logging
import os
from collections.abc import AsyncGenerator
from pathlib import Path

from kubelet.pods.means import first
from machinery.clocks import Clock

IN_CLOSE_WRITE, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE = 0x8, 0x40, 0x80, 0x100, 0x200
CHUNK = 1 << 16

log = logging.getLogger("watching")

_libc = ctypes.CDLL(None, use_errno=True)


async def changes(
    directory: Path, period: float, clock: Clock, *, created: bool = False
) -> AsyncGenerator[None, None]:  # fmt: skip
    """Begins with one, and yields whenever something in the directory may have changed, and every `period` seconds:
    the directory need not exist yet, and a file system of somebody else's may not tell.  `created`: also when
    something has just been made, which for a file is too early, since it is still being written, and for a socket all
    that there is.  Where the kernel tells nobody more (a user has 128 such handles), the period is all."""
    told = asyncio.Event()
    handle = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if handle < 0:
        log.warning("looking at %s every %s s only: %s", directory, period, os.strerror(ctypes.get_errno()))
        while True:
            yield
            await clock.sleep(period)

    def read() -> None:
        os.read(handle, CHUNK)
        told.set()

    loop = asyncio.get_running_loop()
    loop.add_reader(handle, read)
    try:
        while True:
            # Adding it again changes nothing, unless another directory has taken its place.
            wanted = IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE | (IN_CREATE if created else 0)
            _libc.inotify_add_watch(handle, os.fsencode(directory), wanted)
            told.clear()
            yield
            await first(told.wait(), clock.sleep(period))
    finally:
        loop.remove_reader(handle)
        os.close(handle)
