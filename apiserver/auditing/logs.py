"""Where audit events go. They are written by a thread, some time later; the one who tells of them never waits.

What cannot be written fast enough is dropped and counted, as upstream's batching backend does: an API server that
stands still because a disk is full is worse.
"""

import asyncio
import contextlib
import logging
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

ROOM = 20_000
STDOUT = "-"
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """0 means none."""

    megabytes: int = 100
    """A file that grows beyond this is renamed, and a new one begun."""
    backups: int = 0
    days: int = 0


class Log:
    """`path` is a file, or - for standard output.  Raises OSError if it cannot be opened."""

    def __init__(self, path: str, limits: Limits | None = None) -> None:
        self._path = None if path == STDOUT else Path(path)
        self._limits = limits or Limits()
        self._waiting: list[bytes] = []
        self._some = asyncio.Event()
        self._dropped = 0
        self._writing = False
        self._file: BinaryIO = sys.stdout.buffer if self._path is None else self._opened(self._path)

    @property
    def idle(self) -> bool:
        """Whether everything that was told is written."""
        return not self._waiting and not self._writing

    def tell(self, event: bytes) -> None:
        if len(self._waiting) >= ROOM:
            self._dropped += 1
            return
        self._waiting.append(event)
        self._some.set()

    async def run(self) -> None:
        """Write until cancelled, and then what is left."""
        loop = asyncio.get_running_loop()
        writing: asyncio.Future[None] | None = None
        try:
            while True:
                await self._some.wait()
                self._some.clear()
                taken, self._waiting = self._waiting, []
                self._writing = True
                if self._dropped:
                    log.error("the audit log is too slow: %d events were dropped", self._dropped)
                    self._dropped = 0
                # Shielded: an event that was taken is written even if the server ends meanwhile.
                writing = loop.run_in_executor(None, self._write, taken)
                await asyncio.shield(writing)
                self._writing = False
        finally:
            if writing is not None and not writing.done():
                await asyncio.wait([writing])
            self._write(self._waiting)
            if self._path is not None:
                self._file.close()

    def _write(self, events: list[bytes]) -> None:
        if not events:
            return
        try:
            self._file.write(b"".join(event + b"\n" for event in events))
            self._file.flush()
            if self._path is not None and self._limits.megabytes and self._file.tell() >= self._limits.megabytes << 20:
                self._rotate(self._path)
        except (OSError, ValueError) as e:
            log.error("%d audit events could not be written: %s", len(events), e)

    def _opened(self, path: Path) -> BinaryIO:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(0o600)
        return path.open("ab")

    def _rotate(self, path: Path) -> None:
        """`audit.log` becomes `audit-2026-11-23T12-00-00.000.log`, as upstream's does."""
        self._file.close()
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H-%M-%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}"
        with contextlib.suppress(FileNotFoundError):
            path.rename(path.with_name(f"{path.stem}-{stamp}{path.suffix}"))
        self._file = self._opened(path)
        backups = sorted(path.parent.glob(f"{path.stem}-*{path.suffix}"), reverse=True)
        for at, backup in enumerate(backups):
            old = self._limits.days and now - backup.stat().st_mtime > self._limits.days * 86400
            if old or (self._limits.backups and at >= self._limits.backups):
                backup.unlink(missing_ok=True)
