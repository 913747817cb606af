"""The table in a real kernel, with real packets between network namespaces."""

import re
import time

import pytest

from api.meta import Key
from api.types import ServicePort
from kube_proxy import conntrack, routes
from kube_proxy.nftables import Nftables, NftablesError
from kube_proxy.proxy import is_stale, udp_ends
from kube_proxy.rules import Elements
from kube_proxy.table import Table
from kube_proxy.transactions import Layout
from tests.unit.kube_proxy.conftest import POD_A, POD_B, POD_C
from tests.unit.kube_proxy.networks import (
    NODE_IP,
    OUTSIDE_IP,
    POD_RANGE,
    SERVICE_RANGE,
    Datagrams,
    Network,
    ask,
    inside,
    ip,
    tally,
)
from tests.unit.kube_proxy.objects import endpoint, service, slice_of, wanted

WEB = Key("default", "web")
IP = "10.96.0.10"
NODE_PORT = [ServicePort(port=80, protocol="TCP", nodePort=30080)]


@pytest.fixture(autouse=True)
def _routed(network: Network) -> None:
    with inside(network.node):
        routes.ensure(SERVICE_RANGE, NODE_IP)


def web(*addresses: str, **spec: object) -> Elements:
    return wanted(service(**spec), slice_of(*(endpoint(a) for a in addresses)))


def pod(network: Network, address: str) -> str:
    return network.node.replace("node", f"pod{address.rpartition('.')[2]}")


def test_connections_to_a_service_are_spread_over_its_endpoints(network: Network, table: Table) -> None:
    table.apply({WEB: web(POD_A, POD_B, POD_C)})
    for source in (network.node, pod(network, POD_A), network.outside):
        if source == network.outside:
            ip("-n", source, "route", "replace", SERVICE_RANGE, "via", NODE_IP)
        answers = tally(source, IP, 80, 90)
        assert set(answers) == {POD_A, POD_B, POD_C}
        assert min(answers.values()) > 90 * 0.12, answers


def test_a_pod_is_seen_with_its_own_address_by_others_and_reaches_itself(network: Network, table: Table) -> None:
    table.apply({WEB: web(POD_B)})
    assert ask(pod(network, POD_A), IP, 80) == (POD_B, POD_A)
    itself, seen = ask(pod(network, POD_B), IP, 80)
    assert itself == POD_B
    assert seen != POD_B, "an answer to itself would never pass the node again"


def test_a_pod_comes_to_whoever_has_no_route_to_pods_as_its_node(network: Network, table: Table) -> None:
    table.apply({})
    network.serve(network.outside, "outside", 8081)
    assert ask(pod(network, POD_A), OUTSIDE_IP, 8081) == ("outside", NODE_IP)


def test_a_service_without_endpoints_refuses_at_once_and_so_does_an_unused_address(
    network: Network, table: Table
) -> None:
    table.apply({WEB: web(type="NodePort", ports=NODE_PORT)})
    started = time.monotonic()
    for source in (network.node, pod(network, POD_A)):
        for address, port in ((IP, 80), (IP, 81), ("10.96.200.200", 80), (NODE_IP, 30080)):
            with pytest.raises(ConnectionRefusedError):
                ask(source, address, port)
            # To a local sender the kernel says EPERM, which comes even sooner than the ICMP message.
            with Datagrams(network, source) as client, pytest.raises((ConnectionRefusedError, PermissionError)):
                client.ask(address, port)
    assert time.monotonic() - started < 5, "a stalled client would need a second each time"


def test_a_node_port_answers_to_the_outside_as_the_node(network: Network, table: Table) -> None:
    table.apply({WEB: web(POD_A, POD_B, type="NodePort", ports=NODE_PORT)})
    assert set(tally(network.outside, NODE_IP, 30080, 30)) == {POD_A, POD_B}
    assert ask(network.outside, NODE_IP, 30080)[1] != OUTSIDE_IP
    assert set(tally(network.node, NODE_IP, 30080, 30)) == {POD_A, POD_B}
    assert ask(pod(network, POD_A), NODE_IP, 30080)[0] in (POD_A, POD_B)


