"""A kubelet process that plays nodes, beside an API server on loopback."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from api import meta
from api.types import Container, Node, ObjectMeta, Pod, PodSpec, ServiceAccount
from bench.controllers import until
from machinery import kubeconfigs
from machinery.channels import channel
from machinery.client import connect
from machinery.testing import ControlPlane, free_port, process
from proto.node_pb2_grpc import NodeStub

NAME = "sim"
"""Of the node, if there is one; of several, what their names begin with."""
PODS, NOTE = 110, 10_000
"""Of one node, as many as a node has, each with so many bytes to say about itself."""


@asynccontextmanager
async def simulated_nodes(
    plane: ControlPlane, directory: Path, count: int, port: int, grpc_port: int
) -> AsyncIterator[int]:
    """Its process id. Every further node's ports are two higher."""
    own, kubeconfig = plane.pki / "node1-kubelet", directory / "kubelet.kubeconfig"
    kubeconfig.touch(0o600)
    kubeconfig.write_text(kubeconfigs.dump(plane.access(), "bench", "admin"))
    async with process(
        sys.executable, "-m", "kubelet", "--runtime=simulated", f"--simulated-nodes={count}", "--kubeconfig",
        str(kubeconfig), f"--hostname-override={NAME}", "--node-ip=127.0.0.1", "--address=127.0.0.1",
        f"--port={port}", f"--grpc-port={grpc_port}", "--root-dir", str(directory / "nodes"),
        "--tls-cert-file", str(own / "tls.crt"), "--tls-private-key-file", str(own / "tls.key"),
        "--client-ca-file", str(own / "ca.crt"), log=directory / "kubelet.log",
    ) as child:  # fmt: skip
        yield child.pid


@dataclass(frozen=True, slots=True)
class SimulatedNode:
    pid: int
    rest: str
    """https://127.0.0.1:port"""
    grpc: str

    @asynccontextmanager
    async def ready(self, plane: ControlPlane) -> AsyncIterator[Any]:
        """The API server's way to it, a stub, once all its pods are Ready: p0, p1 … in the namespace default."""
        async with connect(plane.access()) as client:
            account = ObjectMeta(name="default", namespace="default")
            await client.create(ServiceAccount(metadata=account, automountServiceAccountToken=False))
            await until(client, Node, bool)
            cidr = "10.244.0.0/24"
            await client.patch(Node, NAME, "", {"spec": {"podCIDR": cidr, "podCIDRs": [cidr]}})
            await until(client, Node, lambda nodes: all(meta.is_true(n, "Ready") for n in nodes.values()))
            await asyncio.gather(*(client.create(_pod(number)) for number in range(PODS)))
            await until(
                client, Pod, lambda pods: sum(meta.is_true(p, "Ready") for p in pods.values()) == PODS, "default"
            )
        async with channel(replace(plane.access("apiserver"), server=self.grpc)) as opened:
            yield NodeStub(opened)


@asynccontextmanager
async def simulated_node(plane: ControlPlane, directory: Path) -> AsyncIterator[SimulatedNode]:
    port, grpc_port = free_port(), free_port()
    async with simulated_nodes(plane, directory, 1, port, grpc_port) as pid:
        yield SimulatedNode(pid, f"https://127.0.0.1:{port}", f"https://127.0.0.1:{grpc_port}")


def _pod(number: int) -> Pod:
    main = Container(name="c", image="app:1", command=["server"])
    metadata = ObjectMeta(name=f"p{number}", namespace="default", annotations={"note": "x" * NOTE})
    return Pod(metadata=metadata, spec=PodSpec(containers=[main], nodeName=NAME))
