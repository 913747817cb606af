from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import pytest
from dns.message import Message

from cluster_dns.forwarding import Cache, Forwarder, Unanswered, Upstream, lifetime, resolvers
from machinery.testing import FakeClock
from tests.unit.cluster_dns.resolvers import resolver, silent, told

EXAMPLE = "www.example.com. 20 A 192.0.2.1"
SOA = "example.com. 20 SOA ns.example.com. root.example.com. 1 7200 1800 86400 10"
SHORT = 0.05


def query(name: str = "www.example.com.", type_: str = "A") -> Message:
    return dns.message.make_query(name, type_)


def data(answer: Message) -> list[str]:
    return [record.to_text() for rrset in answer.answer for record in rrset]


async def test_the_resolver_is_asked_with_an_id_of_our_own_and_recursion() -> None:
    async with resolver(told(EXAMPLE)) as theirs:
        asked = query()
        asked.id = 1
        forwarder = Forwarder([theirs.upstream], clock=FakeClock())
        for name in ("a.example.com.", "b.example.com.", "c.example.com."):
            await forwarder.ask(asked, name)
        assert {each.id for each in theirs.asked} != {1}
        assert all(each.flags & dns.flags.RD for each in theirs.asked)
        assert [each.question[0].name.to_text() for each in theirs.asked] == [f"{c}.example.com." for c in "abc"]


async def test_an_answer_is_remembered_as_long_as_its_ttl_says_and_grows_old() -> None:
    clock = FakeClock()
    async with resolver(told(EXAMPLE)) as theirs:
        forwarder = Forwarder([theirs.upstream], clock=clock)
        assert data(await forwarder.ask(query())) == ["192.0.2.1"]
        await clock.advance(15)
        again = await forwarder.ask(query("WWW.example.com."))
        assert (data(again), again.answer[0].ttl) == (["192.0.2.1"], 5)
        assert len(theirs.asked) == 1
        await clock.advance(6)
        await forwarder.ask(query())
        assert len(theirs.asked) == 2


async def test_no_is_remembered_as_long_as_its_soa_says() -> None:
    clock = FakeClock()
    async with resolver(told(rcode=dns.rcode.NXDOMAIN, authority=SOA)) as theirs:
        forwarder = Forwarder([theirs.upstream], clock=clock)
        for _ in range(2):
            assert (await forwarder.ask(query())).rcode() == dns.rcode.NXDOMAIN
        assert len(theirs.asked) == 1
        await clock.advance(11)
        await forwarder.ask(query())
        assert len(theirs.asked) == 2


async def test_types_are_remembered_apart() -> None:
    async with resolver(told(EXAMPLE)) as theirs:
        forwarder = Forwarder([theirs.upstream], clock=FakeClock())
        await forwarder.ask(query())
        await forwarder.ask(query(type_="AAAA"))
        assert len(theirs.asked) == 2


async def test_a_truncated_answer_is_asked_for_again_by_stream() -> None:
    async with resolver(told(EXAMPLE)) as theirs:
        theirs.truncates = True
        assert data(await Forwarder([theirs.upstream]).ask(query())) == ["192.0.2.1"]
        assert theirs.by_stream == 1


async def test_a_silent_resolver_gives_way_to_the_next_and_is_asked_last_from_then_on() -> None:
    async with resolver(silent) as first, resolver(told(EXAMPLE)) as second:
        forwarder = Forwarder([first.upstream, second.upstream], seconds=SHORT)
        for name in ("a.example.com.", "b.example.com."):
            assert data(await forwarder.ask(query(name))) == ["192.0.2.1"]
        assert (len(first.asked), len(second.asked)) == (1, 2)


async def test_a_resolver_that_failed_gives_way_to_the_next() -> None:
    async with resolver(told(rcode=dns.rcode.SERVFAIL)) as first, resolver(told(EXAMPLE)) as second:
        forwarder = Forwarder([first.upstream, second.upstream])
        assert data(await forwarder.ask(query())) == ["192.0.2.1"]


@pytest.mark.parametrize("answer", [silent, told(rcode=dns.rcode.REFUSED)])
async def test_without_an_answer_the_question_stays_open(answer: object) -> None:
    async with resolver(answer) as theirs:  # type: ignore[arg-type]
        with pytest.raises(Unanswered, match=r"127\.0\.0\.1"):
            await Forwarder([theirs.upstream], seconds=SHORT).ask(query())


async def test_without_resolvers_nobody_is_asked() -> None:
    with pytest.raises(Unanswered):
        await Forwarder([]).ask(query())


def response(*rrsets: str, **more: object) -> Message:
    made = told(*rrsets, **more)(query())  # type: ignore[arg-type]
    assert made is not None
    return made


def test_the_shortest_ttl_counts_and_half_a_minute_is_the_longest() -> None:
    assert lifetime(response("a.example. 20 CNAME b.example.", "b.example. 7 A 192.0.2.1")) == 7
    assert lifetime(response("a.example. 86400 A 192.0.2.1")) == 30
    assert lifetime(response("a.example. 0 A 192.0.2.1")) == 0
    assert lifetime(response(authority=SOA)) == 10
    assert lifetime(response()) == 0
    assert lifetime(response(rcode=dns.rcode.SERVFAIL)) == 0


def test_the_cache_keeps_what_was_used_last() -> None:
    cache = Cache(FakeClock(), limit=2)
    one, two, three = (
        (each.question[0].name, each.question[0].rdtype, False) for each in map(query, ("a.", "b.", "c."))
    )
    answer = response(EXAMPLE)
    cache.put(one, answer)
    cache.put(two, answer)
    assert cache.get(one) is not None
    cache.put(three, answer)
    assert len(cache) == 2
    assert cache.get(two) is None
    assert cache.get(one) is not None


def test_resolv_conf_names_the_resolvers_but_never_ourselves(tmp_path: Path) -> None:
    conf = tmp_path / "resolv.conf"
    conf.write_text(
        "# made by hand\nsearch example.com\nnameserver 10.96.0.10\nnameserver 192.0.2.53 # near\nnameserver\n"
    )
    assert resolvers(conf, but={"10.96.0.10"}) == (Upstream("192.0.2.53", 53),)
    assert resolvers(tmp_path / "missing") == ()
