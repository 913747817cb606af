"""A controller: keys come in, the world is read, one step is written.

A reconciler gets a key and nothing else, so that a missed, doubled or late event cannot mislead it
(https://kubernetes.io/docs/concepts/architecture/controller/).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from api import errors
from api.meta import Key
from machinery.informers import Informer
from machinery.queues import LONGEST_RETRY, WorkQueue

Reconcile = Callable[[Key], Awaitable[float | None]]
"""Answers with the seconds after which to look again, or None. An exception means: again after a back-off."""


class Controller:
    """Reconciles the keys of its queue with several workers, one key never in two of them."""

    def __init__(
        self, name: str, reconcile: Reconcile, *, workers: int = 5, informers: Sequence[Informer[Any]] = (),
        longest_retry: float = LONGEST_RETRY,
    ) -> None:  # fmt: skip
        self.name = name
        self.queue: WorkQueue[Key] = WorkQueue(longest_retry=longest_retry)
        self.reconciled = 0
        self.failed = 0
        self.last_error = ""
        self._reconcile = reconcile
        self._workers = workers
        self._informers = informers
        self._log = logging.getLogger(name)
        self._waiters: dict[Key, list[asyncio.Future[str]]] = {}

    async def run(self) -> None:
        """Works until cancelled, once its informers know the world: half of it would look like deletions."""
        for informer in self._informers:
            await informer.synced()
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(self._workers):
                    tasks.create_task(self._work())
        finally:
            self.queue.close()

    async def _work(self) -> None:
        while True:
            await self.step()

    async def step(self) -> None:
        """Wait for one key and reconcile it once."""
        key = await self.queue.get()
        waiters = self._waiters.pop(key, [])  # whoever comes later wants to know of what is read from then on
        error = ""
        try:
            again = await self._reconcile(key)
        except errors.Conflict as e:
            # Somebody else wrote first. That is how optimistic concurrency works, and no reason for a warning.
            error = str(e)
            self._log.debug("reconciling %s: %s", key, e)
            self.queue.retry(key)
        except Exception as e:  # whatever went wrong, the other keys must go on
            error = str(e) or repr(e)
            self.failed += 1
            self.last_error = f"{key}: {error}"
            self._log.warning("reconciling %s: %s", key, error, exc_info=not isinstance(e, errors.ApiError))
            self.queue.retry(key)
        else:
            self.queue.forget(key)
            if again is not None:
                self.queue.add_after(key, again)
        finally:
            self.reconciled += 1
            self.queue.done(key)
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(error)

    async def reconcile_now(self, key: Key) -> str:
        """Reconcile `key` as soon as a worker is free; what went wrong, or ""."""
        waiter: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(key, []).append(waiter)
        self.queue.add(key)
        return await waiter
