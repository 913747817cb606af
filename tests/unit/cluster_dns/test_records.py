from ipaddress import IPv4Network

import pytest

from cluster_dns.records import Layout, Record, of_namespace, of_pod_name, of_service, of_zone
from tests.unit.cluster_dns.objects import DOMAIN, endpoint, service, slice_of

WEB = "web.default.svc.cluster.local."
ONE, TWO = "10.244.0.2", "10.244.1.3"


def test_a_service_has_its_address_its_ports_and_its_name_by_address() -> None:
    assert of_service(service(), [], DOMAIN) == {
        WEB: (Record("A", "10.96.0.7"), Record("SRV", f"0 100 80 {WEB}")),
        "7.0.96.10.in-addr.arpa.": (Record("PTR", WEB),),
        f"_http._tcp.{WEB}": (Record("SRV", f"0 100 80 {WEB}"),),
    }


def test_leading_zeros_of_an_address_say_nothing() -> None:
    found = of_service(service(ip="10.96.0.011"), [], DOMAIN)
    assert (Record("A", "10.96.0.11") in found[WEB], "11.0.96.10.in-addr.arpa." in found) == (True, True)


def test_a_port_without_a_name_has_no_srv_name() -> None:
    found = of_service(service(ports=[("", "TCP", 80)]), [], DOMAIN)
    assert not any(name.startswith("_") for name in found)
    assert Record("SRV", f"0 100 80 {WEB}") in found[WEB]


def test_ports_of_one_name_and_two_protocols_are_two_names() -> None:
    found = of_service(service(ports=[("dns", "UDP", 53), ("dns", "TCP", 53)]), [], DOMAIN)
    assert {f"_dns._udp.{WEB}", f"_dns._tcp.{WEB}"} <= found.keys()


def test_a_headless_service_has_the_addresses_of_its_ready_endpoints() -> None:
    slices = [slice_of(endpoint(ONE), endpoint("10.244.0.9", ready=False)), slice_of(endpoint(TWO), name="web-2")]
    found = of_service(service(ip="None"), slices, DOMAIN)
    assert [r.data for r in found[WEB] if r.type == "A"] == [ONE, TWO]
    assert not any("10-244-0-9" in name for name in found)


def test_endpoints_of_a_headless_service_have_names_of_their_own_and_back() -> None:
    found = of_service(service(ip="None"), [slice_of(endpoint(ONE, hostname="Db-0"), endpoint(TWO))], DOMAIN)
    assert found[f"db-0.{WEB}"] == (Record("A", ONE),)
    assert found[f"10-244-1-3.{WEB}"] == (Record("A", TWO),)
    assert found["2.0.244.10.in-addr.arpa."] == (Record("PTR", f"db-0.{WEB}"),)
    assert found["3.1.244.10.in-addr.arpa."] == (Record("PTR", f"10-244-1-3.{WEB}"),)


def test_a_headless_service_names_every_endpoint_for_every_port_with_the_endpoints_port() -> None:
    found = of_service(service(ip="None"), [slice_of(endpoint(ONE, hostname="db-0"), endpoint(TWO))], DOMAIN)
    assert found[f"_http._tcp.{WEB}"] == (
        Record("SRV", f"0 50 8080 db-0.{WEB}"),
        Record("SRV", f"0 50 8080 10-244-1-3.{WEB}"),
    )


def test_a_headless_service_without_ready_endpoints_has_no_names() -> None:
    assert of_service(service(ip="None"), [slice_of(endpoint(ONE, ready=False))], DOMAIN) == {}


def test_an_endpoint_of_unknown_readiness_counts_as_ready() -> None:
    assert WEB in of_service(service(ip="None"), [slice_of(endpoint(ONE, ready=None))], DOMAIN)


def test_endpoints_that_are_not_ready_are_published_if_the_service_says_so() -> None:
    unready = [slice_of(endpoint(ONE, ready=False))]
    assert WEB in of_service(service(ip="None", publishNotReadyAddresses=True), unready, DOMAIN)
    annotated = service(ip="None")
    annotated.metadata.annotations = {"service.alpha.kubernetes.io/tolerate-unready-endpoints": "true"}
    assert WEB in of_service(annotated, unready, DOMAIN)


