import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from api.meta import Key
from api.types import (
    Container,
    ContainerPort,
    Node,
    NodeAddress,
    NodeStatus,
    ObjectMeta,
    Pod,
    PodSpec,
    PodStatus,
    ServiceCIDR,
    ServiceCIDRSpec,
    ServicePort,
)
from kube_proxy.__main__ import parse
from kube_proxy.conntrack import Flow
from kube_proxy.ledger import Ledger
from kube_proxy.metrics import Metrics
from kube_proxy.nftables import Nftables, NftablesError
from kube_proxy.proxy import CHECK_SECONDS, COALESCE_SECONDS, RETRY_SECONDS, Proxy, is_stale, node_address
from kube_proxy.table import Table
from machinery.testing import FakeClock, settle
from tests.unit.kube_proxy.conftest import POD_A, POD_B
from tests.unit.kube_proxy.networks import NODE_IP, SERVICE_RANGE, Datagrams, Network, ask, ip, tally
from tests.unit.kube_proxy.objects import NODE, endpoint, service, slice_of, wanted
from tests.unit.kube_proxy.worlds import World

IP = "10.96.0.10"


class Cluster:
    def __init__(self, table: Table) -> None:
        self.services, self.slices, self.nodes, self.pods, self.cidrs = World(), World(), World(), World(), World()
        self.clock = FakeClock()
        self.readiness: list[bool] = []
        self.metrics = Metrics(self.clock.now)
        self.table = table
        self.proxy = Proxy(
            self.services, self.slices, self.nodes, self.pods, self.cidrs, table,
            node=NODE, service_range=SERVICE_RANGE, readiness=self, metrics=self.metrics,
            clock=self.clock,
        )  # type: ignore[arg-type] # fmt: skip
        self._synced = asyncio.Event()

    def queued(self) -> None:
        pass

    def ready(self, is_ready: bool = True) -> None:
        self.readiness.append(is_ready)
        self._synced.set()

    async def programmed(self, after: float = COALESCE_SECONDS) -> None:
        """Returns when the iteration that begins after so many seconds has ended."""
        await settle()
        self._synced.clear()
        await self.clock.advance(after)
        await self.done()

    async def done(self) -> None:
        """Returns when the iteration that runs now has ended; the first one begins by itself."""
        async with asyncio.timeout(20):
            await self._synced.wait()


@asynccontextmanager
async def running(table: Table) -> AsyncIterator[Cluster]:
    cluster = Cluster(table)
    for world in (cluster.services, cluster.slices, cluster.nodes, cluster.pods, cluster.cidrs):
        world.complete.set()
    task = asyncio.create_task(cluster.proxy.run())
    try:
        await cluster.done()
        yield cluster
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def node(address: str) -> Node:
    return Node(
        metadata=ObjectMeta(name=NODE),
        status=NodeStatus(
            addresses=[NodeAddress(type="Hostname", address=NODE), NodeAddress(type="InternalIP", address=address)]
        ),
    )


async def test_a_service_is_served_once_its_slice_is_known_and_refused_when_it_is_gone(
    network: Network, table: Table
) -> None:
    async with running(table) as cluster:
        cluster.nodes.put(node(NODE_IP))
        cluster.services.put(service())
        cluster.slices.put(slice_of(endpoint(POD_A)))
        await cluster.programmed()
        assert ask(network.node, IP, 80)[0] == POD_A
        cluster.slices.put(slice_of(endpoint(POD_B)))
        await cluster.programmed()
        assert ask(network.node, IP, 80)[0] == POD_B
        cluster.services.drop(service())
        await cluster.programmed()
        with pytest.raises(ConnectionRefusedError):
            ask(network.node, IP, 80)
        assert set(cluster.readiness) == {True}


async def test_clients_stay_in_their_zone_also_after_the_node_was_told_another(network: Network, table: Table) -> None:
    async with running(table) as cluster:
        here = node(NODE_IP)
        here.metadata.labels = {"topology.kubernetes.io/zone": "z1"}
        cluster.nodes.put(here)
        cluster.services.put(service())
        cluster.slices.put(slice_of(endpoint(POD_A, zones="z1"), endpoint(POD_B, zones="z2")))
        await cluster.programmed()
        assert tally(network.node, IP, 80, 20) == {POD_A: 20}
        moved = node(NODE_IP)
        moved.metadata.labels = {"topology.kubernetes.io/zone": "z2"}
        cluster.nodes.put(moved)
        await cluster.programmed()
        assert tally(network.node, IP, 80, 20) == {POD_B: 20}


