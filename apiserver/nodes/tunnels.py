"""Connections into pods: each is a socket here, whose bytes the kubelet of the pod's node carries to the pod's port."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from typing import Any

import grpc

from api.errors import ApiError
from api.types import Node, Pod
from apiserver.nodes.conversations import conversation
from apiserver.nodes.kubelets import Kubelets
from machinery.grpc_errors import from_rpc
from proto import node_pb2 as pb
from proto.node_pb2_grpc import NodeStub

PIECE = 64 * 1024
REASON_SECONDS = 1.0
"""How long a broken connection waits for the kubelet's word on why."""


class Tunnel:
    """`socket` is connected; it is closed by whoever uses it, which ends the tunnel."""

    def __init__(self, connected: socket.socket, task: asyncio.Task[str]) -> None:
        self.socket = connected
        self._task = task

    async def reason(self) -> str:
        """Why it broke; "" if the kubelet does not say."""
        done, _ = await asyncio.wait([self._task], timeout=REASON_SECONDS)
        return self._task.result() if done and not self._task.cancelled() else ""


class Tunnels:
    """Every tunnel that is open. `kubelets` is closed by whoever made it, after this."""

    def __init__(self, kubelets: Kubelets) -> None:
        self._kubelets = kubelets
        self._tasks: set[asyncio.Task[str]] = set()

    def open(self, node: Node, pod: Pod, port: int) -> Tunnel:
        """At once: whether the pod listens shows when the socket is read."""
        ours, theirs = socket.socketpair()
        task = asyncio.create_task(self._carry(node, pod, port, theirs), name=f"tunnel to {pod.metadata.name}:{port}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return Tunnel(ours, task)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _carry(self, node: Node, pod: Pod, port: int, connected: socket.socket) -> str:
        try:
            async with self._kubelets.stub(node) as kubelet:
                return await carry(kubelet, pod, port, connected)
        except ApiError as e:
            return e.message
        finally:
            connected.close()


async def carry(kubelet: NodeStub, pod: Pod, port: int, connected: socket.socket) -> str:
    """Move bytes between the socket and the pod until either ends; what the kubelet says if it cannot."""
    reader, writer = await asyncio.open_connection(sock=connected)
    metadata = pod.metadata

    async def inputs() -> AsyncGenerator[pb.PortForwardInput, None]:
        # What listens on the loopback address alone is for kubectl port-forward and nobody else.
        start = pb.PortForwardStart(
            namespace=metadata.namespace, pod=metadata.name, port=port, address=pod.status.podIP
        )
        yield pb.PortForwardInput(start=start)
        while piece := await reader.read(PIECE):
            yield pb.PortForwardInput(data=piece)
        yield pb.PortForwardInput(close=True)

    method: Any = kubelet.PortForward  # the stubs describe the synchronous API
    try:
        async with conversation(method, inputs()) as call:
            async for chunk in call:
                writer.write(chunk.data)
                await writer.drain()
        return ""
    except grpc.aio.AioRpcError as e:
        return from_rpc(e).message
    except ConnectionError as e:
        return str(e)
    finally:
        writer.close()
