from ipaddress import IPv4Network

import pytest

from cluster_dns.names import Names, Owned
from cluster_dns.records import Layout, Record, of_namespace, of_service
from tests.unit.cluster_dns.objects import DOMAIN, endpoint, service, slice_of

WEB = "web.default.svc.cluster.local."
RANGES = (IPv4Network("10.96.0.0/16"), IPv4Network("10.244.0.0/16"))


@pytest.fixture
def names() -> Names:
    made = Names(Layout(ranges=RANGES))
    made.put("namespace", of_namespace("default", DOMAIN))
    made.put("web", of_service(service(), [slice_of(endpoint("10.244.0.2"))], DOMAIN))
    return made


def answers(names: Names, name: str, type_: str = "A") -> list[str]:
    found = names.find(name, type_)
    assert found is not None
    return [owned.record.data for owned in found.answer]


def kind(names: Names, name: str, type_: str = "A") -> str:
    found = names.find(name, type_)
    if found is None:
        return "not ours"
    if found.answer:
        return "answer"
    return "NODATA" if found.exists else "NXDOMAIN"


@pytest.mark.parametrize(
    ("name", "type_", "expected"),
    [
        (WEB, "A", "answer"),
        (WEB, "SRV", "answer"),
        (WEB, "AAAA", "NODATA"),
        (WEB, "TXT", "NODATA"),
        (WEB, "TYPE65280", "NODATA"),
        (f"_http._tcp.{WEB}", "SRV", "answer"),
        (f"_http._tcp.{WEB}", "A", "NODATA"),
        (f"_tcp.{WEB}", "SRV", "NODATA"),  # exists because a name below it does
        (f"_http._udp.{WEB}", "SRV", "NXDOMAIN"),
        (f"10-244-0-2.{WEB}", "A", "answer"),
        (f"10-244-0-3.{WEB}", "A", "NXDOMAIN"),
        ("gone.default.svc.cluster.local.", "A", "NXDOMAIN"),
        ("web.nowhere.svc.cluster.local.", "A", "NXDOMAIN"),
        ("default.svc.cluster.local.", "A", "NODATA"),
        ("nowhere.svc.cluster.local.", "A", "NXDOMAIN"),
        ("svc.cluster.local.", "A", "NODATA"),
        ("cluster.local.", "A", "NODATA"),
        ("cluster.local.", "SOA", "answer"),
        ("cluster.local.", "NS", "answer"),
        ("ns.dns.cluster.local.", "A", "answer"),
        ("dns.cluster.local.", "A", "NODATA"),
        ("dns-version.cluster.local.", "TXT", "answer"),
        ("10-1-2-3.default.pod.cluster.local.", "A", "answer"),
        ("10-1-2-3.default.pod.cluster.local.", "AAAA", "NODATA"),
        ("10-1-2-3.nowhere.pod.cluster.local.", "A", "NXDOMAIN"),
        ("web-0.default.pod.cluster.local.", "A", "NXDOMAIN"),
        ("fe80--1.default.pod.cluster.local.", "AAAA", "answer"),
        ("fe80--1%eth0.default.pod.cluster.local.", "AAAA", "NXDOMAIN"),
        ("x.10-1-2-3.default.pod.cluster.local.", "A", "NXDOMAIN"),
        ("default.pod.cluster.local.", "A", "NODATA"),
        ("pod.cluster.local.", "A", "NODATA"),
        ("7.0.96.10.in-addr.arpa.", "PTR", "answer"),
        ("2.0.244.10.in-addr.arpa.", "PTR", "answer"),
        ("8.0.96.10.in-addr.arpa.", "PTR", "NXDOMAIN"),
        ("0.96.10.in-addr.arpa.", "PTR", "NODATA"),
        ("96.10.in-addr.arpa.", "SOA", "answer"),
        ("example.com.", "A", "not ours"),
        ("local.", "A", "not ours"),
        ("notcluster.local.", "A", "not ours"),
        ("1.2.0.192.in-addr.arpa.", "PTR", "not ours"),
        (".", "NS", "not ours"),
    ],
)
def test_what_a_question_gets(names: Names, name: str, type_: str, expected: str) -> None:
    assert kind(names, name, type_) == expected


