import pytest

from api.types import (
    ClientIPConfig,
    Endpoint,
    LoadBalancerIngress,
    LoadBalancerStatus,
    ServicePort,
    ServiceStatus,
    SessionAffinityConfig,
)
from kube_proxy.services import PASSED_OVER, Backend, local_endpoints
from tests.unit.kube_proxy.objects import endpoint, ports, service, slice_of


def test_only_ready_endpoints_are_chosen() -> None:
    [port] = ports(service(), slice_of(endpoint("10.244.0.2"), endpoint("10.244.0.3", ready=False)))
    assert port.everywhere == (Backend("10.244.0.2", 8080),)


def test_an_unknown_condition_counts_as_ready() -> None:
    [port] = ports(service(), slice_of(endpoint("10.244.0.2", ready=None)))
    assert port.everywhere == (Backend("10.244.0.2", 8080),)


def test_an_address_of_version_4_that_is_spelt_in_version_6_is_not_ours() -> None:
    of = service(type="LoadBalancer", externalIPs=["::ffff:203.0.113.1", "203.0.113.2"])
    of.status.loadBalancer.ingress = [LoadBalancerIngress(ip="::ffff:203.0.113.3")]
    [port] = ports(of)
    assert port.external_ips == ("203.0.113.2",)


def test_leading_zeros_of_an_address_say_nothing() -> None:
    of = service(ip="10.96.0.011", externalIPs=["203.0.113.010"])
    [port] = ports(of, slice_of(endpoint("10.244.000.2")))
    assert (port.cluster_ips, port.external_ips) == (("10.96.0.11",), ("203.0.113.10",))
    assert port.everywhere == (Backend("10.244.0.2", 8080),)


def test_terminating_endpoints_that_serve_are_the_last_resort() -> None:
    leaving = endpoint("10.244.0.3", ready=False, serving=True, terminating=True)
    [port] = ports(service(), slice_of(leaving))
    assert port.everywhere == (Backend("10.244.0.3", 8080),)
    [port] = ports(service(), slice_of(endpoint("10.244.0.2"), leaving))
    assert port.everywhere == (Backend("10.244.0.2", 8080),)


def test_terminating_endpoints_that_do_not_serve_are_never_chosen() -> None:
    [port] = ports(service(), slice_of(endpoint("10.244.0.3", ready=False, serving=False, terminating=True)))
    assert port.everywhere == ()


def test_endpoints_of_all_slices_are_joined_without_doubles() -> None:
    [port] = ports(
        service(), slice_of(endpoint("10.244.0.3"), endpoint("10.244.0.2")), slice_of(endpoint("10.244.0.2"))
    )
    assert [b.address for b in port.everywhere] == ["10.244.0.2", "10.244.0.3"]


def test_a_slice_port_belongs_to_the_service_port_of_its_name_and_protocol() -> None:
    of = service(
        ports=[
            ServicePort(name="dns", port=53, protocol="UDP"),
            ServicePort(name="dns-tcp", port=53, protocol="TCP"),
        ]
    )
    udp, tcp = ports(of, slice_of(endpoint("10.244.0.2"), port=5353, protocol="UDP", name="dns"))
    assert (udp.protocol, udp.everywhere) == ("udp", (Backend("10.244.0.2", 5353),))
    assert (tcp.protocol, tcp.everywhere) == ("tcp", ())


def test_local_endpoints_are_those_of_this_node() -> None:
    [port] = ports(service(), slice_of(endpoint("10.244.0.2"), endpoint("10.244.1.2", "node2")))
    assert port.here == (Backend("10.244.0.2", 8080),)


def test_terminating_local_endpoints_serve_policy_local_beside_ready_ones_elsewhere() -> None:
    leaving = endpoint("10.244.0.2", ready=False, serving=True, terminating=True)
    [port] = ports(service(), slice_of(leaving, endpoint("10.244.1.2", "node2")))
    assert port.here == (Backend("10.244.0.2", 8080),)
    assert port.everywhere == (Backend("10.244.1.2", 8080),)


def test_headless_and_external_services_are_not_served() -> None:
    for each in (service(ip="None"), service(ip="", type="ExternalName", externalName="example.org")):
        assert ports(each, slice_of(endpoint("10.244.0.2"))) == []


