"""Clients who want the server's memory, its time, or all that it may ask of others."""

import asyncio
import itertools
import socket

import dns.edns
import dns.message
import dns.rcode
import pytest
from dns.message import Message

from cluster_dns import answers, serving
from cluster_dns.forwarding import RECORD_BYTES, Cache, Forwarder
from cluster_dns.messages import LARGEST_QUERY
from tests.unit.cluster_dns.resolvers import resolver, rrset_of, told
from tests.unit.cluster_dns.test_serving import LONG, WEB, Door, data, opened

ADDRESSES = [f"10.244.{n // 250}.{n % 250 + 1}" for n in range(300)]


def worded(name: str, number: int, size: int = 4) -> Message:
    """A question in words of its own: options that mean nothing."""
    option = dns.edns.GenericOption(dns.edns.OptionType.make(65001), number.to_bytes(4).ljust(size, b"\0"))
    return dns.message.make_query(name, "A", use_edns=0, options=[option], request_payload=65535, payload=4096)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_question_longer_than_any_is_not_read(stream: bool) -> None:
    async with opened() as door:
        assert (await door.say(worded(WEB, 1, LARGEST_QUERY), stream=stream)).rcode() == dns.rcode.FORMERR
        assert data(await door.say(worded(WEB, 1, LARGEST_QUERY // 2), stream=stream)) == ["10.96.0.7"]


def pointing(*pointers: int) -> bytes:
    """A question whose name is the first of these pointers, which stand one after the other from byte 12 on."""
    return b"\0\1\1\0\0\1" + b"\0" * 6 + b"".join((0xC000 | each).to_bytes(2) for each in pointers) + b"\0\1\0\1"


@pytest.mark.parametrize("pointers", [(12,), (14, 12), (4000,), tuple(range(14, 2000, 2))])
def test_names_that_point_at_themselves_or_nowhere_are_not_followed(pointers: tuple[int, ...]) -> None:
    assert Door().answers.at_once(pointing(*pointers), datagram=True) == b"\0\1\x81\1" + b"\0" * 8


@pytest.mark.parametrize("datagram", [False, True])
def test_questions_in_ever_new_words_leave_no_more_than_so_many_bytes(
    monkeypatch: pytest.MonkeyPatch, datagram: bool
) -> None:
    monkeypatch.setattr(answers, "MOST_PREPARED", 100_000)
    door = Door()
    door.headless("big", *ADDRESSES)
    for number in range(100):
        assert door.answers.at_once(worded(LONG, number).to_wire(), datagram=datagram)
    kept = door.answers._shelves[datagram].by_query.values()
    assert 0 < sum(len(wire) for prepared in kept for wire in prepared.wires) <= 100_000


def test_only_the_turn_that_is_asked_for_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made, wire_of = [], answers._wire

    def counted(query: Message, reply: Message, datagram: bool) -> bytes:
        made.append(reply)
        return wire_of(query, reply, datagram)

    monkeypatch.setattr(answers, "_wire", counted)
    door = Door()
    door.headless("big", *ADDRESSES)
    wires = [worded(LONG, number).to_wire() for number in range(2)]
    for wire in wires:
        door.answers.at_once(wire, datagram=False)
    assert len(made) == 2
    several = [door.answers.at_once(wires[0], datagram=False) for _ in range(3 * answers.MOST_TURNS)]
    assert len(made) == 2 + answers.MOST_TURNS - 1
    assert len({each[2:] for each in several if each}) == answers.MOST_TURNS


async def test_large_answers_of_others_push_each_other_out_of_the_cache() -> None:
    records = [f"10.0.{n // 250}.{n % 250 + 1}" for n in range(1000)]
    large = dns.message.make_response(dns.message.make_query("a.example.com.", "A"))
    large.answer = [rrset_of(f"a.example.com. 20 A {records[0]}")]
    for each in records[1:]:
        large.answer[0].add(rrset_of(f"a.example.com. 20 A {each}")[0])
    cache = Cache(most_bytes=3 * 1000 * RECORD_BYTES)
    for number in range(100):
        cache.put((dns.name.from_text(f"{number}.example.com."), dns.rdatatype.A, False), large)
    assert len(cache) == 2


async def test_whoever_asks_for_what_nobody_answers_leaves_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "MOST_WAITING_EACH", 3)
    answer = told("www.example.com. 20 A 192.0.2.1")
    asked: list[Message] = []
    all_asked = asyncio.Event()

    def answer_others(query: Message) -> Message | None:
        if b"flood" not in query.to_wire():
            return answer(query)
        asked.append(query)
        if len(asked) == 3:
            all_asked.set()
        return None

    async with (
        resolver(answer_others) as theirs,
        opened(theirs.upstream) as door,
        asyncio.timeout(20),
    ):
        door.answers._forwarder = Forwarder([theirs.upstream], seconds=3600)
        flood = [asyncio.create_task(door.ask(f"{n}.flood.example.com.")) for n in range(3)]
        await all_asked.wait()
        assert (await door.ask("4.flood.example.com.")).rcode() == dns.rcode.SERVFAIL
        assert data(await door.ask(WEB)) == ["10.96.0.7"]
        query = dns.message.make_query("www.example.com.", "A")
        for ask in (dns.asyncquery.udp, dns.asyncquery.tcp):
            other = await ask(query, "127.0.0.1", port=door.server.port, source="127.0.0.2")
            assert data(other) == ["192.0.2.1"]
        for task in flood:
            task.cancel()
        await asyncio.gather(*flood, return_exceptions=True)


async def test_whoever_asks_on_a_stream_and_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "IDLE_SECONDS", 0.1)
    loop = asyncio.get_running_loop()
    query = dns.message.make_query(LONG, "A").to_wire(prepend_length=True)
    async with opened() as door, asyncio.timeout(60):
        door.headless("big", *ADDRESSES)
        with socket.socket() as own:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            own.setblocking(False)
            await loop.sock_connect(own, ("127.0.0.1", door.server.port))
            with pytest.raises(ConnectionError):
                await _pour(own, query)
        assert data(await door.ask(WEB)) == ["10.96.0.7"]


async def _pour(into: socket.socket, query: bytes) -> None:
    for _ in itertools.repeat(None):
        await asyncio.get_running_loop().sock_sendall(into, query * 100)
