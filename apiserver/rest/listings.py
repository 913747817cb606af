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

PIECE = 256 * 1024
SLOWEST = 60.0
"""Seconds that one piece may wait for a client to read."""
MANY = 200
"""Items from which on a list is sent as it is made."""
END = b"]}\n"


def pays(http: web.BaseRequest, items: Sequence[Item]) -> bool:
    """Whether a list is one to `send`: it is long, or so large that it is compressed, which was mostly done before."""
    if len(items) >= MANY:
        return True
    size = sum(len(item.document) for item in items)
    return size > responses.GZIP_ABOVE and "gzip" in http.headers.get("Accept-Encoding", "")


async def send(
    http: web.BaseRequest, head: bytes, items: Sequence[bytes], audit: str, packer: Packer, warnings: Sequence[str]
) -> web.StreamResponse:
    """The list that begins with `head` and has these items."""
    headers = responses.headers_of(audit, JSON)
    if "gzip" in http.headers.get("Accept-Encoding", ""):
        headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        if packer.is_ready(items):
            packed = packer.gzip(head, items, END)
        else:
            packed = await asyncio.to_thread(packer.gzip, head, items, END)
        return responses.warned(web.Response(body=packed, headers=headers), warnings)
    response = web.StreamResponse(headers=headers)
    response.content_length = size_of(head, items)
    responses.warned(response, warnings)
    await response.prepare(http)
    try:
        for piece in pieces(head, items):
            async with asyncio.timeout(SLOWEST):
                await response.write(piece)
    except TimeoutError:
        if http.transport is not None:
            http.transport.abort()
    return response


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
