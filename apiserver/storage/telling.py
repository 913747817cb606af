"""When watchers are told of what has changed.

One change in a quiet world goes out at once.  Of many, those of a few milliseconds go out together, the longer the
faster they come: a message costs what dozens of changes in it do, here and at each watcher.  And where telling is
itself work (a thousand watchers of one resource), it is done so often that it takes no more than about half of the
time: what is late for a moment then is many changes in one write, instead of one write for each.
"""

import asyncio
from typing import Protocol

JOIN_SECONDS, LONGEST_JOIN = 0.004, 0.016
PAUSE = 1.0
"""How many times as long as it takes to tell, nothing is told."""
LONGEST_PAUSE = 0.05
WAKING_SECONDS = 4e-5
"""What it costs to wake a task that then writes to its client."""


class Teller(Protocol):
    """A resource, as far as it has watchers."""

    due: float
    """The moment from which on its watchers may be told again."""
    join: float
    """For so many seconds changes are joined at the moment."""

    def tell(self) -> int:
        """Tell what has not been told. How many tasks were woken for it."""


class Telling:
    def __init__(self) -> None:
        self._untold: dict[Teller, int] = {}  # and how many changes
        self._timer: asyncio.Handle | None = None
        self._when = 0.0

    def changed(self, resource: Teller) -> None:
        """Something is to be told, after the next `schedule`."""
        self._untold[resource] = self._untold.get(resource, 0) + 1

    def forget(self, resource: Teller) -> None:
        self._untold.pop(resource, None)

    def schedule(self) -> None:
        """See to it that everything is told when it is due."""
        if not self._untold:
            return
        loop = asyncio.get_running_loop()
        when = max(loop.time(), min(resource.due for resource in self._untold))
        if self._timer is not None:
            if self._when <= when:
                return
            self._timer.cancel()
        self._when = when
        self._timer = loop.call_at(when, self._tell_due)

    def tell(self, resource: Teller | None = None) -> None:
        """Tell now what there is to tell about a resource, or about all of them."""
        for one in [r for r in self._untold if resource is None or r is resource]:
            self._tell(one)

    def _tell_due(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        for resource in [r for r in self._untold if r.due <= now]:
            self._tell(resource)
        self.schedule()

    def _tell(self, resource: Teller) -> None:
        several = self._untold.pop(resource) > 1
        clock = asyncio.get_running_loop().time
        began = clock()
        woken = resource.tell()
        ended = clock()
        pause = min(LONGEST_PAUSE, PAUSE * (ended - began + woken * WAKING_SECONDS))
        resource.join = min(2 * resource.join, LONGEST_JOIN) if several else JOIN_SECONDS
        resource.due = max(began + resource.join, ended + pause)
