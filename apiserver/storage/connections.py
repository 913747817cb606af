"""A connection to an etcd member, which knows of each call what became of it.

grpcio does not tell what was begun from what was not, and knows of a frozen server only by deadlines.  A call on it was
a third of what a write costs the API server, more than twice of what it costs here, where a call takes no other thread
and all that is said in one turn of the loop goes out in one piece.

A server is asked for a sign of life (PING) only when somebody waits for it in silence.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import cast

from apiserver.storage import frames
from apiserver.storage.calls import Call, Lost, NotSent, outcome
from apiserver.storage.frames import ACK, CANCEL, END_HEADERS, END_STREAM, OPEN_WINDOW, Malformed

PING_SECONDS = 5.0
"""gRPC's servers take more frequent signs of life for an attack, unless they have sent something in between."""


class Connection(asyncio.Protocol):
    """For any number of calls at once, of one loop. `ready` is set when the server has said how many, or has gone."""

    def __init__(self, authority: str) -> None:
        self._authority = authority
        self._loop = asyncio.get_running_loop()
        self.ready = asyncio.Event()
        self.ended = asyncio.Event()
        """No more calls are taken; those of one answer may still get it."""
        self.why = ""
        self._transport: asyncio.Transport | None = None
        self._frames = frames.Frames()
        self._headers = frames.Headers()
        self._calls: dict[int, Call] = {}
        self._blocked: dict[int, Call] = {}
        self._next = 1
        self._slots = asyncio.Semaphore(0)
        self._window = self._stream_window = frames.FIRST_WINDOW
        self._largest = frames.OUR_LARGEST_FRAME
        self._taken = 0
        self._out: list[bytes] = []
        self._heard, self._told, self._pinged = self._loop.time(), True, 0.0

    # --- calls

    async def ask(self, path: str, request: bytes) -> bytes:
        """The answer.  Raises Status, Lost, NotSent; the server is told if the caller is cancelled."""
        call = await self._begin(path, request, END_STREAM)
        try:
            while not call.ended:
                await call.more()
        finally:
            self._forget(call)
        if call.error is not None:
            raise call.error
        answer = frames.first(b"".join(call.received))
        if answer is None:
            raise Lost("the answer is not whole")
        return answer

    async def listen(self, path: str, request: bytes) -> AsyncGenerator[bytes, None]:
        """What the server tells from now on.  Raises Status, Lost, NotSent, and ends when the server ends it."""
        call = await self._begin(path, request, 0)
        received = bytearray()
        try:
            while True:
                while call.received:
                    received += call.received.popleft()
                    while (message := frames.first(received)) is not None:
                        del received[: frames.size(message)]
                        yield message
                if call.ended:
                    break
                await call.more()
        finally:
            self._forget(call)
        if call.error is not None:
            raise call.error

    async def _begin(self, path: str, request: bytes, ending: int) -> Call:
        await self._slots.acquire()
        if self._next > frames.LAST_STREAM:
            self._leave("the numbers of its calls are used up")
        if self.ended.is_set():
            self._slots.release()
            raise NotSent(self.why)
        call = Call(self._next, frames.message(request), self._stream_window, ending, self._loop.time())
        self._next += 2
        self._calls[call.number] = call
        self._write(frames.HEADERS, END_HEADERS, call.number, frames.request(self._authority, path))
        self._push(call)
        return call

    def _push(self, call: Call) -> None:
        """Send as much of it as the server takes now."""
        while call.unsent:
            room = min(self._window, call.window, self._largest)
            if room <= 0:
                self._blocked[call.number] = call
                return
            piece, call.unsent = call.unsent[:room], call.unsent[room:]
            self._window -= len(piece)
            call.window -= len(piece)
            self._write(frames.DATA, 0 if call.unsent else call.ending, call.number, piece)
        self._blocked.pop(call.number, None)

    def _forget(self, call: Call) -> None:
        self._calls.pop(call.number, None)
        self._blocked.pop(call.number, None)
        self._slots.release()
        if not (call.ended and call.ending) or call.unsent:  # else it is over on both sides
            self._write(frames.RST_STREAM, 0, call.number, frames.number(CANCEL))
        if self.ended.is_set() and not self._calls and self._transport is not None:
            self._transport.close()

    def _write(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        """What is written in one turn of the loop goes out together."""
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(frames.frame(kind, flags, stream, payload))

    def _flush(self) -> None:
        out, self._out = self._out, []
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(out))

    # --- the end

    def check(self, patience: float) -> None:
        """To be called now and then: give the connection up if there is silence where an answer is waited for, and no
        sign of life `patience` seconds after it was asked for."""
        now = self._loop.time()
        if self._pinged > self._heard:
            if now - self._pinged >= patience:
                self.give_up("the server has fallen silent")
            return
        waits = min(self.waits_for(), now - self._heard)
        asks = waits >= patience if waits else bool(self._calls) and now - self._heard >= PING_SECONDS
        if asks and (self._told or now - self._pinged >= PING_SECONDS):
            self._pinged, self._told = now, False
            self._write(frames.PING, 0, 0, bytes(8))

    def is_used(self) -> bool:
        return bool(self._calls)

    def waits_for(self) -> float:
        """How many seconds ago the oldest call was made that needs an answer; 0 if all have theirs."""
        begun = next((call.begun for call in self._calls.values() if call.ending), None)
        return self._loop.time() - begun if begun is not None else 0.0

    def give_up(self, why: str) -> None:
        self._end(why)
        if self._transport is not None:
            self._transport.abort()

    def _end(self, why: str) -> None:
        if not self.ended.is_set():
            self.why = why
            self.ended.set()
            self.ready.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(f"the connection is lost: {exc}" if exc else "the connection was closed")
        for call in list(self._calls.values()):
            # A request that has not gone out whole is none.
            call.end(NotSent(self.why) if call.unsent else Lost(self.why))

    # --- what the server says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast(asyncio.Transport, transport)  # uvloop's own are none, by their type
        self._heard = self._loop.time()
        wanted = {frames.TABLE_SIZE: 0, frames.PUSH: 0, frames.STREAM_WINDOW: OPEN_WINDOW}
        transport.write(frames.PREFACE)
        self._write(frames.SETTINGS, 0, 0, frames.settings(wanted))
        self._write(frames.WINDOW_UPDATE, 0, 0, frames.number(OPEN_WINDOW - frames.FIRST_WINDOW))

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        try:
            for kind, flags, stream, payload in self._frames.feed(data):
                self._take(kind, flags, stream, payload)
        except Malformed as e:
            self.give_up(f"the server does not speak HTTP/2 as it should: {e}")

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        call = self._calls.get(stream)
        match kind:
            case frames.DATA:
                self._taken = self._allow(0, self._taken + len(payload))
                if call is not None:
                    call.taken = self._allow(stream, call.taken + len(payload))
                    self._receive(call, flags, frames.unpadded(flags, payload))
            case frames.HEADERS:
                self._told = True
                headers = self._headers.of(payload)
                if call is not None and flags & END_STREAM:
                    call.end(outcome(headers))
            case frames.RST_STREAM if call is not None:
                code = frames.number_of(payload)
                call.end(NotSent("refused") if code == frames.REFUSED_STREAM else Lost(f"the server gave up: {code}"))
            case frames.SETTINGS if not flags & ACK:
                self._set(frames.settings_of(payload))
            case frames.PING if not flags & ACK:
                self._write(frames.PING, ACK, 0, payload)
            case frames.GOAWAY:
                self._go_away(frames.number_of(payload), payload[8:].decode(errors="replace"))
            case frames.WINDOW_UPDATE:
                self._widen(call, stream, frames.number_of(payload))
            case frames.PUSH_PROMISE:
                raise Malformed("a promise")
            case _:
                pass  # of a call that was given up, or of a kind that there was not when this was written

    def _receive(self, call: Call, flags: int, payload: bytes) -> None:
        self._told = True
        call.received.append(payload)
        if flags & END_STREAM:
            call.end(Lost("the server ended the call without a status"))
        elif not call.ending:
            call.wake()

    def _allow(self, stream: int, taken: int) -> int:
        """Let the server send more, if it has sent much: nothing is kept here. What it still has to be allowed."""
        if taken <= OPEN_WINDOW // 2:
            return taken
        self._write(frames.WINDOW_UPDATE, 0, stream, frames.number(taken))
        return 0

    def _set(self, told: dict[int, int]) -> None:
        window = told.get(frames.STREAM_WINDOW, self._stream_window)
        for call in self._calls.values():
            call.window += window - self._stream_window
        self._stream_window = window
        self._largest = told.get(frames.LARGEST_FRAME, self._largest)
        if not self.ready.is_set():
            # A limit that falls later is one that the server itself holds: it refuses what is too much.
            self._slots = asyncio.Semaphore(told.get(frames.MOST_STREAMS, OPEN_WINDOW))
            self.ready.set()
        self._write(frames.SETTINGS, ACK, 0, b"")
        self._push_blocked()

    def _widen(self, call: Call | None, stream: int, increment: int) -> None:
        if not stream:
            self._window += increment
            self._push_blocked()
        elif call is not None:
            call.window += increment
            self._push(call)

    def _push_blocked(self) -> None:
        for call in list(self._blocked.values()):
            self._push(call)

    def _go_away(self, last: int, words: str) -> None:
        """Calls up to the `last` one are still answered."""
        self._leave(f"the server goes away {words}".rstrip())
        for call in list(self._calls.values()):
            if call.number > last:
                call.end(NotSent(self.why))

    def _leave(self, why: str) -> None:
        """Take no more calls, and close when those under way are over."""
        self._end(why)
        self.end_listening(why)
        if not self._calls and self._transport is not None:
            self._transport.close()

    def end_listening(self, why: str) -> None:
        """What is told here is to be heard elsewhere."""
        for call in self._calls.values():
            if not call.ending:
                call.end(Lost(why))