def test_policy_local_keeps_the_clients_address_and_chooses_pods_of_this_node(network: Network, table: Table) -> None:
    of = service(type="NodePort", ports=NODE_PORT, externalTrafficPolicy="Local")
    table.apply({WEB: wanted(of, slice_of(endpoint(POD_A, "node2"), endpoint(POD_B)))})
    assert tally(network.outside, NODE_IP, 30080, 20) == {POD_B: 20}
    assert ask(network.outside, NODE_IP, 30080)[1] == OUTSIDE_IP
    assert set(tally(pod(network, POD_C), NODE_IP, 30080, 30)) == {POD_A, POD_B}


def test_a_changed_endpoint_takes_over_without_a_gap(network: Network, table: Table) -> None:
    table.apply({WEB: web(POD_A)})
    for address in (POD_B, POD_C, POD_A):
        table.apply({WEB: web(address)})
        assert ask(network.node, IP, 80)[0] == address
    table.apply({WEB: {}})
    with pytest.raises(ConnectionRefusedError):
        ask(network.node, IP, 80)


def test_a_remembered_client_stays_until_its_endpoint_leaves(network: Network, table: Table) -> None:
    pods = [POD_A, POD_B, POD_C]
    table.apply({WEB: web(*pods, sessionAffinity="ClientIP", type="NodePort", ports=NODE_PORT)})
    chosen, _ = ask(network.node, IP, 80)
    assert tally(network.node, IP, 80, 20) == {chosen: 20}
    by_port, _ = ask(network.outside, NODE_IP, 30080)
    assert tally(network.outside, NODE_IP, 30080, 20) == {by_port: 20}
    pods.remove(chosen)
    table.apply({WEB: web(*pods, sessionAffinity="ClientIP", type="NodePort", ports=NODE_PORT)})
    another, _ = ask(network.node, IP, 80)
    assert another in pods
    assert tally(network.node, IP, 80, 20) == {another: 20}


def test_remembered_clients_survive_another_proxy(network: Network, table: Table, kernel: Nftables) -> None:
    content = {WEB: web(POD_A, POD_B, POD_C, sessionAffinity="ClientIP")}
    table.apply(content)
    clients = [network.node, *(pod(network, a) for a in (POD_A, POD_B, POD_C))]
    chosen = [ask(client, IP, 80)[0] for client in clients]
    Table(kernel, Layout(SERVICE_RANGE, POD_RANGE)).apply(content)
    assert [ask(client, IP, 80)[0] for client in clients] == chosen


def test_a_udp_flow_leaves_an_endpoint_that_left(network: Network, table: Table) -> None:
    udp = [ServicePort(port=80, protocol="UDP", nodePort=30081)]

    def content(*addresses: str) -> Elements:
        slices = slice_of(*(endpoint(a) for a in addresses), protocol="UDP")
        return wanted(service(ports=udp, type="NodePort"), slices)

    table.apply({WEB: content(POD_A)})
    with (
        Datagrams(network, network.node) as client,
        Datagrams(network, network.outside) as outside,
        Datagrams(network, pod(network, POD_C)) as other,
    ):
        assert client.ask(IP, 80) == outside.ask(NODE_IP, 30081) == POD_A
        assert other.ask(POD_B, 8080) == POD_B
        ends = frozenset(udp_ends(table.apply({WEB: content(POD_B)})))
        assert ends == {(IP, 80), ("", 30081)}
        assert conntrack.delete_flows(lambda f: is_stale(f, ends, table.ledger, NODE_IP)) == 2
        assert client.ask(IP, 80) == outside.ask(NODE_IP, 30081) == POD_B
    assert conntrack.delete_flows(lambda f: is_stale(f, ends, table.ledger, NODE_IP)) == 0


