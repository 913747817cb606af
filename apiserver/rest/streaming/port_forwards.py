"""pods/portforward: each pair of SPDY streams (data and error) is one TCP connection into the pod.

https://kubernetes.io/docs/reference/kubernetes-api/ does not describe the protocol; clients open an error stream and a
data stream with the headers `streamtype`, `port` and `requestid`.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import grpc

from api.errors import ApiError, TooManyRequests
from api.types import Pod
from apiserver.nodes.conversations import OVERWRITTEN, conversation
from apiserver.rest.streaming import spdy
from apiserver.rest.streaming.sessions import Session, Stream
from machinery.grpc_errors import from_rpc
from proto import node_pb2 as pb
from proto.node_pb2_grpc import NodeStub

PROTOCOL = "portforward.k8s.io"


class Half(Protocol):
    """One of the two streams of a connection."""

    headers: dict[str, str]

    def read(self) -> AsyncIterator[bytes]: ...

    def leave(self) -> None: ...

    async def write(self, data: bytes) -> None: ...

    async def end(self, last: bytes = b"") -> None: ...


class PortForward:
    """All connections of one client into one pod, each of which counts as `one_more`; it may raise TooManyRequests."""

    def __init__(self, kubelet: NodeStub, pod: Pod, one_more: Callable[[], AbstractContextManager[None]]) -> None:
        self._kubelet: Any = kubelet  # the stubs describe the synchronous API
        self._pod = pod
        self._one_more = one_more
        self._errors: dict[str, Stream] = {}
        self._data: dict[str, Stream] = {}

    async def run(self, session: Session) -> None:
        """Until the client goes. A client that does not speak SPDY is cut off."""
        try:
            async with asyncio.TaskGroup() as connections:
                async for stream in session.streams():
                    request = stream.headers.get("requestid", "")
                    kept = self._errors if stream.headers.get("streamtype") == "error" else self._data
                    kept[request] = stream
                    if request in self._errors and request in self._data:
                        connections.create_task(self.connect(self._data.pop(request), self._errors.pop(request)))
        except* (spdy.ProtocolError, ConnectionError):
            pass
        finally:
            await session.close()

    async def connect(self, data: Half, error: Half) -> None:
        """One connection, until the pod ends it; what goes wrong is said on `error`."""
        port = data.headers.get("port", "")
        try:
            if not port.isdigit() or not 0 < int(port) < 65536:
                await error.end(f'"{port}" is not a port'.encode())
                return
            with self._one_more():
                await self._carry(data, int(port))
            await error.end()
        except TooManyRequests as e:
            await error.end(self._wrong(port, e))
        except grpc.aio.AioRpcError as e:
            # Where nothing is known to have gone wrong: an error would end the forwarding of all that come after it.
            await error.end(self._wrong(port, from_rpc(e)) if e.details() != OVERWRITTEN else b"")
        finally:
            data.leave()
            await data.end()

    def _wrong(self, port: str, error: ApiError) -> bytes:
        metadata = self._pod.metadata
        return f"error forwarding port {port} to pod {metadata.name}, uid {metadata.uid}: {error.message}".encode()

    async def _carry(self, data: Half, port: int) -> None:
        metadata = self._pod.metadata

        async def inputs() -> AsyncGenerator[pb.PortForwardInput, None]:
            start = pb.PortForwardStart(namespace=metadata.namespace, pod=metadata.name, port=port)
            yield pb.PortForwardInput(start=start)
            async for piece in data.read():
                yield pb.PortForwardInput(data=piece)
            yield pb.PortForwardInput(close=True)

        async with conversation(self._kubelet.PortForward, inputs()) as call:
            async for chunk in call:
                await data.write(chunk.data)
