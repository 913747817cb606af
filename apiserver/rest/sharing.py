"""Large answers that many ask for at once: made once, and held once.

Fifty clients that list ten thousand pods as a table, and read slowly, are told the same bytes.  Nothing is kept for
later: what nobody is being sent any more is gone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from weakref import WeakValueDictionary

from aiohttp import web

from apiserver.rest import responses

PIECE = 256 * 1024
SLOWEST = 60.0
"""Seconds that sending may take, all of it: upstream gives as many to a whole request."""


class Body:
    """The bytes of an answer; alive as long as somebody is being sent them."""

    __slots__ = ("__weakref__", "content")

    def __init__(self, content: bytes) -> None:
        self.content = content


class Sharing:
    def __init__(self) -> None:
        self._made: WeakValueDictionary[Hashable, Body] = WeakValueDictionary()
        self._making: dict[Hashable, asyncio.Task[Body]] = {}

    async def body(self, key: Hashable, make: Callable[[], Awaitable[bytes]]) -> Body:
        """What `make` makes, or is making or has made for somebody else under the same key.  Raises what it does."""
        if (made := self._made.get(key)) is not None:
            return made
        task = self._making.get(key)
        if task is None:
            task = self._making[key] = asyncio.create_task(self._make(key, make))
            task.add_done_callback(lambda _: self._making.pop(key, None))
        return await asyncio.shield(task)  # whoever gives up does not take it from the others

    async def _make(self, key: Hashable, make: Callable[[], Awaitable[bytes]]) -> Body:
        body = self._made[key] = Body(await make())
        return body


async def send(http: web.BaseRequest, body: Body, response: web.StreamResponse) -> web.StreamResponse:
    """The bytes piece by piece, so that a connection copies no more of them than it can take."""
    response.content_length = len(body.content)
    whole = memoryview(body.content)
    await responses.in_pieces(http, response, (whole[at : at + PIECE] for at in range(0, len(whole), PIECE)), SLOWEST)
    return response
