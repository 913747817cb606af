"""Ports of the node that pods ask for, and what may come to the node's loopback addresses."""

import socket
import struct
from typing import Any

import pytest

from api.meta import Key
from api.types import Container, ContainerPort, ObjectMeta, Pod, PodSpec, PodStatus, ServicePort
from kube_proxy import conntrack, loopback
from kube_proxy.host_ports import published
from kube_proxy.nftables import Nftables
from kube_proxy.proxy import is_stale, udp_ends
from kube_proxy.rules import Element
from kube_proxy.table import Table
from tests.unit.kube_proxy.conftest import POD_A, POD_B, POD_C
from tests.unit.kube_proxy.networks import NODE_IP, OUTSIDE_IP, Datagrams, Network, ask, inside, ip
from tests.unit.kube_proxy.objects import endpoint, service, slice_of, wanted

PORT = 54323
A, B, C = (Key("pods/default", name) for name in "abc")


def pod(address: str, host_ip: str = "", protocol: str = "TCP", *, phase: str = "Running", **spec: Any) -> Pod:
    port = ContainerPort(containerPort=8080, hostPort=PORT, hostIP=host_ip, protocol=protocol)
    return Pod(
        metadata=ObjectMeta(name="p", namespace="default"),
        spec=PodSpec(containers=[Container(name="c", ports=[port])], **spec),
        status=PodStatus(podIP=address, phase=phase),
    )


@pytest.fixture(autouse=True)
def _loopback(network: Network, table: Table) -> None:
    table.apply({})
    with inside(network.node):
        loopback.allow()


def test_pods_share_a_port_on_different_addresses_and_protocols(network: Network, table: Table) -> None:
    first, second, third = pod(POD_A, "127.0.0.1"), pod(POD_B, NODE_IP), pod(POD_C, NODE_IP, "UDP")
    table.apply({A: published(first), B: published(second), C: published(third)})
    assert ask(network.node, "127.0.0.1", PORT)[0] == POD_A
    assert ask(network.node, "127.0.0.1", PORT, source=NODE_IP) == (POD_A, NODE_IP)
    assert ask(network.node, NODE_IP, PORT)[0] == POD_B
    assert ask(network.outside, NODE_IP, PORT) == (POD_B, OUTSIDE_IP)
    with Datagrams(network, network.node) as client, Datagrams(network, network.outside) as outside:
        assert client.ask(NODE_IP, PORT) == outside.ask(NODE_IP, PORT) == POD_C
    assert table.repair() is False


def test_an_address_of_a_pod_that_is_none_is_told_to_nobody() -> None:
    assert published(pod("10.244.0.x")) == {}
    assert published(pod("10.244.0.011")).keys() >= {Element("hairpins", "10.244.0.11 . 10.244.0.11")}


@pytest.mark.parametrize(
    "spelt", ["010.0.0.1", "::ffff:10.0.0.1", "10.0.0.x", "1.1.1.256", "10.0.0.1 }\nflush ruleset\n{"]
)
def test_an_address_is_told_as_the_kernel_reads_it_or_not_at_all(table: Table, spelt: str) -> None:
    told = published(pod(POD_A, spelt))
    assert [e.key.split(" . ")[0] for e in told if e.map == "host-ports-tcp"] in ([], ["10.0.0.1"])
    table.apply({A: told})
    assert table.repair() is False


def test_a_port_without_an_address_answers_on_all_of_the_nodes_until_the_pod_ends(
    network: Network, table: Table
) -> None:
    table.apply({A: published(pod(POD_A))})
    for source, address in (
        (network.node, "127.0.0.1"),
        (network.node, NODE_IP),
        (network.outside, NODE_IP),
        (network.node.replace("node", "pod3"), NODE_IP),
    ):
        assert ask(source, address, PORT)[0] == POD_A
    itself, seen = ask(network.node.replace("node", "pod2"), NODE_IP, PORT)
    assert itself == POD_A
    assert seen != POD_A, "an answer to itself would never pass the node again"
    with pytest.raises(ConnectionRefusedError):
        ask(network.node, "127.0.0.11", PORT)
    table.apply({A: published(pod(POD_A, phase="Succeeded"))})
    with pytest.raises(ConnectionRefusedError):
        ask(network.node, NODE_IP, PORT)


