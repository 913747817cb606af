"""Answers that hold for a while, and those that always hold."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Generic, ParamSpec, TypeVar

from machinery.clocks import Clock

K = TypeVar("K")
V = TypeVar("V")
MOST = 4096
LONGEST = 1024
P = ParamSpec("P")


def remembered(most: int) -> Callable[[Callable[P, V]], Callable[P, V]]:
    """For functions of texts that clients choose: an lru_cache that forgets the long ones at once.

    A megabyte is a fine selector, and a thousand of them are a gigabyte.
    """

    def decorate(function: Callable[P, V]) -> Callable[P, V]:
        known = lru_cache(maxsize=most)(function)

        @wraps(function)
        def ask(*args: P.args, **kwargs: P.kwargs) -> V:
            if any(isinstance(each, str) and len(each) > LONGEST for each in args):
                return function(*args, **kwargs)
            return known(*args, **kwargs)  # type: ignore[arg-type]

        return ask

    return decorate


class Memory(Generic[K, V]):
    """What was `put` is in it until its time is over, or until there is no room for it any more: the oldest goes."""

    def __init__(self, clock: Clock, most: int = MOST) -> None:
        self._clock = clock
        self._most = most
        self._kept: dict[K, tuple[float, V]] = {}

    def __contains__(self, key: K) -> bool:
        kept = self._kept.get(key)
        if kept is not None and kept[0] <= self._clock.monotonic():
            del self._kept[key]
            return False
        return kept is not None

    def __getitem__(self, key: K) -> V:
        return self._kept[key][1]

    def put(self, key: K, value: V, seconds: float) -> None:
        self._kept.pop(key, None)
        if len(self._kept) >= self._most:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = self._clock.monotonic() + seconds, value
