"""Addresses, messages and routes; the kernel's part is tested with real containers."""

import struct

import pytest

from api.types import Node, NodeAddress, NodeSpec, NodeStatus, ObjectMeta
from kubelet.network import links, netlink
from kubelet.network.addresses import Addresses, Exhausted
from kubelet.network.links import Route
from kubelet.network.neighbours import pod_ranges
from kubelet.network.plumbing import interface
from kubelet.network.ways import hardware, neighbours


def test_each_pod_gets_an_address_of_its_own_and_keeps_it() -> None:
    addresses = Addresses("10.244.1.0/24")
    assert [addresses.allocate("a"), addresses.allocate("b"), addresses.allocate("a")] == [
        "10.244.1.2", "10.244.1.3", "10.244.1.2",
    ]  # fmt: skip


def test_a_freed_address_is_given_away_last() -> None:
    addresses = Addresses("10.244.1.0/29")
    assert [addresses.allocate(p) for p in "abc"] == ["10.244.1.2", "10.244.1.3", "10.244.1.4"]
    addresses.release("a")
    assert [addresses.allocate(p) for p in "def"] == ["10.244.1.5", "10.244.1.6", "10.244.1.2"]
    with pytest.raises(Exhausted, match=r"no IP addresses available in range set: 10.244.1.0/29"):
        addresses.allocate("g")


def test_addresses_in_use_are_adopted() -> None:
    addresses = Addresses("10.244.1.0/24")
    assert addresses.adopt("a", "10.244.1.2")
    assert addresses.adopt("a", "10.244.1.2")
    assert not addresses.adopt("b", "10.244.1.2")
    assert not addresses.adopt("b", "10.244.9.2")
    assert (addresses.of("a"), addresses.of("b")) == ("10.244.1.2", "")
    assert addresses.allocate("b") == "10.244.1.3"


def test_the_broadcast_address_is_nobodys() -> None:
    addresses = Addresses("10.244.1.0/30")
    assert addresses.allocate("a") == "10.244.1.2"
    with pytest.raises(Exhausted):
        addresses.allocate("b")


def test_an_interface_name_fits_and_differs_by_pod() -> None:
    assert len(interface("u1")) == 15
    assert interface("u1") != interface("u2")


def test_attributes_are_padded_and_read_back() -> None:
    data = netlink.text(3, "eth0") + netlink.u32(4, 1500)
    assert len(data) % 4 == 0
    assert netlink.attributes(data) == {3: b"eth0\0", 4: struct.pack("=I", 1500)}


def test_a_route_through_a_gateway_is_global_and_one_to_a_link_is_not() -> None:
    scope = struct.Struct("=BBBBBBBBI")
    direct = scope.unpack_from(links._route(Route("10.244.1.2/32", link=3)))
    through = scope.unpack_from(links._route(Route("10.244.2.0/24", gateway="10.99.0.2")))
    assert (direct[1], direct[6]) == (32, links.SCOPE_LINK)
    assert (through[1], through[6], through[8]) == (24, links.SCOPE_GLOBAL, 0)
    assert scope.unpack_from(links._route(Route("0.0.0.0/0", gateway="169.254.1.1", link=2)))[8] == links.ONLINK


def node(name: str, cidr: str, address: str) -> Node:
    addresses = [NodeAddress(type="InternalIP", address=address)] if address else []
    return Node(metadata=ObjectMeta(name=name), spec=NodeSpec(podCIDR=cidr), status=NodeStatus(addresses=addresses))


def test_routes_lead_to_every_other_node_that_has_a_range_and_an_address() -> None:
    nodes = [
        node("node1", "10.244.0.0/24", "10.99.0.1"),
        node("node2", "10.244.1.0/24", "10.99.0.2"),
        node("new", "", "10.99.0.3"),
        node("lost", "10.244.3.0/24", ""),
    ]
    assert pod_ranges(nodes, "node1") == {"10.244.1.0/24": "10.99.0.2"}


def test_a_nodes_end_of_the_tunnel_follows_from_its_address_and_range() -> None:
    end, behind = neighbours("10.244.3.0/24", "10.99.0.3")
    assert (end.address, end.hardware) == ("10.244.3.0", "0a:59:0a:63:00:03")
    assert (behind.key, behind.address) == (end.hardware, "10.99.0.3")
    assert hardware("10.99.0.4") != end.hardware
