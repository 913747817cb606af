"""Removing images that nobody uses when the disk fills, or when they have not been used for too long.
https://kubernetes.io/docs/concepts/architecture/garbage-collection/#container-image-garbage-collection

The engine may serve other nodes and its owner too.  So only an image that a kubelet pulled may go, and only while every
name that it has is one it was pulled by: what was built here, loaded, pulled by hand or renamed is somebody's.
"""

import logging
import math
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from kubelet.images import names
from kubelet.images.records import Access, Records
from kubelet.runtime.interfaces import EngineError, Image, Runtime
from machinery.clocks import Clock

PERIOD = 300.0
BEFORE = -math.inf
"""Before this process."""

log = logging.getLogger("images")


@dataclass(frozen=True, slots=True)
class Thresholds:
    """In percent of the disk, and in seconds."""

    high: int = 85
    low: int = 80
    least_age: float = 120.0
    longest_unused: float = 0.0  # 0: for ever


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system that holds the images, in bytes."""

    capacity: int
    available: int


@dataclass(frozen=True, slots=True)
class Seen:
    """An image, when it was first seen, and when it was last found in use, by a clock that nobody sets."""

    image: Image
    since: float
    used: float = BEFORE


class CannotFree(Exception):
    """In upstream's words."""


def excess(disk: Disk, thresholds: Thresholds) -> int:
    """Bytes to be freed: down to the lower threshold once the higher one is reached."""
    used = 100 - min(disk.available, disk.capacity) * 100 // disk.capacity
    if used < thresholds.high:
        return 0
    return max(0, disk.capacity * (100 - thresholds.low) // 100 - disk.available)


def removable(seen: Iterable[Seen], now: float, thresholds: Thresholds) -> list[Seen]:
    """The longest unused first; not those in use, and not those that came a moment ago for somebody."""
    free = [s for s in seen if s.used < now and now - s.since >= thresholds.least_age]
    return sorted(free, key=lambda s: (s.used, s.since, s.image.id))


def old(seen: Iterable[Seen], now: float, began: float, thresholds: Thresholds) -> list[Seen]:
    """Those not used for too long.  How long that is in truth, a process knows that has run for longer."""
    longest = thresholds.longest_unused
    if not longest or now - began <= longest:
        return []
    return [s for s in seen if now - s.used > longest]


def is_kubelets(image: Image, access: Mapping[str, Access] | None) -> bool:
    """Whether kubelets have pulled it, by every name that it has."""
    if access is None:
        return False
    try:
        return all(names.repository(name) in access for name in image.names)
    except names.InvalidName:
        return False


class Collector:
    """Looks at the images every five minutes.  `pinned` are images that stay; `tell` says what the node's events are.

    `free_unused` is for whoever needs the disk at once.
    """

    def __init__(
        self, runtime: Runtime, records: Records, disk: Callable[[], Disk], tell: Callable[[str, str, str], None],
        clock: Clock, thresholds: Thresholds, pinned: Collection[str] = (),
    ) -> None:  # fmt: skip
        self._runtime = runtime
        self._records = records
        self._disk = disk
        self._tell = tell
        self._clock = clock
        self._thresholds = thresholds
        self._pinned = pinned
        self._seen: dict[str, Seen] = {}
        self._began = clock.monotonic()

    async def run(self) -> None:
        failed = False
        await self._look(BEFORE)
        while True:
            await self._clock.sleep(PERIOD)
            try:
                await self.collect()
            except (CannotFree, EngineError) as e:
                log.warning("image garbage collection: %s", e)
                if failed:  # once may be a disk that was full for a moment
                    self._tell("Warning", "ImageGCFailed", str(e))
                failed = True
            else:
                failed = False

    async def collect(self) -> None:
        """Raises CannotFree or EngineError."""
        now = self._clock.monotonic()
        await self._look(now)
        _, faults = await self._remove(old(self._candidates(now), now, self._began, self._thresholds), sys.maxsize)
        await self._relieve(now)
        if faults:
            longest = self._thresholds.longest_unused
            why = f"wanted to free images older than {longest:g}s, encountered errors in image deletion"
            raise EngineError(f"{why}: [{', '.join(faults)}]")

    async def _relieve(self, now: float) -> None:
        """Down to the lower threshold, if the disk is beyond the higher one.  Raises CannotFree or EngineError."""
        disk = self._disk()
        if not disk.capacity:
            self._tell("Warning", "InvalidDiskCapacity", "invalid capacity 0 on image filesystem")
            raise CannotFree("invalid capacity 0 on image filesystem")
        wanted = excess(disk, self._thresholds)
        if wanted and (freed := await self._free(wanted, now)) < wanted:
            why = (
                f"Failed to garbage collect required amount of images. Attempted to free {wanted} bytes, "
                f"but only found {freed} bytes eligible to free."
            )
            self._tell("Warning", "FreeDiskSpaceFailed", why)
            raise CannotFree(why)

    async def free_unused(self) -> int:
        """Remove all that nobody uses, however full the disk is; the bytes that went.  Raises EngineError."""
        now = self._clock.monotonic()
        await self._look(now)
        return await self._free(sys.maxsize, now)

    async def _look(self, now: float) -> None:
        """`now` is when an image that is new was first seen."""
        try:
            images, used = await self._runtime.images(), await self._runtime.used_images()
        except EngineError as e:
            if now > BEFORE:
                raise
            log.warning("looking at the engine's images: %s", e)
            return
        before, self._seen = self._seen, {}
        for image in images:
            last = before.get(image.id, Seen(image, now))
            self._seen[image.id] = Seen(image, last.since, self._clock.monotonic() if image.id in used else last.used)

    def _candidates(self, now: float) -> list[Seen]:
        found = removable(self._seen.values(), now, self._thresholds)
        return [
            s for s in found
            if not self._pinned_names(s.image) and is_kubelets(s.image, self._records.of(s.image.id))
        ]  # fmt: skip

    def _pinned_names(self, image: Image) -> bool:
        return any(name in self._pinned for name in image.names)

    async def _free(self, wanted: int, now: float) -> int:
        freed, faults = await self._remove(self._candidates(now), wanted)
        if faults:
            why = f"wanted to free {wanted} bytes, but freed {freed} bytes space with errors in image deletion"
            raise EngineError(f"{why}: [{', '.join(faults)}]")
        return freed

    async def _remove(self, images: Iterable[Seen], wanted: int) -> tuple[int, list[str]]:
        """The first ones, until so many bytes are free; (how many are, what the engine refused)."""
        freed, faults = 0, []
        for each in images:
            if freed >= wanted:
                break
            log.info("removing image %s to free %d bytes", each.image.id, each.image.size)
            try:
                await self._runtime.remove_image(each.image)
            except EngineError as e:
                faults.append(str(e))
                continue
            freed += each.image.size
            self._records.forget(each.image.id)
            self._seen.pop(each.image.id, None)
        return freed, faults