def test_what_others_delete_comes_back(network: Network, table: Table, kernel: Nftables) -> None:
    table.apply({WEB: web(POD_A, POD_B)})
    assert table.repair() is False
    for damage in (
        "flush chain ip kube-proxy output",
        f"delete element ip kube-proxy endpoints-tcp {{ {IP} . tcp . 80 . 0 }}",
        "flush map ip kube-proxy ips",
        "add element ip kube-proxy hairpins { 10.244.0.9 . 10.244.0.9 }",
        "flush chain ip kube-proxy ip-2",
        "delete table ip kube-proxy",
    ):
        kernel.run(damage)
        assert table.repair() is True, damage
        assert table.repair() is False, damage
        assert ask(network.node, IP, 80)[0] in (POD_A, POD_B)


def test_a_change_on_a_table_that_others_deleted_restores_all_of_it(
    network: Network, table: Table, kernel: Nftables
) -> None:
    table.apply({WEB: web(POD_A)})
    kernel.run("delete table ip kube-proxy")
    table.apply({WEB: web(POD_B)})
    assert ask(network.node, IP, 80)[0] == POD_B
    assert table.repair() is False


def test_a_table_comes_after_the_one_that_it_replaces_at_every_hook(table: Table, kernel: Nftables) -> None:
    """A packet that is under way meets the rules of one of them, whichever hooks it has passed already."""

    def priorities() -> list[int]:
        return [int(p) for p in re.findall(r" priority (-?\d+)", kernel.structure("kube-proxy"))]

    table.apply({WEB: web(POD_A)})
    first = before = priorities()
    assert len(first) > 5
    for _ in range(63):
        table.replace()
        assert priorities() == [p + 1 for p in before]
        before = priorities()
    table.replace()
    assert priorities() == first
    table.apply({WEB: web(POD_B)})
    assert priorities() == first, "a change alone replaces nothing"


def test_other_tables_are_left_alone(table: Table, kernel: Nftables) -> None:
    kernel.run("table ip others { chain c { type nat hook output priority -100; ip daddr 127.0.0.11 accept; }\n}")
    try:
        table.apply({WEB: web(POD_A)})
        kernel.run("add rule ip others c ip daddr 127.0.0.12 accept")
        assert table.repair() is False
        table.replace()
        assert "127.0.0.12" in kernel.run("list table ip others")
    finally:
        kernel.run("delete table ip others")


def test_a_refused_transaction_says_why_and_changes_nothing(table: Table, kernel: Nftables) -> None:
    table.apply({WEB: web(POD_A)})
    with pytest.raises(NftablesError, match="No such file or directory"):
        kernel.run("delete element ip kube-proxy ips { 10.96.9.9 . tcp . 80 }\nflush map ip kube-proxy ips")
    assert table.repair() is False


def test_chains_come_and_go_with_the_numbers_of_endpoints(table: Table, kernel: Nftables) -> None:
    table.apply({WEB: web(POD_A)})
    table.apply({WEB: web(POD_A, POD_B, POD_C)})
    structure = kernel.structure("kube-proxy")
    assert "chain ip-3 {" in structure
    assert "chain ip-1 {" not in structure


def test_the_service_range_goes_to_the_node_itself_and_never_out(network: Network, table: Table) -> None:
    table.apply({})
    found = ip("-n", network.node, "-details", "route", "show", SERVICE_RANGE)
    assert f"dev lo proto boot scope link src {NODE_IP}" in found
    assert f"unreachable {SERVICE_RANGE}" in found
    assert str(routes.LAST_RESORT) in found
    with inside(network.node):
        routes.ensure(SERVICE_RANGE, NODE_IP)
        with pytest.raises(OSError, match="Invalid argument"):
            routes.ensure(SERVICE_RANGE, "192.0.2.77")
    assert ip("-n", network.node, "-details", "route", "show", SERVICE_RANGE) == found