async def test_a_service_range_that_is_added_serves_and_refuses_like_the_first(network: Network, table: Table) -> None:
    async with running(table) as cluster:
        cluster.nodes.put(node(NODE_IP))
        cluster.cidrs.put(
            ServiceCIDR(metadata=ObjectMeta(name="more"), spec=ServiceCIDRSpec(cidrs=["10.97.0.0/24", "fd00::/112"]))
        )
        cluster.services.put(service(ip="10.97.0.9"))
        cluster.slices.put(slice_of(endpoint(POD_A)))
        await cluster.programmed()
        pod_b = network.node.replace("node", "pod3")
        for source in (network.node, pod_b):
            assert ask(source, "10.97.0.9", 80)[0] == POD_A
            with pytest.raises(ConnectionRefusedError):
                ask(source, "10.97.0.10", 80)
        assert "unreachable 10.97.0.0/24" in ip("-n", network.node, "route")


async def test_a_host_port_comes_and_goes_with_its_pod_and_is_not_mixed_up_with_a_service_of_its_name(
    network: Network, table: Table
) -> None:
    async with running(table) as cluster:
        cluster.nodes.put(node(NODE_IP))
        port = ContainerPort(containerPort=8080, hostPort=9090, protocol="TCP")
        pod = Pod(
            metadata=ObjectMeta(name="web", namespace="default"),
            spec=PodSpec(containers=[Container(name="c", ports=[port])]),
            status=PodStatus(podIP=POD_A),
        )
        cluster.pods.put(pod)
        cluster.services.put(service())
        cluster.slices.put(slice_of(endpoint(POD_B)))
        await cluster.programmed()
        assert (ask(network.outside, NODE_IP, 9090)[0], ask(network.node, "127.0.0.1", 9090)[0]) == (POD_A, POD_A)
        assert ask(network.node, IP, 80)[0] == POD_B
        cluster.pods.drop(pod)
        await cluster.programmed()
        with pytest.raises(ConnectionRefusedError):
            ask(network.outside, NODE_IP, 9090)
        assert ask(network.node, IP, 80)[0] == POD_B


