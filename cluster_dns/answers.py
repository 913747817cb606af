"""From a query's bytes to an answer's: at once from our zones, later from elsewhere.

Queries that differ in nothing but their id have the same answer. So the bytes after the id are the key under which an
answer is kept until a change of the records touches its name: most queries are answered without being parsed.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

import dns.exception
import dns.rcode
from dns.message import Message

from cluster_dns import messages
from cluster_dns.forwarding import Forwarder, Unanswered
from cluster_dns.names import Found, Names

log = logging.getLogger(__name__)

MOST_PREPARED = 10 << 20
"""Bytes of answers, and of what was asked. Their number would be no bound: in a stream one may have 64 kB."""
LONGEST_KEY = 512
MOST_TURNS = 8
"""Orders of several addresses, which take turns."""


@dataclass(slots=True)
class _Prepared:
    """An answer in the orders that it takes turns in, each made when its turn comes for the first time: whoever asks
    the same in ever new words would have all of them made in vain."""

    name: str
    turns: int
    wires: list[bytes] = field(default_factory=list)
    used: int = 0

    def next(self) -> bytes | None:
        """None if its turn was not made yet."""
        if len(self.wires) < self.turns:
            return None
        self.used += 1
        return self.wires[self.used % self.turns]


@dataclass(slots=True)
class _Shelf:
    """Prepared answers of one transport, by query without id."""

    by_query: dict[bytes, _Prepared] = field(default_factory=dict)
    by_name: dict[str, list[bytes]] = field(default_factory=dict)
    size: int = 0

    def put(self, query: bytes, prepared: _Prepared) -> None:
        """Again whenever it has got one more turn."""
        if query not in self.by_query:
            self.by_query[query] = prepared
            self.by_name.setdefault(prepared.name, []).append(query)
            self.size += len(query)
        self.size += len(prepared.wires[-1])
        # Whoever asks for endless different names gets parsed; the others are back after one question each.
        if self.size > MOST_PREPARED:
            self.by_query.clear()
            self.by_name.clear()
            self.size = 0

    def drop(self, name: str) -> None:
        for query in self.by_name.pop(name, ()):
            dropped = self.by_query.pop(query)
            self.size -= len(query) + sum(map(len, dropped.wires))


class Answers:
    """For one event loop. `datagram` says whether the answer must fit into one."""

    def __init__(self, names: Names, forwarder: Forwarder) -> None:
        self._names = names
        self._forwarder = forwarder
        self._shelves = {True: _Shelf(), False: _Shelf()}

    def changed(self, names: Iterable[str]) -> None:
        """To be told whatever `Names.put` returns."""
        for name in names:
            for shelf in self._shelves.values():
                shelf.drop(name)

    def at_once(self, wire: bytes, *, datagram: bool) -> bytes | None:
        """The answer; b"" if there is none to give; None if others must be asked: then see `later`."""
        prepared = self._shelves[datagram].by_query.get(wire[2:])
        if prepared is not None and (kept := prepared.next()) is not None:
            return wire[:2] + kept
        try:
            query = messages.parse(wire)
        except messages.Unreadable as e:
            return e.reply
        if (rcode := messages.refusal(query)) is not None:
            return _wire(query, messages.reply(query, rcode), datagram)
        name, type_ = messages.question(query)
        found = self._names.find(name, type_)
        if found is None or found.elsewhere:
            return None
        return wire[:2] + self._made(wire, query, name, found, datagram)

    async def later(self, wire: bytes, *, datagram: bool) -> bytes:
        """The answer to a query for which `at_once` was None."""
        query = messages.parse(wire)
        name, type_ = messages.question(query)
        found = self._names.find(name, type_)
        try:
            if found is not None:
                return _wire(query, await self._beyond(query, found), datagram)
            theirs = await self._forwarder.ask(query)
        except Unanswered as e:
            log.info("%s %s: %s", name, type_, e)
            return _wire(query, messages.reply(query, dns.rcode.SERVFAIL), datagram)
        made = messages.reply(query, theirs.rcode())
        made.answer, made.authority, made.additional = theirs.answer, theirs.authority, theirs.additional
        return _wire(query, made, datagram)

    def overloaded(self, wire: bytes, *, datagram: bool) -> bytes:
        """The answer to a query for which `at_once` was None, when too many others wait already."""
        query = messages.parse(wire)
        return _wire(query, messages.reply(query, dns.rcode.SERVFAIL), datagram)

    async def _beyond(self, query: Message, found: Found) -> Message:
        """An alias that leads out of our zones: with what the others say about its end."""
        made = messages.of(query, found, self._names)
        if found.elsewhere:
            theirs = await self._forwarder.ask(query, found.elsewhere)
            made.answer = [*made.answer, *theirs.answer]
            made.authority = theirs.authority
            made.set_rcode(theirs.rcode())
        return made

    def _made(self, wire: bytes, query: Message, name: str, found: Found, datagram: bool) -> bytes:
        """The next turn's answer, and kept for the turns to come."""
        shelf = self._shelves[datagram]
        prepared = shelf.by_query.get(wire[2:])
        if prepared is None:
            several = len(found.answer) if found.answer and found.answer[0].record.type in ("A", "AAAA") else 1
            prepared = _Prepared(self._names.decisive(name), min(several, MOST_TURNS))
        made = _wire(query, messages.of(query, found, self._names, len(prepared.wires)), datagram)[2:]
        prepared.wires.append(made)
        # What follows an alias, or will one day, belongs to other names, whose changes would not be noticed here.
        _, type_ = messages.question(query)
        follows = any(owned.record.type == "CNAME" != type_ for owned in found.answer)
        if len(wire) <= LONGEST_KEY and not follows:
            shelf.put(wire[2:], prepared)
        return made


def _wire(query: Message, made: Message, datagram: bool) -> bytes:
    """With datagrams, what does not fit is left out and TC set: the asker comes back by TCP."""
    size = messages.payload(query) if datagram else messages.LARGEST_MESSAGE
    # The order is ours: addresses take turns, where the library would draw lots.
    return made.to_wire(max_size=size, prefer_truncation=True, want_shuffle=False)
