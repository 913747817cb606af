"""Names that are not ours: asked of the resolvers of this machine, and of nobody else.

Every question goes from a port and with an id of its own, both random (RFC 5452); an answer counts only if it comes
from where the question went and repeats it.
"""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
from dns.message import Message
from dns.rrset import RRset

from cluster_dns import messages
from machinery.clocks import SYSTEM, Clock

SECONDS = 2.0
"""For each resolver, so that a second one is heard before a client gives up, after five."""
MOST_RESOLVERS = 3
MOST_ANSWERS = 4096
MOST_BYTES = 16 << 20
"""Of all answers that are kept, each counted as it came and as it is read: whoever has a zone of his own chooses how
large its answers are."""
RECORD_BYTES = 512
"""Of one record that was read."""
LONGEST_MEMORY = 30.0
"""Seconds. As CoreDNS is set up in clusters: what changes elsewhere is known here soon."""
_FINAL = frozenset({dns.rcode.NOERROR, dns.rcode.NXDOMAIN})


class Upstream(NamedTuple):
    address: str
    port: int = 53


class Unanswered(Exception):
    """No resolver had an answer."""


def resolvers(path: Path, *, but: Collection[str] = ()) -> tuple[Upstream, ...]:
    """The name servers of a resolv.conf, without the addresses `but`, which are our own: we would ask ourselves."""
    try:
        lines = [line.split("#")[0].split() for line in path.read_text().splitlines()]
    except FileNotFoundError:
        return ()
    named = [words[1] for words in lines if words[:1] == ["nameserver"] and len(words) > 1]
    return tuple(Upstream(address) for address in named if address not in but)[:MOST_RESOLVERS]


class Forwarder:
    def __init__(self, upstreams: Collection[Upstream], *, seconds: float = SECONDS, clock: Clock = SYSTEM) -> None:
        self._upstreams = list(upstreams)
        self._seconds = seconds
        self._cache = Cache(clock)

    async def ask(self, query: Message, name: str = "") -> Message:
        """What the resolvers, or the cache, answer to `query`, or to its question about `name`. Raises Unanswered."""
        asked = query.question[0]
        target = dns.name.from_text(name) if name else asked.name
        wants_signatures = bool(query.ednsflags & dns.flags.DO)
        key = (target, asked.rdtype, wants_signatures)
        if (known := self._cache.get(key)) is not None:
            return known
        answer = await self._ask_them(target, asked.rdtype, wants_signatures)
        self._cache.put(key, answer)
        return answer

    async def _ask_them(self, name: dns.name.Name, type_: dns.rdatatype.RdataType, signatures: bool) -> Message:
        faults = []
        for upstream in tuple(self._upstreams):
            query = dns.message.make_query(
                name, type_, use_edns=0, payload=messages.PAYLOAD, want_dnssec=signatures, id=secrets.randbelow(2**16)
            )
            try:
                async with asyncio.timeout(self._seconds):
                    answer, _ = await dns.asyncquery.udp_with_fallback(
                        query, upstream.address, port=upstream.port, ignore_unexpected=True, ignore_errors=True
                    )
            except (dns.exception.DNSException, OSError, EOFError, TimeoutError) as e:
                faults.append(f"{upstream.address}: {e or 'no answer'}")
                self._put_last(upstream)
                continue
            if answer.rcode() in _FINAL:
                return answer
            faults.append(f"{upstream.address}: {dns.rcode.to_text(answer.rcode())}")
        raise Unanswered("; ".join(faults) or "there is no resolver to ask")

    def _put_last(self, upstream: Upstream) -> None:
        """One that is silent costs every question its time only as long as all are."""
        self._upstreams.sort(key=lambda each: each == upstream)


Question = tuple[dns.name.Name, dns.rdatatype.RdataType, bool]


@dataclass(frozen=True, slots=True)
class _Kept:
    answer: Message
    since: float
    until: float
    size: int


class Cache:
    """The last answers, for as long as their TTLs say; "no" as long as its SOA says (RFC 2308)."""

    def __init__(self, clock: Clock = SYSTEM, limit: int = MOST_ANSWERS, most_bytes: int = MOST_BYTES) -> None:
        self._clock = clock
        self._limit = limit
        self._most_bytes = most_bytes
        self._kept: OrderedDict[Question, _Kept] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, question: Question) -> Message | None:
        kept = self._kept.get(question)
        if kept is None:
            return None
        now = self._clock.monotonic()
        if now >= kept.until:
            self._drop(question)
            return None
        self._kept.move_to_end(question)
        return _aged(kept.answer, int(now - kept.since))

    def put(self, question: Question, answer: Message) -> None:
        seconds = lifetime(answer)
        if seconds <= 0:
            return
        self._drop(question)
        now = self._clock.monotonic()
        self._kept[question] = kept = _Kept(answer, now, now + seconds, _size(answer))
        self._bytes += kept.size
        while len(self._kept) > self._limit or self._bytes > self._most_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, question: Question) -> None:
        kept = self._kept.pop(question, None)
        self._bytes -= kept.size if kept is not None else 0


def lifetime(answer: Message) -> float:
    """Seconds for which it may be kept."""
    if answer.rcode() == dns.rcode.NOERROR and answer.answer:
        return min(LONGEST_MEMORY, *(rrset.ttl for rrset in answer.answer))
    starts = [rrset for rrset in answer.authority if rrset.rdtype == dns.rdatatype.SOA]
    return min((LONGEST_MEMORY, *(min(s.ttl, s[0].minimum) for s in starts))) if starts else 0


def _size(answer: Message) -> int:
    records = sum(len(rrset) for section in answer.sections for rrset in section)
    return len(answer.wire or b"") + RECORD_BYTES * (1 + records)


def _aged(answer: Message, seconds: int) -> Message:
    aged = dns.message.Message(id=answer.id)
    aged.flags, aged.ednsflags = answer.flags, answer.ednsflags
    aged.set_rcode(answer.rcode())
    aged.answer = _older(answer.answer, seconds)
    aged.authority = _older(answer.authority, seconds)
    aged.additional = _older(answer.additional, seconds)
    return aged


def _older(rrsets: list[RRset], seconds: int) -> list[RRset]:
    return [dns.rrset.from_rdata_list(each.name, max(each.ttl - seconds, 0), [*each]) for each in rrsets]
