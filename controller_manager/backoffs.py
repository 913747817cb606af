"""How long to wait before a pod that keeps failing is replaced once more."""

from collections.abc import Hashable

from machinery.clocks import Clock

FIRST = 1.0
LONGEST = 15 * 60.0


class Backoffs:
    """1 s, 2 s, 4 s … at most 15 minutes after the last replacement; forgotten after twice the longest in peace."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: dict[Hashable, tuple[float, float]] = {}  # when, and how long to wait from then

    def remaining(self, key: Hashable) -> float:
        """Seconds to wait yet; 0 if it may be done now."""
        since, pause = self._last.get(key, (0.0, 0.0))
        return max(0.0, since + pause - self._clock.monotonic())

    def note(self, key: Hashable) -> None:
        """It is being done now."""
        now = self._clock.monotonic()
        self._last = {k: v for k, v in self._last.items() if now - v[0] < 2 * LONGEST}
        _, pause = self._last.get(key, (0.0, 0.0))
        self._last[key] = (now, min(2 * pause, LONGEST) or FIRST)
