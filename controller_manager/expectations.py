"""What a controller has done and its informer has not shown yet.

A controller counts what it sees. Between a creation and its appearance in the informer it would count too little and
create again, so it remembers the uid of everything that it created or deleted, and decides nothing about that key
until the informer has shown each. A watch can swallow an object that lived for a moment only, so nothing is waited
for longer than five minutes (upstream's ExpectationsTimeout).
"""

from api.meta import Key
from machinery.clocks import Clock

TIMEOUT = 300.0


class Expectations:
    """For one event loop; the keys are those of the controller's own objects."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: dict[Key, dict[str, float]] = {}

    def expect(self, key: Key, uid: str) -> None:
        """The informer does not show yet what was done to the object `uid`."""
        self._waiting.setdefault(key, {})[uid] = self._clock.monotonic() + TIMEOUT

    def observed(self, key: Key, uid: str) -> None:
        """The informer has shown it."""
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.pop(uid, None)
            if not waiting:
                del self._waiting[key]

    def remaining(self, key: Key) -> float:
        """0 if everything was shown or waited for long enough; else the seconds until it will have been."""
        waiting = self._waiting.get(key)
        if not waiting:
            return 0.0
        left = max(waiting.values()) - self._clock.monotonic()
        if left > 0:
            return left
        del self._waiting[key]
        return 0.0

    def forget(self, key: Key) -> None:
        """The controller's object is gone."""
        self._waiting.pop(key, None)
