"""Which node answers for a load balancer's address, and how it comes to."""

import asyncio
import re
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from api.meta import Key
from api.types import (
    EndpointSlice,
    LoadBalancerIngress,
    LoadBalancerStatus,
    Node,
    NodeAddress,
    NodeCondition,
    NodeStatus,
    ObjectMeta,
    Service,
    ServiceStatus,
)
from kube_proxy import links, routes
from kube_proxy.announcer import AGAIN_SECONDS, CHECK_SECONDS, COALESCE_SECONDS, Announcer
from kube_proxy.balancers import owned, owner
from kube_proxy.proxy import HELD, SERVICE
from kube_proxy.rules import Element
from kube_proxy.services import PASSED_OVER
from kube_proxy.table import Table
from machinery.testing import FakeClock, settle
from tests.unit.kube_proxy.conftest import POD_A, POD_B
from tests.unit.kube_proxy.networks import NODE_IP, OUTSIDE_IP, SERVICE_RANGE, Network, ask, inside, ip
from tests.unit.kube_proxy.objects import endpoint, service, slice_of, wanted
from tests.unit.kube_proxy.worlds import World

VIP, OTHER = "192.168.77.200", "192.168.77.201"
NODES = ["node1", "node2", "node3"]


def balancer(*addresses: str, **spec: Any) -> Service:
    of = service(**{"type": "LoadBalancer", **spec})
    ingress = [LoadBalancerIngress(ip=a, ipMode="VIP") for a in addresses]
    of.status = ServiceStatus(loadBalancer=LoadBalancerStatus(ingress=ingress))
    return of


def node(name: str = "node1", *, ready: bool = True, **labels: str) -> Node:
    return Node(
        metadata=ObjectMeta(name=name, labels={k.replace("__", "/"): v for k, v in labels.items()}),
        status=NodeStatus(
            addresses=[NodeAddress(type="InternalIP", address=NODE_IP)],
            conditions=[NodeCondition(type="Ready", status=str(ready))],
        ),
    )


def test_every_address_has_one_owner_and_moves_only_with_it() -> None:
    addresses = [f"10.0.0.{n}" for n in range(250)]
    before = {a: owner(a, NODES) for a in addresses}
    assert all(60 < count < 110 for count in Counter(before.values()).values())
    after = {a: owner(a, ["node1", "node3"]) for a in addresses}
    assert all(after[a] == before[a] for a in addresses if before[a] != "node2")
    assert owner(VIP, []) == ""


def test_an_address_with_leading_zeros_is_decimal() -> None:
    odd = balancer("192.168.77.020", "192.168.77.x", "192.168.77.1 ")
    assert owned([odd], lambda _: (), [node()], "node1") == {"192.168.77.20"}


def holders(of: Service, nodes: list[Node], *slices: EndpointSlice) -> list[str]:
    return [n.metadata.name for n in nodes if owned([of], lambda _: slices, nodes, n.metadata.name) == {VIP}]


def test_only_a_ready_node_that_is_not_excluded_answers() -> None:
    nodes = [node("node1", ready=False), node("node2"), node("node3")]
    nodes[2].metadata.labels["node.kubernetes.io/exclude-from-external-load-balancers"] = ""
    assert holders(balancer(VIP), nodes) == ["node2"]


def test_with_policy_local_a_node_with_endpoints_answers_and_without_any_one_still_does() -> None:
    of, nodes = balancer(VIP, externalTrafficPolicy="Local"), [node(name) for name in NODES]
    for name in NODES:
        assert holders(of, nodes, slice_of(endpoint(POD_A, name), endpoint(POD_B, "node9"))) == [name]
    leaving = endpoint(POD_A, "node2", ready=False, serving=True, terminating=True)
    assert holders(of, nodes, slice_of(leaving, endpoint(POD_B, "node1", ready=False))) == ["node2"]
    assert holders(of, nodes, slice_of(leaving, endpoint(POD_B, "node1"))) == ["node1"]
    assert len(holders(of, nodes, slice_of(endpoint(POD_A, ready=False)))) == 1


def test_nobody_answers_for_what_is_no_balancer_of_this_proxys() -> None:
    nodes = [node()]
    assert holders(balancer(VIP, type="NodePort"), nodes) == []
    for label in PASSED_OVER:
        foreign = balancer(VIP)
        foreign.metadata.labels[label] = ""
        assert holders(foreign, nodes) == []
    assert holders(balancer(NODE_IP), nodes) == [], "it is a node's own"
    by_proxy = balancer(VIP)
    by_proxy.status.loadBalancer.ingress[0].ipMode = "Proxy"
    assert holders(by_proxy, nodes) == []


@pytest.fixture
def held(network: Network) -> Iterator[None]:
    with inside(network.node):
        routes.ensure(SERVICE_RANGE, NODE_IP)
        yield
        links.hold(NODE_IP, set())


def on(network: Network) -> set[str]:
    return set(re.findall(r"inet (\S+)/32 scope host eth0:lb", ip("-n", network.node, "addr", "show", "dev", "eth0")))


@pytest.mark.usefixtures("held")
def test_the_node_has_exactly_the_addresses_that_are_its_own(network: Network) -> None:
    assert links.hold(NODE_IP, {VIP, OTHER}) == {VIP, OTHER}
    assert links.hold(NODE_IP, {VIP}) == set()
    assert on(network) == {VIP}
    with pytest.raises(OSError, match="no link"):
        links.hold("192.0.2.1", {VIP})


