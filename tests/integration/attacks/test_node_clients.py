"""Clients that want a kubelet's memory, or an API server's by way of a kubelet: it stays bounded, and nodes go on.

The node is a simulated one with 110 pods. Without what holds them off, `pages` took 1 GB of the kubelet and `execs`
1.7 GB of the API server.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from api.types import Lease, LeaseSpec, Node, ObjectMeta
from bench.attacks import EVERY, Attacker
from bench.simulations import SimulatedNode, simulated_node
from machinery.client import connect
from machinery.testing import ControlPlane
from proto import node_pb2 as pb
from tests.integration.attacks.test_clients import resident

MOST = 450 << 20
"""Bytes, of which a kubelet has 70 to begin with, and the API server a hundred."""
LOGS = "/wherry.v1.Node/Logs"


@asynccontextmanager
async def attacking(name: str, attacker: Attacker) -> AsyncIterator[None]:
    try:
        await EVERY[name](attacker)
        yield
    finally:
        for writer in attacker.writers:
            writer.transport.abort()


@pytest.fixture
async def node(plane: ControlPlane, tmp_path: Path) -> AsyncIterator[SimulatedNode]:
    async with simulated_node(plane, tmp_path) as node:
        yield node


@pytest.mark.parametrize("name", ["silent", "heads", "bodies", "pages", "strangers", "messages"])
async def test_an_attack_on_a_kubelet_leaves_memory_and_answers_for_others(
    plane: ControlPlane, node: SimulatedNode, name: str
) -> None:
    # Its gRPC port is open to the API server only: what others of the cluster say there is not answered.
    own = plane.pki / ("node1-kube-proxy" if name == "messages" else "admin")
    attacker = Attacker(urlsplit(node.rest), urlsplit(node.grpc), own, LOGS)
    async with node.ready(plane) as kubelet, attacking(name, attacker):
        await kubelet.Ping(pb.PingRequest(), timeout=60)
        assert resident(node.pid) < MOST


@pytest.mark.parametrize("name", ["execs", "forwards"])
async def test_a_flood_of_streams_into_pods_leaves_memory_and_heartbeats(
    plane: ControlPlane, node: SimulatedNode, name: str
) -> None:
    attacker = Attacker(urlsplit(plane.rest), urlsplit(plane.grpc), plane.pki / "admin")
    async with (
        node.ready(plane) as kubelet, connect(plane.access("node1-kubelet")) as other, attacking(name, attacker)
    ):  # fmt: skip
        await kubelet.Ping(pb.PingRequest(), timeout=60)
        await other.create(Node(metadata=ObjectMeta(name="node1")))
        meta = ObjectMeta(name="node1", namespace="kube-node-lease")
        lease = await other.create(Lease(metadata=meta, spec=LeaseSpec(holderIdentity="node1")))
        beat = {"spec": {"leaseTransitions": 1}}
        renewed = await other.patch(Lease, lease.metadata.name, lease.metadata.namespace, beat)
        assert renewed.spec.leaseTransitions == 1
        assert resident(node.pid) < MOST
        assert resident(plane.pid) < MOST