async def test_a_udp_flow_leaves_an_endpoint_that_left_while_the_kernel_took_nothing(
    network: Network, table: Table, kernel: Nftables, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(commands: str) -> str:
        raise NftablesError("Cannot allocate memory")

    async with running(table) as cluster:
        cluster.nodes.put(node(NODE_IP))
        cluster.services.put(service(ports=[ServicePort(port=80, protocol="UDP")]))
        cluster.slices.put(slice_of(endpoint(POD_A), protocol="UDP"))
        await cluster.programmed()
        with Datagrams(network, network.node) as client:
            assert client.ask(IP, 80) == POD_A
            with monkeypatch.context() as patched:
                patched.setattr(kernel, "run", refuse)
                cluster.slices.put(slice_of(endpoint(POD_B), protocol="UDP"))
                await cluster.programmed()
                assert cluster.readiness[-1] is False
            await cluster.programmed(RETRY_SECONDS)
            assert cluster.readiness[-1] is True
            assert client.ask(IP, 80) == POD_B


async def test_a_service_that_cannot_be_understood_keeps_what_it_had_and_others_are_served(
    network: Network, table: Table
) -> None:
    async with running(table) as cluster:
        cluster.nodes.put(node(NODE_IP))
        cluster.services.put(service())
        cluster.slices.put(slice_of(endpoint(POD_A)))
        await cluster.programmed()
        cluster.services.put(service(type="LoadBalancer", loadBalancerSourceRanges=["nonsense"]))
        other = slice_of(endpoint(POD_B))
        other.metadata.name, other.metadata.labels = "other-1", {"kubernetes.io/service-name": "other"}
        cluster.slices.put(other)
        cluster.services.put(service("other", "10.96.0.11"))
        await cluster.programmed()
        assert (ask(network.node, IP, 80)[0], ask(network.node, "10.96.0.11", 80)[0]) == (POD_A, POD_B)


async def test_a_held_address_has_no_other_ports(table: Table, kernel: Nftables) -> None:
    async with running(table) as cluster:
        cluster.proxy.holds({"192.0.2.200"})
        await cluster.programmed()
        assert "192.0.2.200" in kernel.listed("kube-proxy", "held", kind="set")
        cluster.proxy.holds(())
        await cluster.programmed()
        assert "192.0.2.200" not in kernel.listed("kube-proxy", "held", kind="set")


async def test_nothing_is_programmed_before_everything_is_known(table: Table, kernel: Nftables) -> None:
    cluster = Cluster(table)
    cluster.services.complete.set()
    cluster.nodes.complete.set()
    cluster.pods.complete.set()
    cluster.cidrs.complete.set()
    cluster.services.put(service())
    task = asyncio.create_task(cluster.proxy.run())
    await settle()
    assert kernel.structure("kube-proxy") == ""
    assert not cluster.readiness
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_was_deleted_by_hand_comes_back_at_the_next_check(
    network: Network, table: Table, kernel: Nftables
) -> None:
    async with running(table) as cluster:
        cluster.nodes.put(node(NODE_IP))
        cluster.services.put(service())
        cluster.slices.put(slice_of(endpoint(POD_A)))
        await cluster.programmed()
        kernel.run("delete table ip kube-proxy")
        ip("-n", network.node, "route", "del", SERVICE_RANGE, "dev", "lo")
        await cluster.programmed(CHECK_SECONDS + COALESCE_SECONDS)
        assert ask(network.node, IP, 80)[0] == POD_A


async def test_stopping_leaves_the_rules_in_place(network: Network, table: Table) -> None:
    async with running(table) as cluster:
        cluster.nodes.put(node(NODE_IP))
        cluster.services.put(service())
        cluster.slices.put(slice_of(endpoint(POD_A)))
        await cluster.programmed()
    assert ask(network.node, IP, 80)[0] == POD_A


async def test_an_address_that_the_node_does_not_have_yet_is_tried_again(network: Network, table: Table) -> None:
    async with running(table) as cluster:
        cluster.nodes.put(node("192.0.2.9"))
        await cluster.programmed()
        assert cluster.readiness[-1] is False
        ip("-n", network.node, "addr", "add", "192.0.2.9/32", "dev", "eth0")
        try:
            await cluster.programmed(RETRY_SECONDS)
            assert cluster.readiness[-1] is True
        finally:
            ip("-n", network.node, "addr", "del", "192.0.2.9/32", "dev", "eth0")


def test_only_flows_of_changed_ends_without_a_living_endpoint_are_stale() -> None:
    ledger = Ledger()
    of = service(type="NodePort")
    of.spec.ports[0].protocol, of.spec.ports[0].nodePort = "UDP", 30053
    ledger.change({Key("default", "web"): wanted(of, slice_of(endpoint(POD_A), protocol="UDP"))})
    ends = frozenset({(IP, 80), ("", 30053)})

    def flow(address: str, port: int, backend: str, backend_port: int = 8080) -> Flow:
        return Flow(address, port, backend, backend_port, b"", b"")

    assert is_stale(flow(IP, 80, POD_B), ends, ledger, NODE_IP)
    assert is_stale(flow(NODE_IP, 30053, POD_B), ends, ledger, NODE_IP)
    assert not is_stale(flow(IP, 80, POD_A), ends, ledger, NODE_IP)
    assert not is_stale(flow("192.0.2.1", 30053, "192.0.2.1", 30053), ends, ledger, NODE_IP), "somebody else's port"
    assert is_stale(flow(NODE_IP, 30053, NODE_IP, 30053), ends, ledger, NODE_IP), "nobody answered when it came"
    assert not is_stale(flow("10.96.0.11", 80, POD_B), ends, ledger, NODE_IP)
    other = service("other", "10.96.0.12", ports=[ServicePort(port=30053, protocol="UDP")])
    ledger.change({Key("default", "other"): wanted(other, slice_of(endpoint(POD_B), protocol="UDP"))})
    assert not is_stale(flow("10.96.0.12", 30053, POD_B), ends, ledger, NODE_IP), "another Service's, of that number"


def test_the_nodes_address_is_its_internal_one() -> None:
    assert node_address(node(NODE_IP)) == NODE_IP
    assert node_address(None) == ""
    assert node_address(node("node1.a.b.c")) == node_address(node("192.168.1.256")) == ""
    assert node_address(node("192.168.1.011")) == "192.168.1.11"


def test_flags_become_one_config() -> None:
    flags = (
        "--kubeconfig=k --hostname-override=node1 --cluster-cidr=10.244.0.0/16 --masquerade-all --proxy-mode=nftables"
        " --nodeport-addresses=10.0.0.0/8,192.168.0.0/16"
    )
    config = parse(flags.split())
    assert config.node == "node1"
    assert (config.health_address, config.metrics_address) == ("0.0.0.0:10256", "127.0.0.1:10249")
    assert config.layout.masquerade_all
    assert config.layout.node_port_ranges == ("10.0.0.0/8", "192.168.0.0/16")
    assert config.layout.service_range == "10.96.0.0/16"
