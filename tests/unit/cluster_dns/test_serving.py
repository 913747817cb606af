"""The real server on loopback, asked by a real client."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from ipaddress import IPv4Network

import dns.asyncquery
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdataclass
import pytest
from dns.message import Message

from cluster_dns.answers import Answers
from cluster_dns.forwarding import Forwarder, Upstream
from cluster_dns.names import Names
from cluster_dns.records import Layout, of_namespace, of_service
from cluster_dns.serving import MOST_STREAMS_EACH, Server
from machinery.running import CannotGoOn
from tests.unit.cluster_dns.objects import DOMAIN, endpoint, service, slice_of
from tests.unit.cluster_dns.resolvers import resolver, silent, told

WEB = "web.default.svc.cluster.local."
LONG = "big.default.svc.cluster.local."


class Door:
    """A server with some names, and its client."""

    def __init__(self, *upstreams: Upstream) -> None:
        self.names = Names(Layout(ranges=(IPv4Network("10.96.0.0/16"),)))
        self.answers = Answers(self.names, Forwarder(upstreams, seconds=0.05))
        self.server = Server("127.0.0.1", 0, self.answers)
        self.put("namespace", of_namespace("default", DOMAIN))
        self.put("web", of_service(service(), [], DOMAIN))

    def put(self, source: str, records: object) -> None:
        self.answers.changed(self.names.put(source, records))  # type: ignore[arg-type]

    def headless(self, name: str, *addresses: str) -> None:
        slices = [slice_of(*map(endpoint, addresses))]
        self.put(name, of_service(service(name, "None"), slices, DOMAIN))

    async def ask(self, name: str, type_: str = "A", *, stream: bool = False, **more: object) -> Message:
        query = dns.message.make_query(name, type_, **more)  # type: ignore[arg-type]
        return await self.say(query, stream=stream)

    async def say(self, query: Message, *, stream: bool = False) -> Message:
        call: Callable[..., object] = dns.asyncquery.tcp if stream else dns.asyncquery.udp
        return await call(query, "127.0.0.1", port=self.server.port, timeout=5)  # type: ignore[no-any-return,misc]


@asynccontextmanager
async def opened(*upstreams: Upstream) -> AsyncIterator[Door]:
    made = Door(*upstreams)
    running = asyncio.create_task(made.server.run())
    await made.server.bound()
    try:
        yield made
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with opened() as made:
        yield made


def data(answer: Message) -> list[str]:
    return [record.to_text() for rrset in answer.answer for record in rrset]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_service_is_found(door: Door, stream: bool) -> None:
    answer = await door.ask(WEB, stream=stream)
    assert data(answer) == ["10.96.0.7"]
    assert answer.flags & dns.flags.AA
    assert answer.flags & dns.flags.RA
    assert answer.answer[0].ttl == 5
    assert answer.authority == []


async def test_letters_may_be_small_or_capital_and_come_back_as_they_were(door: Door) -> None:
    for name in ("WEB.Default.SVC.cluster.LOCAL.", WEB):
        answer = await door.ask(name)
        assert data(answer) == ["10.96.0.7"]
        assert answer.question[0].name.to_text() == name


async def test_no_such_name_and_no_such_data_differ_and_carry_the_soa(door: Door) -> None:
    for name, type_, rcode in (("gone." + WEB, "A", dns.rcode.NXDOMAIN), (WEB, "AAAA", dns.rcode.NOERROR)):
        answer = await door.ask(name, type_)
        assert answer.rcode() == rcode
        assert answer.answer == []
        assert [(a.name.to_text(), a.rdtype.name, a.ttl) for a in answer.authority] == [(DOMAIN, "SOA", 5)]


async def test_a_port_is_found_with_the_address_of_its_service(door: Door) -> None:
    answer = await door.ask(f"_http._tcp.{WEB}", "SRV")
    assert data(answer) == [f"0 100 80 {WEB}"]
    assert [(a.name.to_text(), a[0].to_text()) for a in answer.additional] == [(WEB, "10.96.0.7")]


async def test_an_address_is_found(door: Door) -> None:
    assert data(await door.ask("7.0.96.10.in-addr.arpa.", "PTR")) == [WEB]


async def test_the_version_is_told(door: Door) -> None:
    assert data(await door.ask("dns-version.cluster.local.", "TXT")) == ['"1.1.0"']


async def test_a_change_shows_in_the_next_answer(door: Door) -> None:
    assert data(await door.ask(WEB)) == ["10.96.0.7"]
    door.put("web", of_service(service(ip="10.96.0.8"), [], DOMAIN))
    assert data(await door.ask(WEB)) == ["10.96.0.8"]
    door.put("web", {})
    assert (await door.ask(WEB)).rcode() == dns.rcode.NXDOMAIN
    assert (await door.ask(f"_tcp.{WEB}")).rcode() == dns.rcode.NXDOMAIN
    door.put("web", of_service(service(), [], DOMAIN))
    assert data(await door.ask(WEB)) == ["10.96.0.7"]
    assert (await door.ask(f"_tcp.{WEB}")).rcode() == dns.rcode.NOERROR


async def test_several_addresses_take_turns_in_being_first(door: Door) -> None:
    addresses = ["10.244.0.2", "10.244.0.3", "10.244.0.4"]
    door.headless("web", *addresses)
    answers = [data(await door.ask(WEB)) for _ in range(6)]
    assert all(sorted(answer) == addresses for answer in answers)
    assert {answer[0] for answer in answers} == set(addresses)


async def test_what_does_not_fit_into_a_datagram_is_asked_for_by_stream(door: Door) -> None:
    addresses = [f"10.244.{n // 250}.{n % 250 + 1}" for n in range(300)]
    door.headless("big", *addresses)
    for size, options in ((512, {}), (1232, {"use_edns": 0, "payload": 4096})):
        answer = await door.ask(LONG, **options)
        assert answer.flags & dns.flags.TC
        assert len(answer.to_wire()) <= size
    whole = await door.ask(LONG, stream=True)
    assert not whole.flags & dns.flags.TC
    assert set(data(whole)) == set(addresses)


async def test_extensions_are_answered_only_to_who_speaks_of_them(door: Door) -> None:
    assert (await door.ask(WEB)).edns == -1
    answer = await door.ask(WEB, use_edns=0, payload=4096)
    assert (answer.edns, answer.payload) == (0, 1232)
    newer = dns.message.make_query(WEB, "A", use_edns=1)
    assert (await door.say(newer)).rcode() == dns.rcode.BADVERS


async def test_what_is_no_question_is_refused(door: Door) -> None:
    chaos = dns.message.make_query("version.bind.", "TXT", rdclass=dns.rdataclass.CH)
    assert (await door.say(chaos)).rcode() == dns.rcode.REFUSED
    assert (await door.ask(DOMAIN, "AXFR", stream=True)).rcode() == dns.rcode.REFUSED
    status = dns.message.make_query(WEB, "A")
    status.set_opcode(dns.opcode.STATUS)
    assert (await door.say(status)).rcode() == dns.rcode.NOTIMP
    empty = dns.message.Message()
    assert (await door.say(empty)).rcode() == dns.rcode.FORMERR


async def test_any_is_answered_with_no_data(door: Door) -> None:
    answer = await door.ask(WEB, "ANY")
    assert (answer.rcode(), data(answer)) == (dns.rcode.NOERROR, [])


async def test_garbage_and_answers_get_no_answer_or_an_error_and_do_no_harm(door: Door) -> None:
    response = dns.message.make_response(dns.message.make_query(WEB, "A")).to_wire()
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.setblocking(False)
        own.connect(("127.0.0.1", door.server.port))
        for wire in (b"", b"x", b"\0" * 11, response, b"\x12\x34\x01\0\0\x01" + b"\0" * 6 + b"\xff\xff"):
            own.send(wire)
        # Datagrams on loopback keep their order: only the last was a question, and it was broken.
        assert await loop.sock_recv(own, 512) == b"\x12\x34\x81\x01" + b"\0" * 8
    assert data(await door.ask(WEB)) == ["10.96.0.7"]


async def test_several_questions_on_one_stream_are_answered_in_order(door: Door) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", door.server.port)
    queries = [dns.message.make_query(name, "A") for name in (WEB, "gone." + WEB, WEB)]
    writer.write(b"".join(query.to_wire(prepend_length=True) for query in queries))
    for query in queries:
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        assert query.is_response(dns.message.from_wire(await reader.readexactly(length)))
    writer.close()
    await writer.wait_closed()


async def test_streams_on_which_nothing_is_asked_make_room_for_others(door: Door) -> None:
    silent = [await asyncio.open_connection("127.0.0.1", door.server.port) for _ in range(MOST_STREAMS_EACH)]
    reader, writer = await asyncio.open_connection("127.0.0.1", door.server.port)
    query = dns.message.make_query(WEB, "A")
    writer.write(query.to_wire(prepend_length=True))
    (length,) = struct.unpack("!H", await reader.readexactly(2))
    assert query.is_response(dns.message.from_wire(await reader.readexactly(length)))
    with suppress(ConnectionResetError):
        assert await silent[0][0].read() == b""  # the oldest
    for _, each in (*silent, (reader, writer)):
        each.close()


async def test_a_port_that_is_taken_is_a_reason_to_end(door: Door) -> None:
    with pytest.raises(ExceptionGroup) as raised:
        await Server("127.0.0.1", door.server.port, door.answers).run()
    assert raised.group_contains(CannotGoOn, match="cannot listen on")


async def test_other_names_are_asked_of_the_resolver_and_reverse_names_of_our_ranges_are_not() -> None:
    async with resolver(told("www.example.com. 20 A 192.0.2.1")) as theirs, opened(theirs.upstream) as door:
        for stream in (False, True):
            answer = await door.ask("www.example.com.", stream=stream)
            assert data(answer) == ["192.0.2.1"]
            assert not answer.flags & dns.flags.AA
        await door.ask("9.9.96.10.in-addr.arpa.", "PTR")
        await door.ask("gone.cluster.local.")
        assert [q.question[0].name.to_text() for q in theirs.asked] == ["www.example.com."]


async def test_an_alias_comes_with_what_the_resolver_says_about_its_end() -> None:
    async with resolver(told("db.example.com. 20 A 192.0.2.9")) as theirs, opened(theirs.upstream) as door:
        external = service("out", "", type="ExternalName", externalName="db.example.com")
        door.put("out", of_service(external, [], DOMAIN))
        answer = await door.ask("out.default.svc.cluster.local.")
        assert data(answer) == ["db.example.com.", "192.0.2.9"]


async def test_a_silent_resolver_is_a_failure_and_our_own_names_are_answered_meanwhile() -> None:
    async with resolver(silent) as theirs, opened(theirs.upstream) as door:
        waiting = asyncio.create_task(door.ask("www.example.com."))
        assert data(await door.ask(WEB)) == ["10.96.0.7"]
        assert (await waiting).rcode() == dns.rcode.SERVFAIL