def test_an_address_in_two_slices_is_one_record() -> None:
    slices = [slice_of(endpoint(ONE)), slice_of(endpoint(ONE), name="web-2", ports=[("https", "TCP", 8443)])]
    found = of_service(service(ip="None"), slices, DOMAIN)
    assert [r for r in found[WEB] if r.type == "A"] == [Record("A", ONE)]
    assert {f"_http._tcp.{WEB}", f"_https._tcp.{WEB}"} <= found.keys()


def test_endpoints_that_share_a_host_name_share_its_records() -> None:
    slices = [slice_of(endpoint(ONE, hostname="db"), endpoint(TWO, hostname="db"))]
    assert of_service(service(ip="None"), slices, DOMAIN)[f"db.{WEB}"] == (Record("A", ONE), Record("A", TWO))


def test_both_families_of_addresses_are_answered() -> None:
    found = of_service(service(ip="10.96.0.7", clusterIPs=["10.96.0.7", "fd00::7"]), [], DOMAIN)
    assert {Record("A", "10.96.0.7"), Record("AAAA", "fd00::7")} < set(found[WEB])
    assert found[f"7{'.0' * 27}.0.0.d.f.ip6.arpa."] == (Record("PTR", WEB),)


def test_slices_of_names_have_no_addresses() -> None:
    assert of_service(service(ip="None"), [slice_of(endpoint("a.example"), family="FQDN")], DOMAIN) == {}


@pytest.mark.parametrize("target", ["Database.Example.com", "database.example.com."])
def test_an_external_name_is_an_alias(target: str) -> None:
    external = service(ip="", type="ExternalName", externalName=target)
    assert of_service(external, [], DOMAIN) == {WEB: (Record("CNAME", "database.example.com."),)}


@pytest.mark.parametrize("target", ["192.0.2.1", f"{'a' * 64}.example.com"])
def test_an_external_name_that_is_an_address_or_too_long_is_none(target: str) -> None:
    assert of_service(service(ip="", type="ExternalName", externalName=target), [], DOMAIN) == {}


def test_a_namespace_has_a_place_for_services_and_for_pods() -> None:
    assert of_namespace("shop", DOMAIN) == {"shop.svc.cluster.local.": (), "shop.pod.cluster.local.": ()}


@pytest.mark.parametrize(
    ("label", "record"),
    [
        ("10-244-0-7", Record("A", "10.244.0.7")),
        ("1-2-3-4", Record("A", "1.2.3.4")),
        ("2001-db8--1", Record("AAAA", "2001:db8::1")),
        ("10-244-0-256", None),
        ("10-244-0", None),
        ("010-244-0-7", None),
        ("web-0", None),
        ("", None),
    ],
)
def test_a_pods_name_is_its_address(label: str, record: Record | None) -> None:
    assert of_pod_name(label) == record


@pytest.mark.parametrize(
    ("cidr", "zones"),
    [
        ("10.96.0.0/16", ["96.10.in-addr.arpa."]),
        ("10.0.0.0/8", ["10.in-addr.arpa."]),
        ("10.96.4.0/24", ["4.96.10.in-addr.arpa."]),
        ("10.96.0.0/15", ["96.10.in-addr.arpa.", "97.10.in-addr.arpa."]),
        ("10.96.2.0/23", ["2.96.10.in-addr.arpa.", "3.96.10.in-addr.arpa."]),
    ],
)
def test_a_range_is_as_many_reverse_zones_as_its_border_needs(cidr: str, zones: list[str]) -> None:
    assert Layout(ranges=(IPv4Network(cidr),)).zones() == (DOMAIN, *zones)


def test_the_zone_tells_its_version_and_its_server() -> None:
    found = of_zone(Layout(address="10.96.0.10"))
    assert found["dns-version.cluster.local."] == (Record("TXT", '"1.1.0"'),)
    assert found[DOMAIN] == (Record("NS", "ns.dns.cluster.local."),)
    assert found["ns.dns.cluster.local."] == (Record("A", "10.96.0.10"),)
