"""The work queue of a controller: each key at most once, never in two hands, and later if it failed.

The rules, from which everything below follows:
- a key that is added while it waits is there once;
- a key that is added while it is being worked on is handed out again when that work is done, not before;
- a key whose work failed comes back after 5 ms, 10 ms, 20 ms … at most 1000 s, or what else is said, until `forget`.
"""

import asyncio
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

FIRST_RETRY = 0.005
LONGEST_RETRY = 1000.0


class WorkQueue(Generic[K]):
    """For one event loop. Bounded by the number of distinct keys, since each stands in it once."""

    def __init__(self, *, longest_retry: float = LONGEST_RETRY) -> None:
        self.adds = 0
        self.retries = 0
        self.on_wait: Callable[[float], None] | None = None
        """Told how many seconds a key waited for a worker; `on_work`: how long that worked on it."""
        self.on_work: Callable[[float], None] | None = None
        self._longest_retry = longest_retry
        self._waiting: dict[K, float] = {}  # since when, in the order of arrival
        self._working: dict[K, float] = {}  # since when
        self._again: set[K] = set()
        self._failures: dict[K, int] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._arrived = asyncio.Event()

    def add(self, key: K) -> None:
        if key in self._working:
            self._again.add(key)
        elif key not in self._waiting:
            self.adds += 1
            self._waiting[key] = time.monotonic()
            self._arrived.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Add it when `seconds` have passed; of several such wishes the earliest counts."""
        if seconds <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        when = loop.time() + seconds
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= when:
                return
            timer.cancel()
        self._timers[key] = loop.call_at(when, self._due, key)

    def _due(self, key: K) -> None:
        del self._timers[key]
        self.add(key)

    def retry(self, key: K) -> None:
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self.retries += 1
        self.add_after(key, min(FIRST_RETRY * 2 ** min(failures, 30), self._longest_retry))

    def failures(self, key: K) -> int:
        return self._failures.get(key, 0)

    def forget(self, key: K) -> None:
        """The key's work went well: its next failure is its first."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """The next key, which is the caller's until `done`."""
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        key = next(iter(self._waiting))
        since = self._waiting.pop(key)
        self._working[key] = now = time.monotonic()
        if self.on_wait is not None:
            self.on_wait(now - since)
        return key

    def done(self, key: K) -> None:
        began = self._working.pop(key, None)
        if began is not None and self.on_work is not None:
            self.on_work(time.monotonic() - began)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def close(self) -> None:
        """Stop the timers; what waits is dropped."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._waiting.clear()

    def __len__(self) -> int:
        """How many keys wait to be worked on now."""
        return len(self._waiting)

    @property
    def working(self) -> int:
        return len(self._working)

    def working_for(self) -> list[float]:
        """How many seconds each key has been worked on that is in hand now."""
        now = time.monotonic()
        return [now - began for began in self._working.values()]
