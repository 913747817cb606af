"""Between nodes: by routes, and by VXLAN across networks. The kernel's own part; it needs root and no engine."""

from collections.abc import Iterator

import pytest

from kubelet.network import links
from kubelet.network.ways import DEVICE, Routes, Vxlan, neighbours
from tests.integration.kubelet.networks import Echo, Networks, Node, Sender


@pytest.fixture
def together() -> Iterator[Networks]:
    networks = Networks(apart=False)
    yield networks
    networks.close()


@pytest.fixture
def apart() -> Iterator[Networks]:
    networks = Networks(apart=True)
    yield networks
    networks.close()


def entries(node: Node) -> set[links.Neighbour]:
    with node.netlink() as nl:
        return links.neighbours(nl, links.link_index(nl, DEVICE))


async def test_on_one_network_pods_see_each_others_addresses_by_routes(together: Networks) -> None:
    await together.plumb(Routes())
    one, two = together.pods
    with Echo(two), Sender(one, two.address) as sender, Sender(one.node, two.address) as node:
        assert sender.seen() == one.address
        assert node.seen() == one.node.address
        assert (one.mtu(), sender.passes(1500), sender.passes(1501)) == (1500, True, False)


async def test_across_networks_pods_see_each_others_addresses_by_vxlan(apart: Networks) -> None:
    await apart.plumb(Vxlan())
    for one, two in (apart.pods, apart.pods[::-1]):
        with Echo(two), Sender(one, two.address) as sender, Sender(one.node, two.address) as node:
            assert sender.seen() == one.address
            # Strict reverse path filters are on, and the router knows no pods: the answer came by the tunnel too.
            assert node.seen() == one.node.range.removesuffix("/24")


async def test_the_largest_packet_passes_the_tunnel_uncut_and_a_larger_one_is_refused(apart: Networks) -> None:
    await apart.plumb(Vxlan())
    one, two = apart.pods
    with Echo(two), Sender(one, two.address) as sender:
        assert (one.mtu(), sender.passes(1450), sender.passes(1451)) == (1450, True, False)


async def test_across_networks_there_are_no_routes(apart: Networks) -> None:
    with pytest.raises(OSError, match=r"10\.244\.2\.0/24 via 192\.168\.82\.2: "):
        await apart.plumb(Routes())


async def test_the_tunnel_follows_the_nodes_and_writes_only_what_changes(apart: Networks) -> None:
    node, other = apart.nodes
    await node.plumb(Vxlan(), {})
    assert entries(node) == set()
    for range_, address in (("10.244.2.0/24", other.address), ("10.244.2.0/24", "192.168.82.9")):
        ranges = {range_: address, "10.244.9.0/24": "192.168.82.10"}
        await node.plumbing.reach(node.range, ranges)
        assert entries(node) == {entry for of in ranges.items() for entry in neighbours(*of)}
    assert "10.244.9.0/24 via 10.244.9.0" in node.ip("route")
    await node.plumbing.reach(node.range, {})
    assert entries(node) == set()
    assert f"dev {DEVICE}" not in node.ip("route")


async def test_the_tunnel_teaches_itself_nothing(apart: Networks) -> None:
    await apart.plumb(Vxlan())
    one, two = apart.pods
    with Echo(two), Sender(one, two.address) as sender:
        sender.seen()
    for node in apart.nodes:
        told = {entry for of in apart.others(node).items() for entry in neighbours(*of)}
        assert entries(node) == told
        assert "nolearning" in node.ip("-d", "link", "show", DEVICE)


async def test_a_restarted_kubelet_leaves_the_tunnel_as_it_is(apart: Networks) -> None:
    await apart.plumb(Vxlan())
    one, two = apart.pods
    with Echo(two), Sender(one, two.address) as sender:
        sender.seen()
        before = [node.links() for node in apart.nodes]
        await apart.plumb(Vxlan())
        assert [node.links() for node in apart.nodes] == before
        assert sender.seen() == one.address


async def test_another_port_or_number_makes_another_device(apart: Networks) -> None:
    await apart.plumb(Vxlan())
    await apart.plumb(Vxlan(vni=7, port=4789))
    one, two = apart.pods
    with Echo(two), Sender(one, two.address) as sender:
        assert sender.seen() == one.address
    assert "vxlan id 7 " in one.node.ip("-d", "link", "show", DEVICE)
    assert "dstport 4789" in one.node.ip("-d", "link", "show", DEVICE)


async def test_the_other_way_leaves_nothing_behind(together: Networks) -> None:
    one, two = together.pods
    routed = None
    for way, mtu in ((Routes(), 1500), (Vxlan(), 1450), (Routes(), 1500)):
        await together.plumb(way)
        with Echo(two), Sender(one, two.address) as sender:
            assert sender.seen() == one.address
            assert (one.mtu(), sender.passes(mtu), sender.passes(mtu + 1)) == (mtu, True, False)
        assert (DEVICE in one.node.links()) == isinstance(way, Vxlan)
        if isinstance(way, Routes):
            routed = routed or one.node.ip("route")
            assert one.node.ip("route") == routed
