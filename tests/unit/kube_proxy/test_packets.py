"""Every kind of way through a service, with real packets, and what must not get through."""

import math
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from api.meta import Key
from api.types import (
    ClientIPConfig,
    LoadBalancerIngress,
    LoadBalancerStatus,
    Service,
    ServicePort,
    ServiceStatus,
    SessionAffinityConfig,
)
from kube_proxy import conntrack, routes, timeouts
from kube_proxy.nftables import Nftables
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

WEB, IP, BALANCER = Key("default", "web"), "10.96.0.10", "192.0.2.200"
NODE_PORT = [ServicePort(port=80, protocol="TCP", nodePort=30080)]


@pytest.fixture(autouse=True)
def _routed(network: Network) -> None:
    with inside(network.node):
        routes.ensure(SERVICE_RANGE, NODE_IP)
    for where in (SERVICE_RANGE, f"{BALANCER}/32"):
        ip("-n", network.outside, "route", "replace", where, "via", NODE_IP)


def pod(network: Network, address: str) -> str:
    return network.node.replace("node", f"pod{address.rpartition('.')[2]}")


def web(*addresses: str, **spec: object) -> Elements:
    return wanted(service(**spec), slice_of(*(endpoint(a) for a in addresses)))


def balancer(*sources: str) -> Service:
    of = service(type="LoadBalancer", ports=NODE_PORT, loadBalancerSourceRanges=list(sources))
    of.status = ServiceStatus(loadBalancer=LoadBalancerStatus(ingress=[LoadBalancerIngress(ip=BALANCER)]))
    return of


@contextmanager
def held(network: Network) -> Iterator[None]:
    ip("-n", network.node, "addr", "add", f"{BALANCER}/32", "dev", "eth0")
    try:
        yield
    finally:
        ip("-n", network.node, "addr", "del", f"{BALANCER}/32", "dev", "eth0")


def test_connections_are_spread_evenly(network: Network, table: Table) -> None:
    """Each endpoint's share is binomial: four sigma are missed once in 16,000 times."""
    table.apply({WEB: web(POD_A, POD_B, POD_C)})
    times = 1200
    answers = tally(pod(network, POD_A), IP, 80, times)
    sigma = math.sqrt(times * (1 / 3) * (2 / 3))
    assert all(abs(count - times / 3) < 4 * sigma for count in answers.values()), answers
    assert len(answers) == 3


def test_source_ranges_bind_clients_outside_pods_and_processes_of_the_node(network: Network, table: Table) -> None:
    def allowed(*sources: str) -> dict[str, bool]:
        table.apply({WEB: wanted(balancer(*sources), slice_of(endpoint(POD_A)), address=NODE_IP)})
        clients = {"outside": network.outside, "pod": pod(network, POD_B), "node": network.node}
        return {name: answers(client) for name, client in clients.items()}

    def answers(client: str) -> bool:
        try:
            return ask(client, BALANCER, 80, patience=0.2)[0] == POD_A
        except TimeoutError:
            return False

    for on_the_node in (False, True):
        with held(network) if on_the_node else held_elsewhere(network):
            assert allowed("0.0.0.0/0") == {"outside": True, "pod": True, "node": True}
            assert allowed(f"{OUTSIDE_IP}/32") == {"outside": True, "pod": False, "node": False}
            assert allowed(POD_RANGE) == {"outside": False, "pod": True, "node": False}
            assert allowed(f"{NODE_IP}/32") == {"outside": False, "pod": False, "node": True}
            for of_both in ("192.0.0.0/8", f"{BALANCER}/31", f"{BALANCER}/32"):
                assert allowed(f"{NODE_IP}/32", of_both)["node"]
                assert table.repair() is False
    assert ask(network.outside, NODE_IP, 30080)[0] == POD_A, "node ports are not limited"


@contextmanager
def held_elsewhere(network: Network) -> Iterator[None]:
    """Some other node has the address; this one has a route to it."""
    ip("-n", network.node, "route", "add", f"{BALANCER}/32", "via", OUTSIDE_IP)
    try:
        yield
    finally:
        ip("-n", network.node, "route", "del", f"{BALANCER}/32")


def test_internal_policy_local_drops_what_other_nodes_could_answer(network: Network, table: Table) -> None:
    of = service(internalTrafficPolicy="Local")
    table.apply({WEB: wanted(of, slice_of(endpoint(POD_A, "node2"), endpoint(POD_B)))})
    for client in (network.node, pod(network, POD_C)):
        assert tally(client, IP, 80, 12) == {POD_B: 12}
    table.apply({WEB: wanted(of, slice_of(endpoint(POD_A, "node2")))})
    for client in (network.node, pod(network, POD_C)):
        with pytest.raises((TimeoutError, PermissionError)):
            ask(client, IP, 80, patience=0.2)
    table.apply({WEB: wanted(of)})
    with pytest.raises(ConnectionRefusedError):
        ask(pod(network, POD_C), IP, 80)


def test_external_addresses_answer_the_outside_and_the_cluster(network: Network, table: Table) -> None:
    table.apply({WEB: web(POD_A, externalIPs=[BALANCER])})
    for client in (network.outside, pod(network, POD_B), network.node):
        with held_elsewhere(network):
            assert ask(client, BALANCER, 80)[0] == POD_A
    table.apply({WEB: web(externalIPs=[BALANCER])})
    with held_elsewhere(network), pytest.raises(ConnectionRefusedError):
        ask(network.outside, BALANCER, 80)


