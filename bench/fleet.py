"""A hundred simulated nodes in one process, a thousand pods: how soon all are Ready, what they hold and cost at rest.

An API server, etcd and that one kubelet on loopback; node ranges and bindings are given by hand.
"""

import asyncio
import tempfile
import time
from pathlib import Path

from api import meta
from api.types import Container, Node, ObjectMeta, Pod, PodSpec, ServiceAccount
from bench.controllers import until
from bench.results import Result, result
from bench.servers import Server
from bench.simulations import simulated_nodes
from machinery.client import Client, connect
from machinery.testing import ControlPlane, control_plane

NODES, PODS = 100, 1000
FIRST_PORT = 21000
AT_ONCE = 32
SETTLING, WATCHING = 15.0, 30.0


async def run() -> list[Result]:
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        async with control_plane(directory) as plane, connect(plane.access()) as client:
            account = ObjectMeta(name="default", namespace="default")
            await client.create(ServiceAccount(metadata=account, automountServiceAccountToken=False))
            return await _measure(plane, client, directory)


async def _measure(plane: ControlPlane, client: Client, directory: Path) -> list[Result]:
    began = time.monotonic()
    async with simulated_nodes(plane, directory, NODES, FIRST_PORT, FIRST_PORT + 1) as pid:
        server = Server((pid,))
        await until(client, Node, lambda nodes: len(nodes) == NODES)
        await asyncio.gather(*(_range(client, number) for number in range(NODES)))
        await until(client, Node, lambda nodes: sum(meta.is_true(n, "Ready") for n in nodes.values()) == NODES)
        nodes = time.monotonic() - began
        began = time.monotonic()
        waiting = asyncio.create_task(
            until(client, Pod, lambda pods: sum(meta.is_true(p, "Ready") for p in pods.values()) == PODS, "default")
        )
        turns = asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(*(_pod(client, number, turns) for number in range(PODS)))
        await waiting
        pods = time.monotonic() - began
        await asyncio.sleep(SETTLING)
        before = server.processor_seconds()
        await asyncio.sleep(WATCHING)
        idle = (server.processor_seconds() - before) / WATCHING * 100
        return [
            result("fleet.nodes", nodes), result("fleet.pods", pods), result("fleet.memory", server.memory() / 1e6),
            result("fleet.idle", idle),
        ]  # fmt: skip


async def _range(client: Client, number: int) -> None:
    cidr = f"10.244.{number}.0/24"
    await client.patch(Node, f"sim-{number}", "", {"spec": {"podCIDR": cidr, "podCIDRs": [cidr]}})


async def _pod(client: Client, number: int, turns: asyncio.Semaphore) -> None:
    async with turns:
        main = Container(name="c", image="app:1", command=["server"])
        spec = PodSpec(containers=[main], nodeName=f"sim-{number % NODES}")
        await client.create(Pod(metadata=ObjectMeta(name=f"p{number}", namespace="default"), spec=spec))
