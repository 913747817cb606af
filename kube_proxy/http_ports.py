"""Plain HTTP for those who only ask how a node is: a framework would cost more memory than the proxy's own work."""

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple

from machinery.listening import Visits

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 5.0
LONGEST_REQUEST = 16384
MOST, MOST_EACH = 128, 64
"""Connections of a port, in all and from one address; of more, the oldest goes: an answer takes no time."""
JSON, TEXT = "application/json", "text/plain; charset=utf-8"


class Answer(NamedTuple):
    body: bytes
    status: str = "200 OK"
    media: str = JSON
    headers: tuple[str, ...] = ()


NOT_FOUND = Answer(b"404 page not found\n", "404 Not Found", TEXT)


async def listen(host: str, port: int, answer: Callable[[str], Answer]) -> asyncio.Server:
    """A server that gives each request what `answer` says of its path.  Raises OSError."""
    visits = Visits(MOST, MOST_EACH)

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        guest = visits.welcome(writer)
        if guest is None:
            return
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                method, target, *_ = [*head.partition(b"\r\n")[0].decode("latin-1").split(" "), "", ""]
                writer.write(response(answer(target.partition("?")[0]), bodiless=method == "HEAD"))
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            log.debug("a request at port %d was given up by its client", port)
        finally:
            guest.cut()
            guest.left()

    return await asyncio.start_server(respond, host, port, limit=LONGEST_REQUEST)


def response(answer: Answer, *, bodiless: bool = False) -> bytes:
    head = [
        f"HTTP/1.1 {answer.status}",
        f"Content-Type: {answer.media}",
        "X-Content-Type-Options: nosniff",
        *answer.headers,
        f"Content-Length: {len(answer.body)}",
        "Connection: close",
    ]
    return "\r\n".join([*head, "", ""]).encode() + (b"" if bodiless else answer.body)