@pytest.mark.usefixtures("held")
def test_an_address_answers_neighbours_with_the_policys_source(network: Network, table: Table) -> None:
    links.hold(NODE_IP, {VIP})
    for policy in ("Cluster", "Local"):
        of = balancer(VIP, externalTrafficPolicy=policy)
        table.apply({Key("default", "web"): wanted(of, slice_of(endpoint(POD_A)))})
        server, seen = ask(network.outside, VIP, 80)
        assert (server, seen == OUTSIDE_IP) == (POD_A, policy == "Local")
        for inner in (network.node, network.node.replace("node", "pod3"), network.node.replace("node", "pod2")):
            assert ask(inner, VIP, 80)[0] == POD_A


@pytest.mark.usefixtures("held")
def test_on_a_held_address_nothing_else_of_the_node_answers(network: Network, table: Table) -> None:
    network.serve(network.node, "node itself", 8082)
    links.hold(NODE_IP, {VIP})
    table.apply({HELD: {Element("held", VIP): ""}})
    assert ask(network.outside, NODE_IP, 8082)[0] == "node"
    for source in (network.outside, network.node):
        with pytest.raises(ConnectionRefusedError):
            ask(source, VIP, 8082)
    assert table.repair() is False


@pytest.mark.usefixtures("held")
def test_only_the_sources_that_a_service_names_reach_its_balancer(network: Network, table: Table) -> None:
    links.hold(NODE_IP, {VIP})

    def allow(*ranges: str) -> None:
        of = balancer(VIP, loadBalancerSourceRanges=list(ranges))
        table.apply({Key("default", "web"): wanted(of, slice_of(endpoint(POD_A)))})
        assert table.repair() is False

    for ranges in ((f"{OUTSIDE_IP}/32", "10.0.0.0/8", "10.1.0.0/16"), ("192.168.77.0/24",), ("0.0.0.0/0",)):
        allow(*ranges)
        assert ask(network.outside, VIP, 80)[0] == POD_A
    allow("10.0.0.0/8")
    with pytest.raises(TimeoutError):
        ask(network.outside, VIP, 80, patience=0.3)
    assert ask(network.node.replace("node", "pod3"), VIP, 80)[0] == POD_A
    assert ask(network.node, "10.96.0.10", 80)[0] == POD_A, "the cluster's own address is open to all"


@pytest.mark.usefixtures("held")
def test_neighbours_learn_who_has_an_address_now(network: Network) -> None:
    links.hold(NODE_IP, {VIP})
    ip("-n", network.outside, "neigh", "replace", VIP, "lladdr", "02:00:00:00:00:01", "dev", "eth0", "nud", "reachable")
    with inside(network.outside):
        heard = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
    with heard:
        heard.settimeout(3)
        links.tell(NODE_IP, {VIP})
        frame = heard.recv(100)
    hardware = ip("-n", network.node, "-o", "link", "show", "eth0").split("link/ether ")[1][:17]
    assert frame[28:32] == frame[38:42] == socket.inet_aton(VIP)
    assert frame[22:28].hex(":") == hardware
    assert hardware in ip("-n", network.outside, "neigh", "show", VIP)


class Town:
    def __init__(self) -> None:
        self.services, self.slices, self.nodes = World(), World(), World()
        for world in (self.services, self.slices, self.nodes):
            world.complete.set()
        self.slices.add_index(SERVICE, lambda s: [f"default/{s.metadata.labels['kubernetes.io/service-name']}"])
        self.clock = FakeClock()
        self.held: list[set[str]] = []
        self.announcer = Announcer(
            self.services, self.slices, self.nodes,
            node="node1", holds=lambda them: self.held.append(set(them)), clock=self.clock,
        )  # type: ignore[arg-type] # fmt: skip

    async def passes(self, seconds: float = COALESCE_SECONDS) -> None:
        """Until what begins after so many seconds has surely been done: the kernel's part has a thread."""
        for step in (seconds, AGAIN_SECONDS, COALESCE_SECONDS):
            await self.clock.advance(step)
            await settle()
            await asyncio.to_thread(int)
            await settle()


@pytest.mark.usefixtures("held")
async def test_addresses_come_and_go_with_services_and_nodes_and_are_put_back(network: Network) -> None:
    # One thread, so that what is asked of it last tells that all before is done.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    town = Town()
    links.hold(NODE_IP, {OTHER})  # what a proxy before this one left
    town.nodes.put(node())
    town.services.put(balancer(VIP))
    running = asyncio.create_task(town.announcer.run())
    try:
        await town.passes()
        assert on(network) == {VIP}
        ip("-n", network.node, "addr", "del", f"{VIP}/32", "dev", "eth0")
        await town.passes(CHECK_SECONDS)
        assert on(network) == {VIP}
        assert town.held[-1] == {VIP}
        town.nodes.put(node(ready=False))
        await town.passes()
        assert on(network) == set()
        town.nodes.put(node())
        await town.passes()
        assert on(network) == {VIP}
        town.nodes.drop(node())
        await town.passes()
        assert on(network) == set()
        town.nodes.put(node())
        await town.passes()
        assert on(network) == {VIP}
        town.services.drop(balancer(VIP))
        await town.passes()
        assert on(network) == set()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
