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

MOST_PREPARED = 10_000
"""Answers; about 1 KiB each."""
LONGEST_KEY = 512
MOST_TURNS = 8
"""Orders of several addresses, which take turns."""


@dataclass(slots=True)
class _Prepared:
    name: str
    wires: list[bytes]
    used: int = 0

    def next(self) -> bytes:
        self.used += 1
        return self.wires[self.used % len(self.wires)]


@dataclass(slots=True)
class _Shelf:
    """Prepared answers of one transport, by query without id."""

    by_query: dict[bytes, _Prepared] = field(default_factory=dict)
    by_name: dict[str, list[bytes]] = field(default_factory=dict)

    def put(self, query: bytes, prepared: _Prepared) -> None:
        # Whoever asks for endless different names gets parsed; the others are back after one question each.
        if len(self.by_query) >= MOST_PREPARED:
            self.by_query.clear()
            self.by_name.clear()
        self.by_query[query] = prepared
        self.by_name.setdefault(prepared.name, []).append(query)

    def drop(self, name: str) -> None:
        for query in self.by_name.pop(name, ()):
            self.by_query.pop(query, None)


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
        if prepared is not None:
            return wire[:2] + prepared.next()
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
        return wire[:2] + self._prepare(wire, query, name, found, datagram).next()

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

    def _prepare(self, wire: bytes, query: Message, name: str, found: Found, datagram: bool) -> _Prepared:
        several = len(found.answer) if found.answer and found.answer[0].record.type in ("A", "AAAA") else 1
        turns = range(min(several, MOST_TURNS))
        wires = [_wire(query, messages.of(query, found, self._names, turn), datagram)[2:] for turn in turns]
        prepared = _Prepared(name, wires)
        # What follows an alias belongs to other names, whose changes would not be noticed here.
        follows = any(owned.name != name for owned in found.answer)
        if len(wire) <= LONGEST_KEY and not follows:
            self._shelves[datagram].put(wire[2:], prepared)
        return prepared


def _wire(query: Message, made: Message, datagram: bool) -> bytes:
    """With datagrams, what does not fit is left out and TC set: the asker comes back by TCP."""
    size = messages.payload(query) if datagram else messages.LARGEST_MESSAGE
    # The order is ours: addresses take turns, where the library would draw lots.
    return made.to_wire(max_size=size, prefer_truncation=True, want_shuffle=False)