def test_negative_answers_name_the_zone_that_the_question_is_in(names: Names) -> None:
    for name, zone in (("gone.cluster.local.", DOMAIN), ("9.9.96.10.in-addr.arpa.", "96.10.in-addr.arpa.")):
        found = names.find(name, "A")
        assert found is not None
        assert found.zone == zone


def test_srv_answers_carry_the_addresses_of_their_targets(names: Names) -> None:
    found = names.find(f"_http._tcp.{WEB}", "SRV")
    assert found is not None
    assert found.additional == (Owned(WEB, Record("A", "10.96.0.7")),)


def test_an_address_of_the_nodes_has_a_name_if_an_endpoint_uses_it(names: Names) -> None:
    host = service("host", "None")
    names.put("host", of_service(host, [slice_of(endpoint("192.168.7.1"))], DOMAIN))
    assert answers(names, "1.7.168.192.in-addr.arpa.", "PTR") == ["192-168-7-1.host.default.svc.cluster.local."]
    assert kind(names, "2.7.168.192.in-addr.arpa.", "PTR") == "not ours"


def test_a_pod_behind_two_services_has_both_names_and_keeps_one_when_the_other_goes(names: Names) -> None:
    names.put("also", of_service(service("also", "None"), [slice_of(endpoint("10.244.0.2"))], DOMAIN))
    both = [f"10-244-0-2.{each}.default.svc.cluster.local." for each in ("web", "also")]
    assert answers(names, "2.0.244.10.in-addr.arpa.", "PTR") == both
    names.put("web", {})
    assert answers(names, "2.0.244.10.in-addr.arpa.", "PTR") == both[1:]


def test_what_is_gone_leaves_nothing(names: Names) -> None:
    names.put("web", {})
    assert kind(names, WEB) == "NXDOMAIN"
    assert kind(names, f"_tcp.{WEB}") == "NXDOMAIN"
    assert kind(names, "0.96.10.in-addr.arpa.") == "NXDOMAIN"
    names.put("namespace", {})
    assert kind(names, "default.svc.cluster.local.") == "NXDOMAIN"


def test_a_change_touches_its_names_and_those_that_it_brings_into_being(names: Names) -> None:
    touched = names.put("db", of_service(service("db", "None"), [slice_of(endpoint("10.244.3.4"))], DOMAIN))
    db = "db.default.svc.cluster.local."
    assert {db, f"_http._tcp.{db}", f"_tcp.{db}", "4.3.244.10.in-addr.arpa.", "3.244.10.in-addr.arpa."} <= touched
    assert WEB not in touched
    assert DOMAIN not in touched


def test_the_same_again_touches_nothing_and_keeps_the_serial_number(names: Names) -> None:
    serial = names.serial
    assert names.put("web", of_service(service(), [slice_of(endpoint("10.244.0.2"))], DOMAIN)) == set()
    assert names.serial == serial
    assert names.put("web", of_service(service(), [], DOMAIN))
    assert names.serial == serial + 1


def external(target: str) -> dict[str, tuple[Record, ...]]:
    return dict(of_service(service("out", "", type="ExternalName", externalName=target), [], DOMAIN))


OUT = "out.default.svc.cluster.local."


def test_an_alias_to_a_service_is_followed(names: Names) -> None:
    names.put("out", external("web.default.svc.cluster.local"))
    found = names.find(OUT, "A")
    assert found is not None
    assert found.answer == (Owned(OUT, Record("CNAME", WEB)), Owned(WEB, Record("A", "10.96.0.7")))
    assert answers(names, OUT, "CNAME") == [WEB]


def test_an_alias_to_another_zone_says_where_to_ask(names: Names) -> None:
    names.put("out", external("db.example.com"))
    found = names.find(OUT, "A")
    assert found is not None
    assert (found.elsewhere, found.exists) == ("db.example.com.", True)


def test_an_alias_to_nothing_is_no_such_name_after_the_alias(names: Names) -> None:
    names.put("out", external("gone.default.svc.cluster.local"))
    found = names.find(OUT, "A")
    assert found is not None
    assert not found.exists
    assert [owned.record.type for owned in found.answer] == ["CNAME"]


def test_an_alias_of_itself_ends(names: Names) -> None:
    names.put("out", external("out.default.svc.cluster.local"))
    found = names.find(OUT, "A")
    assert found is not None
    assert {owned.record.type for owned in found.answer} == {"CNAME"}
