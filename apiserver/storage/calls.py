"""One call on a connection to etcd: what was received of it, and how it ended.

When a call fails, `NotSent` says that the server has not begun it, so that it may be made again, and `Lost` that nobody
knows.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

UNKNOWN, UNAVAILABLE = 2, 14
"""gRPC's numbers: https://grpc.io/docs/guides/status-codes/"""


class Status(Exception):
    """The server's answer: a gRPC status other than OK."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text or f"gRPC status {code}")
        self.code = code
        self.text = text


class Lost(Exception):
    """The call was sent, and there will be no answer."""


class NotSent(Exception):
    """The server has not begun the call, and will not."""


class Call:
    __slots__ = ("begun", "ended", "ending", "error", "number", "received", "taken", "unsent", "waiter", "window")

    def __init__(self, number: int, unsent: bytes, window: int, ending: int, begun: float) -> None:
        self.number = number
        self.unsent = unsent
        self.window = window
        self.ending = ending
        """END_STREAM if the request is all that is sent: one answer follows."""
        self.begun = begun
        self.received: deque[bytes] = deque()
        self.taken = 0
        self.ended = False
        self.error: Exception | None = None
        self.waiter: asyncio.Future[None] | None = None

    async def more(self) -> None:
        """Returns when something has been received, or it has ended."""
        self.waiter = asyncio.get_running_loop().create_future()
        await self.waiter

    def end(self, error: Exception | None) -> None:
        """What comes after the first end, a reset after a refusal, says nothing new."""
        if not self.ended:
            self.ended, self.error = True, error
            self.wake()

    def wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


def outcome(headers: Mapping[bytes, bytes]) -> Exception | None:
    """What the trailers say; None if all is well."""
    code = headers.get(b"grpc-status")
    if code is None:
        return Status(UNAVAILABLE, f"HTTP status {headers.get(b':status', b'').decode()}")
    if code == b"0":
        return None
    text = unquote_to_bytes(headers.get(b"grpc-message", b"")).decode(errors="replace")
    return Status(int(code) if code.isdigit() else UNKNOWN, text)
