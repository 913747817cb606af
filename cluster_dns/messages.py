"""Between the wire and our records.

https://www.rfc-editor.org/rfc/rfc1035, and /rfc6891 for what EDNS adds.
"""

from collections.abc import Iterable
from functools import lru_cache

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from dns.message import Message
from dns.rcode import Rcode
from dns.rdata import Rdata
from dns.rrset import RRset

from cluster_dns.names import Found, Names, Owned
from cluster_dns.records import TTL, Record

PAYLOAD = 1232
"""What we take and give in a datagram: it passes every network unfragmented (the DNS flag day of 2020)."""
SMALLEST_PAYLOAD = 512
LARGEST_MESSAGE = 65535
LARGEST_QUERY = 2048
"""Bytes: a name, and what EDNS puts beside it. Of 64 kB of options, which mean nothing, each would be read."""
HEADER = 12
_RESPONSE = 0x80
_CAN_BE_ASKED = frozenset({dns.rdataclass.IN})


class Unreadable(Exception):
    """`reply` is what to say to it: b"" for nothing."""

    def __init__(self, reply: bytes) -> None:
        super().__init__("not a query")
        self.reply = reply


def parse(wire: bytes) -> Message:
    """Raises Unreadable."""
    # A response is never answered: two servers would talk to each other for ever.
    if len(wire) < HEADER or wire[2] & _RESPONSE:
        raise Unreadable(b"")
    if len(wire) > LARGEST_QUERY:
        raise Unreadable(_bare(wire, dns.rcode.FORMERR))
    try:
        return dns.message.from_wire(wire)
    except dns.message.UnknownHeaderField:
        raise Unreadable(_bare(wire, dns.rcode.NOTIMP)) from None
    except (dns.exception.DNSException, ValueError):
        raise Unreadable(_bare(wire, dns.rcode.FORMERR)) from None


def refusal(query: Message) -> Rcode | None:
    """Why it is no question for us; None if it is one."""
    if query.opcode() != dns.opcode.QUERY:
        return dns.rcode.NOTIMP
    if len(query.question) != 1:
        return dns.rcode.FORMERR
    if query.edns > 0:
        return dns.rcode.BADVERS
    question = query.question[0]
    if question.rdclass not in _CAN_BE_ASKED or dns.rdatatype.is_metatype(question.rdtype):
        # Zone transfers among them. ANY is one too, and may be answered with less than all: RFC 8482.
        return None if question.rdtype == dns.rdatatype.ANY else dns.rcode.REFUSED
    return None


def question(query: Message) -> tuple[str, str]:
    """Name and type, as `Names.find` takes them."""
    asked = query.question[0]
    return asked.name.to_text().lower(), dns.rdatatype.to_text(asked.rdtype)


def reply(query: Message, rcode: Rcode = dns.rcode.NOERROR) -> Message:
    made = dns.message.make_response(query, recursion_available=True, our_payload=PAYLOAD)
    made.set_rcode(rcode)
    return made


def of(query: Message, found: Found, names: Names, turn: int = 0) -> Message:
    """`turn` says which of several addresses comes first."""
    made = reply(query, dns.rcode.NOERROR if found.exists else dns.rcode.NXDOMAIN)
    made.flags |= dns.flags.AA
    start = turn % len(found.answer) if turn and _are_addresses(found.answer) else 0
    made.answer = rrsets((*found.answer[start:], *found.answer[:start]))
    made.additional = rrsets(found.additional)
    if not found.elsewhere and found.zone and (not found.exists or not _ends_well(query, found)):
        made.authority = [*_authority(found.zone, names.start_of_authority(found.zone))]
    return made


def payload(query: Message) -> int:
    """The largest datagram that the asker takes."""
    return SMALLEST_PAYLOAD if query.edns < 0 else min(max(query.payload, SMALLEST_PAYLOAD), PAYLOAD)


def rrsets(records: Iterable[Owned]) -> list[RRset]:
    found: dict[tuple[str, str], RRset] = {}
    for name, (type_, data) in records:
        rrset = found.get((name, type_))
        if rrset is None:
            owner, kind = dns.name.from_text(name), dns.rdatatype.from_text(type_)
            rrset = found[name, type_] = RRset(owner, dns.rdataclass.IN, kind)
            rrset.update_ttl(TTL)
        rrset.add(_rdata(type_, data), TTL)
    return list(found.values())


@lru_cache(maxsize=16)
def _authority(zone: str, start: Record) -> tuple[RRset, ...]:
    """The same in all negative answers until a name changes; to make it anew would be a fifth of their cost."""
    return tuple(rrsets((Owned(zone, start),)))


@lru_cache(maxsize=4096)
def _rdata(type_: str, data: str) -> Rdata:
    return dns.rdata.from_text(dns.rdataclass.IN, type_, data)


def _are_addresses(answer: tuple[Owned, ...]) -> bool:
    return len(answer) > 1 and answer[0].record.type in ("A", "AAAA")


def _ends_well(query: Message, found: Found) -> bool:
    _, type_ = question(query)
    return bool(found.answer) and found.answer[-1].record.type == type_


def _bare(wire: bytes, rcode: Rcode) -> bytes:
    """An answer to what could not be read: the header alone, with the same id and operation."""
    flags = (wire[2] & 0x79) | _RESPONSE
    return wire[:2] + bytes((flags, rcode)) + bytes(HEADER - 4)