@pytest.mark.parametrize("label", PASSED_OVER)
def test_what_has_the_label_of_another_proxy_or_of_none_is_not_served(label: str) -> None:
    foreign, slice_ = service(), slice_of(endpoint("10.244.0.2"))
    foreign.metadata.labels[label] = ""
    assert ports(foreign, slice_) == []
    slice_.metadata.labels[label] = "other"
    [port] = ports(service(), slice_)
    assert port.everywhere == ()
    assert local_endpoints([slice_], "node1") == set()


def test_addresses_of_the_other_family_are_left_out() -> None:
    [port] = ports(service(clusterIPs=["10.96.0.10", "fd00::10"]))
    assert port.cluster_ips == ("10.96.0.10",)


def test_external_addresses_are_those_of_the_spec_and_of_the_load_balancer() -> None:
    of = service(type="LoadBalancer", externalIPs=["192.0.2.1"])
    of.status = ServiceStatus(
        loadBalancer=LoadBalancerStatus(
            ingress=[LoadBalancerIngress(ip="192.0.2.2"), LoadBalancerIngress(ip="192.0.2.3", ipMode="Proxy")]
        )
    )
    [port] = ports(of)
    assert port.external_ips == ("192.0.2.1", "192.0.2.2")


def test_affinity_lasts_three_hours_unless_the_service_says_otherwise() -> None:
    [port] = ports(service(sessionAffinity="ClientIP"))
    assert port.affinity_seconds == 10800
    config = SessionAffinityConfig(clientIP=ClientIPConfig(timeoutSeconds=60))
    [port] = ports(service(sessionAffinity="ClientIP", sessionAffinityConfig=config))
    assert port.affinity_seconds == 60


A, B, C = "10.244.0.2", "10.244.1.2", "10.244.2.2"


def chosen(*endpoints: Endpoint, node: str = "node1", zone: str = "") -> list[str]:
    [port] = ports(service(), slice_of(*endpoints), node=node, zone=zone)
    return [b.address for b in port.everywhere]


def test_hints_keep_clients_in_their_zone() -> None:
    hinted = (endpoint(A, zones="z1"), endpoint(B, "node2", zones="z2"), endpoint(C, "node3", zones="z2 z3"))
    assert chosen(*hinted, zone="z2") == [B, C]
    assert chosen(*hinted, zone="z3") == [C]


def test_hints_for_the_node_go_before_those_for_its_zone() -> None:
    hinted = (endpoint(A, zones="z1", nodes="node1"), endpoint(B, "node2", zones="z1", nodes="node2"))
    assert chosen(*hinted, zone="z1") == [A]
    assert chosen(*hinted, node="node3", zone="z1") == [A, B]


def test_hints_are_not_followed_when_one_ready_endpoint_has_none_or_none_is_meant_for_here() -> None:
    assert chosen(endpoint(A, zones="z1"), endpoint(B), zone="z1") == [A, B]
    assert chosen(endpoint(A, zones="z1"), endpoint(B, ready=False), zone="z1") == [A]
    assert chosen(endpoint(A, zones="z1"), endpoint(B, zones="z1"), zone="z2") == [A, B]
    assert chosen(endpoint(A, zones="z1"), endpoint(B, zones="z2"), zone="") == [A, B]
    assert chosen(endpoint(A, zones="z1", nodes="node1"), endpoint(B, zones="z2"), zone="z2") == [B]


def test_terminating_endpoints_are_the_last_resort_whatever_they_are_meant_for() -> None:
    leaving = endpoint(A, ready=False, serving=True, terminating=True, zones="z2")
    assert chosen(leaving, zone="z1") == [A]
    assert chosen(leaving, endpoint(B, zones="z2"), zone="z1") == [B]


def test_policy_local_does_not_ask_for_hints() -> None:
    [port] = ports(service(), slice_of(endpoint(A, zones="z2"), endpoint(B, "node2", zones="z1")), zone="z1")
    assert [b.address for b in port.everywhere] == [B]
    assert [b.address for b in port.here] == [A]
