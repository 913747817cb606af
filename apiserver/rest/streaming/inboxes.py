"""What a client has sent on one stream of several, until it is read."""

import asyncio
from collections.abc import AsyncIterator

WAITING = 16
"""Pieces that nobody has read yet; then nothing more is read from what carries the streams."""


class Inbox:
    def __init__(self) -> None:
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue(WAITING)
        """b"" is the end."""
        self._left = False

    async def take(self, data: bytes) -> None:
        """What came from the client, for whoever reads it; b"" is the end."""
        if not self._left:
            await self._pieces.put(data)

    def leave(self) -> None:
        """Nobody reads any more: what the client still sends must not keep others waiting."""
        self._left = True
        while not self._pieces.empty():
            self._pieces.get_nowait()

    def cut(self) -> None:
        """The client has gone: the end comes next, in the place of what there is no room for."""
        if self._pieces.full():
            self._pieces.get_nowait()
        self._pieces.put_nowait(b"")

    async def read(self) -> AsyncIterator[bytes]:
        """What the client sends, until it ends or resets the stream."""
        while piece := await self._pieces.get():
            yield piece