def test_a_udp_flow_leaves_a_pod_that_left(network: Network, table: Table) -> None:
    table.apply({A: published(pod(POD_A, NODE_IP, "UDP"))})
    with Datagrams(network, network.outside) as client:
        assert client.ask(NODE_IP, PORT) == POD_A
        ends = frozenset(udp_ends(table.apply({A: {}, B: published(pod(POD_B, NODE_IP, "UDP"))})))
        conntrack.delete_flows(lambda f: is_stale(f, ends, table.ledger, NODE_IP))
        assert client.ask(NODE_IP, PORT) == POD_B


def test_a_node_port_answers_on_the_loopback_address_too(network: Network, table: Table) -> None:
    of = service(type="NodePort", ports=[ServicePort(port=80, protocol="TCP", nodePort=30080)])
    for policy in ("Cluster", "Local"):
        of.spec.externalTrafficPolicy = policy
        table.apply({Key("default", "web"): wanted(of, slice_of(endpoint(POD_A)))})
        assert ask(network.node, "127.0.0.1", 30080)[0] == POD_A


def test_nobody_else_reaches_what_listens_on_the_nodes_loopback_address(
    network: Network, table: Table, kernel: Nftables
) -> None:
    with inside(network.node):
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with listener:
        listener.bind(("127.0.0.1", 5353))
        listener.settimeout(0.2)
        forge(network, "127.0.0.1")
        with pytest.raises(TimeoutError):
            listener.recv(100)
        kernel.run("flush chain ip kube-proxy strangers")
        forge(network, "127.0.0.1")
        assert listener.recv(100) == b"hello", "or this test proves nothing"


def forge(network: Network, target: str) -> None:
    """Send what an honest kernel would not: a datagram to a loopback address, over the wire."""
    hardware = [
        bytes.fromhex(ip("-n", name, "-o", "link", "show", "eth0").split("link/ether ")[1][:17].replace(":", ""))
        for name in (network.node, network.outside)
    ]
    datagram = struct.pack("!HHHH", 4000, 5353, 13, 0) + b"hello"
    addresses = socket.inet_aton(OUTSIDE_IP) + socket.inet_aton(target)
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(datagram), 1, 0, 64, 17, 0) + addresses
    total = sum(struct.unpack("!10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    header = header[:10] + struct.pack("!H", ~total & 0xFFFF) + header[12:]
    with inside(network.outside):
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    with wire:
        wire.bind(("eth0", 0))
        wire.send(hardware[0] + hardware[1] + b"\x08\x00" + header + datagram)


def test_only_pods_with_an_address_of_their_own_are_published() -> None:
    assert published(pod(POD_A, hostNetwork=True)) == {}
    assert published(pod("")) == {}
    assert published(pod(POD_A, "::1")) == {}
    assert published(pod(POD_A, phase="Failed")) == {}


def test_a_sidecars_port_is_published_and_an_init_containers_is_not() -> None:
    port = ContainerPort(containerPort=1, hostPort=2, protocol="SCTP")
    sidecar = Container(name="s", restartPolicy="Always", ports=[port])
    of = pod(POD_A, initContainers=[sidecar, Container(name="i", ports=[ContainerPort(containerPort=3, hostPort=4)])])
    assert published(of) == {
        Element("host-ports-anywhere-tcp", f"tcp . {PORT}"): f"{POD_A} . 8080",
        Element("host-ports-anywhere-sctp", "sctp . 2"): f"{POD_A} . 1",
        Element("hairpins", f"{POD_A} . {POD_A}"): "",
    }
