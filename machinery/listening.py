"""TCP ports that take so many connections and no more, in all and from one address.

Whoever is over the limit pushes out a connection on which nothing happens: one that has not finished its handshake, has
not asked anything yet, or waits for its next request, the oldest first.  So those who only hold connections do not keep
out those who ask.  asyncio's own servers take connections until there is no descriptor left for anybody.

Of one address only a few handshakes are worked on at once, the youngest first, as soon as the client has said
something. When a thousand clients come back, all of them at once would be late together, give up, and come again. And
whoever is served in turn waits for all of them: a balancer that only wants to know whether the server is alive would
take it for dead, and cut off those who were in.
"""

import asyncio
import logging
import resource
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Protocol
from weakref import WeakValueDictionary

from machinery.running import CannotGoOn

MOST = 3000
MOST_EACH = 2000
"""Of one address: all of this machine's clients come from that of the engine's bridge."""
SPARE_FILES = 256
"""Descriptors that are left for files, the storage and other servers."""
SILENCE = 32.0
"""Seconds that a handshake may take; upstream gives as many to the head of a first request."""
HANDSHAKES = 16
"""So many of one address are worked on at once."""
TURN = 2.0
"""Seconds after which a handshake that waits for its client is no longer one of them."""
BACKLOG = 1024
NO_ROOM_SECONDS = 0.1

log = logging.getLogger(__name__)


class Guest(Protocol):
    """What a connection's protocol must know beside asyncio's. `left` is to be called when the connection is lost."""

    left: Callable[[], None]

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being answered."""
        ...

    def cut(self) -> None:
        """End the connection at once."""
        ...


class _Visit:
    __slots__ = ("address", "guest", "handshake")

    def __init__(self, address: str, guest: Guest) -> None:
        self.address = address
        self.guest = guest
        self.handshake: asyncio.Task[None] | None = None

    def end(self) -> None:
        if self.handshake is not None and not self.handshake.done():
            self.handshake.cancel()
        else:
            self.guest.cut()


class Visits:
    """The connections there are, those of each address in the order in which they came."""

    def __init__(self, most: int, most_each: int) -> None:
        self._most = most
        self._most_each = most_each
        self._by_address: dict[str, dict[_Visit, None]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def has_room(self, address: str) -> bool:
        """Makes room if need be; False if everybody there is busy."""
        own = self._by_address.get(address, {})
        if len(own) >= self._most_each:
            return self._push_out(own)
        if self._count >= self._most:
            return self._push_out(max(self._by_address.values(), key=len))
        return True

    def _push_out(self, visits: dict[_Visit, None]) -> bool:
        visit = next((v for v in visits if v.guest.is_idle), None)
        if visit is None:
            return False
        self.leave(visit)  # its connection may take a moment to end
        visit.end()
        return True

    def enter(self, address: str, guest: Guest) -> _Visit:
        visit = _Visit(address, guest)
        self._by_address.setdefault(address, {})[visit] = None
        self._count += 1
        return visit

    def welcome(self, writer: asyncio.StreamWriter) -> "StreamGuest | None":
        """Whoever came to one of asyncio's own servers; None if there is no room."""
        guest = StreamGuest(writer, (writer.get_extra_info("peername") or ("",))[0])
        if not self.has_room(guest.address):
            writer.transport.abort()
            return None
        guest.left = partial(self.leave, self.enter(guest.address, guest))
        return guest

    def leave(self, visit: _Visit) -> None:
        own = self._by_address.get(visit.address, {})
        if visit in own:
            del own[visit]
            self._count -= 1
            if not own:
                del self._by_address[visit.address]


class StreamGuest:
    """`left` is to be called by whoever serves it, and `cut` where it does not read: a connection that is only closed
    stays until its client has read everything."""

    def __init__(self, writer: asyncio.StreamWriter, address: str) -> None:
        self.writer = writer
        self.address = address
        self.is_idle = True
        self.left: Callable[[], None] = lambda: None

    def cut(self) -> None:
        self.writer.transport.abort()


