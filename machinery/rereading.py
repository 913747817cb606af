"""Values made of files that others replace while the process runs: certificates, keys, authorities, kubeconfigs.

Whoever needs the value asks for it each time it is needed, and the files are looked at then: a stat of each, about a
microsecond.  Upstream looks once a minute and watches directories besides; asking at the time of use needs no task,
and what stands in the files counts from the next handshake on.
"""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")
Stamp = tuple[tuple[int, int, int] | None, ...]
log = logging.getLogger(__name__)


class Reread(Generic[T]):
    """`make` is called now, and again at the first use after one of `files` (None: there is none) was replaced.

    What cannot be made of new files, a certificate whose key is still to come for example, leaves the value as it is
    until they change once more. Raises what `make` does, but only now.  Safe to use from several threads.
    """

    def __init__(self, make: Callable[[], T], *files: Path | None) -> None:
        self._make = make
        self._files = tuple(file for file in files if file is not None)
        # Before the files are read: what is replaced while they are will be noticed.
        self._stamp = self._look()
        self._value = make()

    def __call__(self) -> T:
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp = stamp
            self._renew()
        return self._value

    def _renew(self) -> None:
        names = ", ".join(map(str, self._files))
        try:
            self._value = self._make()
        except (OSError, ValueError) as e:
            log.warning("%s changed and cannot be used, going on with what was there before: %s", names, e)
        else:
            log.info("reread %s", names)

    def _look(self) -> Stamp:
        return tuple(map(_stamp, self._files))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """A file written under another name and renamed has another inode, whatever its time says."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
