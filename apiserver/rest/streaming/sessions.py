"""SPDY streams over a link: each is read by whoever serves it, and written to by him."""

from collections.abc import AsyncIterator

from apiserver.rest.streaming import spdy
from apiserver.rest.streaming.inboxes import Inbox
from apiserver.rest.streaming.links import Link

MOST_STREAMS = 256


class Stream(Inbox):
    def __init__(self, session: "Session", number: int, headers: dict[str, str]) -> None:
        super().__init__()
        self.number = number
        self.headers = headers
        self._session = session
        self._closed = False

    async def write(self, data: bytes) -> None:
        """Raises ConnectionError once the client has gone."""
        if not self._closed and data:
            await self._session.send(self._session.framing.data(self.number, data))

    async def end(self, last: bytes = b"") -> None:
        """Say that nothing more comes; the client may still send."""
        if not self._closed:
            self._closed = True
            await self._session.send(self._session.framing.data(self.number, last, end=True))

    def abandon(self) -> None:
        """The client wants nothing more from this stream."""
        self._closed = True


class Session:
    """`streams()` must be iterated for anything to be received."""

    def __init__(self, link: Link) -> None:
        self.framing = spdy.Framing()
        self._link = link
        self._streams: dict[int, Stream] = {}

    async def streams(self) -> AsyncIterator[Stream]:
        """Each stream that the client opens, until it goes.  Raises spdy.ProtocolError."""
        try:
            while data := await self._link.receive():
                for happening in self.framing.feed(data):
                    if (opened := await self._take(happening)) is not None:
                        yield opened
        finally:
            for stream in self._streams.values():
                stream.abandon()
                stream.cut()
            self._streams.clear()

    async def send(self, frame: bytes) -> None:
        await self._link.send(frame)

    async def close(self) -> None:
        await self._link.close()

    async def _take(self, happening: spdy.Happening) -> Stream | None:
        match happening:
            case spdy.Opened(number, headers, ended):
                if len(self._streams) >= MOST_STREAMS:
                    await self.send(self.framing.reset(number))
                    return None
                stream = self._streams[number] = Stream(self, number, headers)
                await self.send(self.framing.reply(number))
                if ended:
                    await self._end(number)
                return stream
            case spdy.Received(number, data, ended):
                if data and number in self._streams:
                    await self._streams[number].take(data)
                if ended:
                    await self._end(number)
            case spdy.Reset(number):
                if number in self._streams:
                    self._streams[number].abandon()
                await self._end(number)
            case spdy.Pinged(number):
                await self.send(self.framing.pong(number))
        return None

    async def _end(self, number: int) -> None:
        """The client sends nothing more on this stream."""
        if (stream := self._streams.pop(number, None)) is not None:
            await stream.take(b"")
