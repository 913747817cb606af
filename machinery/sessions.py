"""How many of something there are at once, in all and of one client, where each lasts as long as its client likes."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from api.errors import TooManyRequests


class Sessions:
    def __init__(self, most: int, most_each: int, of: str = "requests") -> None:
        """`of` is what there are too many of, for whoever is refused."""
        self._most = most
        self._most_each = most_each
        self._of = of
        self._by_client: Counter[str] = Counter()
        self._all = 0

    @contextmanager
    def one_of(self, client: str) -> Iterator[None]:
        """One more, for as long as the block lasts.  Raises TooManyRequests."""
        if self._all >= self._most or self._by_client.get(client, 0) >= self._most_each:
            raise TooManyRequests(f"too many {self._of}, please try again later", {"retryAfterSeconds": 1})
        self._all += 1
        self._by_client[client] += 1
        try:
            yield
        finally:
            self._all -= 1
            self._by_client[client] -= 1
            if not self._by_client[client]:
                del self._by_client[client]
