"""Large lists: sent as they are made.

A list of five thousand pods is twenty megabytes.  Joined, encrypted and buffered as one piece that is a hundred, which
the process would keep; here no piece is larger than what the connection takes at once.
"""

import asyncio
from collections.abc import Iterator, Sequence

from aiohttp import web

from apiserver.requests import Item
from apiserver.rest import responses
from apiserver.rest.negotiation import JSON
from apiserver.rest.packing import Packer
from apiserver.rest.sharing import PIECE, SLOWEST

MANY = 200
"""Items from which on a list is sent as it is made."""
END = b"]}\n"


def is_large(items: Sequence[Item]) -> bool:
    """Whether a list is sent piece by piece, and made once for all who ask for it."""
    return len(items) >= MANY or sum(len(item.document) for item in items) > responses.GZIP_ABOVE


async def send(
    http: web.BaseRequest, head: bytes, items: Sequence[bytes], audit: str, warnings: Sequence[str]
) -> web.StreamResponse:
    """The list that begins with `head` and has these items."""
    response = web.StreamResponse(headers=responses.headers_of(audit, JSON))
    response.content_length = size_of(head, items)
    await responses.in_pieces(http, responses.warned(response, warnings), pieces(head, items), SLOWEST)
    return response


async def packed(head: bytes, items: Sequence[bytes], packer: Packer) -> bytes:
    """The same, compressed."""
    if packer.is_ready(items):
        return packer.gzip(head, items, END)
    return await asyncio.to_thread(packer.gzip, head, items, END)


def size_of(head: bytes, items: Sequence[bytes]) -> int:
    return len(head) + sum(map(len, items)) + max(0, len(items) - 1) + len(END)


def pieces(head: bytes, items: Sequence[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of about PIECE."""
    first, size, lead = 0, len(head), head
    for at, item in enumerate(items, 1):
        size += len(item) + 1
        if size >= PIECE:
            yield lead + b",".join(items[first:at])
            first, size, lead = at, 0, b","
    if first < len(items):
        yield lead + b",".join(items[first:]) + END
    else:
        yield (head if not items else b"") + END