class Turns:
    """A few at once, and of those who wait the youngest first. Each lasts until it is over, or for TURN."""

    def __init__(self) -> None:
        self._taken: set[asyncio.Future[None]] = set()
        self._waiting: list[asyncio.Future[None]] = []

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        if len(self._taken) < HANDSHAKES:
            self._taken.add(turn)
        else:
            self._waiting.append(turn)
            await self._wait(turn)
        limit = loop.call_later(TURN, self._give, turn)
        try:
            yield
        finally:
            limit.cancel()
            self._give(turn)

    async def _wait(self, turn: asyncio.Future[None]) -> None:
        try:
            await turn
        except asyncio.CancelledError:
            if turn in self._waiting:
                self._waiting.remove(turn)
            self._give(turn)
            raise

    def _give(self, turn: asyncio.Future[None]) -> None:
        """To the next, if it was not given yet."""
        if turn not in self._taken:
            return
        self._taken.remove(turn)
        while self._waiting:
            youngest = self._waiting.pop()
            if not youngest.done():  # else it was cancelled, and is about to hear of it
                self._taken.add(youngest)
                youngest.set_result(None)
                return


class Listener:
    """Each connection is served by what `guest` makes, after TLS if there is a context.  Raises CannotGoOn."""

    def __init__(
        self, host: str, port: int, tls: ssl.SSLContext | None, guest: Callable[[], Guest], *, share_port: bool = False,
        most: int = MOST, most_each: int = MOST_EACH,
    ) -> None:  # fmt: skip
        self._tls = tls
        self._guest = guest
        self._turns: WeakValueDictionary[str, Turns] = WeakValueDictionary()
        """Of each address that has handshakes under way."""
        self.visits = Visits(min(most, _files() - SPARE_FILES), most_each)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._socket = socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=share_port)
        except OSError as e:
            raise CannotGoOn(f"cannot listen on {host}:{port}: {e}") from e
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]

    async def run(self) -> None:
        """Accept until cancelled. The connections there are then are their protocols' business."""
        with self._socket:
            async with asyncio.TaskGroup() as tasks:
                async for connection, address in self._accepted():
                    if not self.visits.has_room(address):
                        connection.close()
                        continue
                    visit = self.visits.enter(address, guest := self._guest())
                    guest.left = partial(self.visits.leave, visit)
                    visit.handshake = tasks.create_task(self._greet(connection, visit))

    async def _accepted(self) -> AsyncIterator[tuple[socket.socket, str]]:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(self._socket)
            except OSError as e:  # no descriptors, or a client that has gone already
                log.warning("cannot accept a connection: %s", e)
                await asyncio.sleep(NO_ROOM_SECONDS)
                continue
            yield connection, address[0]

    async def _greet(self, connection: socket.socket, visit: _Visit) -> None:
        taken = False
        try:
            if self._tls is None:
                taken = True  # from here on the loop closes it
                await self._hand_over(connection, visit)
                return
            await _said(connection)
            turns = self._turns.setdefault(visit.address, Turns())
            async with turns.turn():
                taken = True
                await self._hand_over(connection, visit, ssl=self._tls, ssl_handshake_timeout=SILENCE)
        except OSError as e:  # TLS' errors are some, too
            self.visits.leave(visit)
            log.debug("no handshake with %s: %s", visit.address, e)
        except asyncio.CancelledError:  # pushed out, or the server stops
            self.visits.leave(visit)
            raise
        finally:
            if not taken:
                connection.close()

    async def _hand_over(self, connection: socket.socket, visit: _Visit, **tls: Any) -> None:
        made = partial(getattr, visit, "guest")
        await asyncio.get_running_loop().connect_accepted_socket(made, connection, **tls)


async def _said(connection: socket.socket) -> None:
    """Until the client has said something, or has gone.  Raises TimeoutError."""
    loop = asyncio.get_running_loop()
    said = asyncio.Event()
    loop.add_reader(connection, said.set)
    try:
        async with asyncio.timeout(SILENCE):
            await said.wait()
    finally:
        loop.remove_reader(connection)


def _files() -> int:
    """Descriptors that this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else 2**20
