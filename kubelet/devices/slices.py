"""Removing what a driver has published of this node and nobody keeps up to date: pods that are sent here for such a
device would wait for a driver that is not there.
"""

import asyncio
import logging
import random
from collections.abc import Callable

from api import errors
from api.types import ResourceSlice
from machinery.client import Client
from machinery.clocks import Clock

DELAY = 30.0  # a driver has this long to come back, as upstream
FIRST_RETRY, LONGEST_RETRY = 1.0, 300.0

log = logging.getLogger("devices")


class Sweeper:
    """`usable` says whether a driver can be called now."""

    def __init__(self, client: Client, node: str, usable: Callable[[str], bool], clock: Clock) -> None:
        self._client = client
        self._node = node
        self._usable = usable
        self._clock = clock
        self._due: dict[str, asyncio.Task[None]] = {}
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self, *, at_first: bool = True) -> None:
        """Until cancelled.  `at_first`: remove what all drivers had published before; those that are there do so
        again."""
        async with asyncio.TaskGroup() as self._tasks:
            if at_first:
                self._tasks.create_task(self._sweep(""))
            try:
                await asyncio.Event().wait()
            finally:
                self._tasks = None  # a kubelet that stops loses its drivers; that is nothing to remove slices for

    def changed(self, driver: str) -> None:
        """It came, went, or was lost."""
        if self._usable(driver):
            if (due := self._due.pop(driver, None)) is not None:
                due.cancel()
        elif driver not in self._due and self._tasks is not None:
            self._due[driver] = self._tasks.create_task(self._after(driver))

    async def _after(self, driver: str) -> None:
        await self._clock.sleep(DELAY)
        await self._sweep(driver)
        self._due.pop(driver, None)

    async def _sweep(self, driver: str) -> None:
        """The slices of one driver, "": of all."""
        selector = f"spec.nodeName={self._node}" + (f",spec.driver={driver}" if driver else "")
        wait = FIRST_RETRY
        while True:
            try:
                await self._client.delete_collection(ResourceSlice, field_selector=selector)
            except errors.ApiError as e:
                log.info("removing the resource slices of %s: %s", driver or "all drivers", e)
                await self._clock.sleep(wait * random.uniform(1, 1.2))
                wait = min(2 * wait, LONGEST_RETRY)
            else:
                log.debug("the resource slices of %s are gone", driver or "all drivers")
                return
