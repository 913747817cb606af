"""How many streams into pods there are at once: each is a connection here, one to the kubelet, and what waits between.

They have no seats (apiserver.flows), since they would keep them from those who come and go; upstream counts nothing.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from api.errors import TooManyRequests

MOST, MOST_EACH = 2000, 500
"""At one door, and of one user."""


class Sessions:
    def __init__(self, most: int = MOST, most_each: int = MOST_EACH) -> None:
        self._most = most
        self._most_each = most_each
        self._by_user: Counter[str] = Counter()
        self._all = 0

    @contextmanager
    def one_of(self, user: str) -> Iterator[None]:
        """One more, for as long as the block lasts.  Raises TooManyRequests."""
        if self._all >= self._most or self._by_user.get(user, 0) >= self._most_each:
            raise TooManyRequests("too many streams into pods, please try again later", {"retryAfterSeconds": 1})
        self._all += 1
        self._by_user[user] += 1
        try:
            yield
        finally:
            self._all -= 1
            self._by_user[user] -= 1
            if not self._by_user[user]:
                del self._by_user[user]