def test_node_ports_answer_on_the_given_addresses_alone(network: Network, kernel: Nftables) -> None:
    Table(kernel, Layout(SERVICE_RANGE, POD_RANGE, ("192.0.2.0/24",))).apply(
        {WEB: web(POD_A, type="NodePort", ports=NODE_PORT)}
    )
    with held(network):
        assert ask(network.outside, BALANCER, 30080)[0] == POD_A
        with pytest.raises(ConnectionRefusedError):
            ask(network.outside, NODE_IP, 30080)


def test_only_clients_that_are_no_pods_are_masqueraded_unless_all_are(
    network: Network, table: Table, kernel: Nftables
) -> None:
    content = {WEB: web(POD_A)}
    table.apply(content)
    assert ask(pod(network, POD_B), IP, 80) == (POD_A, POD_B)
    assert ask(network.outside, IP, 80)[1] != OUTSIDE_IP
    Table(kernel, Layout(SERVICE_RANGE, POD_RANGE, masquerade_all=True)).apply(content)
    assert ask(pod(network, POD_B), IP, 80)[1] != POD_B


def test_a_client_is_forgotten_after_its_time(network: Network, table: Table, kernel: Nftables) -> None:
    config = SessionAffinityConfig(clientIP=ClientIPConfig(timeoutSeconds=1))
    table.apply({WEB: web(POD_A, POD_B, POD_C, sessionAffinity="ClientIP", sessionAffinityConfig=config)})
    answers = set()
    for _ in range(12):  # one in 170,000 that the same endpoint is drawn each time
        first, _ = ask(network.node, IP, 80)
        assert tally(network.node, IP, 80, 5) == {first: 5}
        answers.add(first)
        if len(answers) > 1:
            return
        while '"elem"' in kernel.listed("kube-proxy", "affinity"):
            pass  # the kernel tells nobody that a second has passed
    raise AssertionError(answers)


def test_a_udp_client_that_came_too_early_is_served_once_there_is_an_endpoint(network: Network, table: Table) -> None:
    udp = [ServicePort(port=80, protocol="UDP", nodePort=30082)]
    of = service(ports=udp, type="NodePort")
    table.apply({})
    with Datagrams(network, network.outside) as client:
        with pytest.raises(ConnectionRefusedError):
            client.ask(NODE_IP, 30082)
        table.apply({WEB: wanted(of)})
        with pytest.raises(ConnectionRefusedError):
            client.ask(NODE_IP, 30082)
        ends = frozenset(udp_ends(table.apply({WEB: wanted(of, slice_of(endpoint(POD_A), protocol="UDP"))})))
        conntrack.delete_flows(lambda f: is_stale(f, ends, table.ledger, NODE_IP))
        assert client.ask(NODE_IP, 30082) == POD_A


@pytest.mark.parametrize("times", [10, pytest.param(60, marks=pytest.mark.long)])
def test_proxies_that_start_over_drop_no_connection_and_refuse_none(
    network: Network, kernel: Nftables, times: int
) -> None:
    content = {WEB: web(POD_A, POD_B, sessionAffinity="ClientIP")}
    echo = {Key("default", "echo"): wanted(service(ip="10.96.0.11"), slice_of(endpoint(POD_C), port=7001))}
    Table(kernel, Layout(SERVICE_RANGE, POD_RANGE)).apply(content | echo)
    with inside(pod(network, POD_C)):
        server = socket.create_server(("", 7001))
    with inside(pod(network, POD_A)):
        client = socket.create_connection(("10.96.0.11", 80), 3)
    over, faults, count = threading.Event(), [], [0]

    def load() -> None:
        while not over.is_set():
            try:
                ask(pod(network, POD_C), IP, 80)
                count[0] += 1
            except OSError as e:
                faults.append(e)

    worker = threading.Thread(target=load)
    worker.start()
    with server, client, server.accept()[0] as accepted:
        accepted.settimeout(3)
        try:
            for number in range(times):
                seen = count[0]
                Table(kernel, Layout(SERVICE_RANGE, POD_RANGE)).apply(content | echo)
                client.sendall(bytes([number]))
                assert accepted.recv(1) == bytes([number])
                while count[0] == seen and not faults:
                    pass  # a connection was made after the table was replaced
        finally:
            over.set()
            worker.join()
    assert faults == []


def test_sctp_is_led_to_an_endpoint(network: Network, table: Table) -> None:
    """By hand: the kernels that tests run on have no SCTP sockets, but know its packets."""
    ports = [ServicePort(port=80, protocol="SCTP")]
    table.apply({WEB: wanted(service(ports=ports), slice_of(endpoint(POD_A), protocol="SCTP", port=9999))})
    with inside(pod(network, POD_A)):
        server = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_SCTP)
    with inside(pod(network, POD_B)):
        client = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_SCTP)
    with server, client:
        server.settimeout(3)
        client.sendto(association(5000, 80), (IP, 0))
        packet, (source, _) = server.recvfrom(2048)
        assert source == POD_B
        assert struct.unpack_from("!HH", packet, (packet[0] & 15) * 4) == (5000, 9999)
        client.sendto(association(5001, 81), (IP, 0))
        server.settimeout(0.2)
        with pytest.raises(TimeoutError):
            server.recv(2048)


def association(source: int, target: int) -> bytes:
    """A packet with a chunk INIT (RFC 9260)."""
    init = struct.pack("!BBHIIHHI", 1, 0, 20, 0x1234, 65536, 1, 1, 1)
    head = struct.pack("!HHI", source, target, 0)
    return head + struct.pack("<I", crc32c(head + bytes(4) + init)) + init


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def test_a_connection_of_which_one_side_has_said_all_is_remembered_for_an_hour(network: Network) -> None:
    setting = timeouts.SETTINGS / "nf_conntrack_tcp_timeout_close_wait"
    with inside(network.node):
        timeouts.keep()
        assert setting.read_text() == "3600\n"
    with inside(network.outside):
        assert setting.read_text() != "3600\n"
