"""The Node service: logs, exec, attach, port-forward and statistics of this node's pods."""

import asyncio
import contextlib
import functools
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, TypeVar

import grpc

from api import errors
from kubelet.network.netlink import open_namespace, socket_in
from kubelet.runtime.interfaces import EngineError, Process, Runtime, Stream
from kubelet.serving.finding import Finder
from kubelet.serving.logs import Logs
from kubelet.usage.looking import ContainerUse, Looking
from machinery.grpc_errors import abort
from machinery.sessions import Sessions
from proto import node_pb2 as pb
from proto.node_pb2_grpc import NodeServicer

T = TypeVar("T")
Context = grpc.aio.ServicerContext[Any, Any]
CHUNK = 1 << 16
STDOUT, STDERR = 1, 2
MOST, MOST_EACH = 1000, 500
"""Streams at once, and into one pod: whose they are only the API servers know."""


def refusing(method: Callable[..., AsyncIterator[T]]) -> Callable[..., AsyncIterator[T]]:
    """Ends the call with the Status that an error stands for."""

    @functools.wraps(method)
    async def wrapped(self: "NodeService", request: object, context: Context) -> AsyncIterator[T]:
        try:
            async with contextlib.aclosing(method(self, request, context)) as answers:  # type: ignore[type-var]
                async for answer in answers:
                    yield answer
        except errors.ApiError as e:
            await abort(context, e)
        except EngineError as e:
            await abort(context, errors.InternalError(str(e)))

    return wrapped


class NodeService(NodeServicer):
    """See proto/node.proto."""

    def __init__(self, runtime: Runtime, finder: Finder, logs: Logs, looking: Looking) -> None:
        self._runtime = runtime
        self._finder = finder
        self._logs = logs
        self._looking = looking
        self._sessions = Sessions(MOST, MOST_EACH, of="streams into pods of this node")

    def _into(self, pod: pb.Container | pb.PortForwardStart) -> AbstractContextManager[None]:
        """Raises TooManyRequests."""
        return self._sessions.one_of(f"{pod.namespace}/{pod.pod}")

    @refusing
    async def Logs(self, request: pb.LogsRequest, context: Context) -> AsyncIterator[pb.Chunk]:
        with self._into(request.container):
            async with contextlib.aclosing(self._logs.read(request)) as pieces:  # type: ignore[type-var]
                async for piece in pieces:
                    yield pb.Chunk(data=piece)

    @refusing
    async def Exec(self, request: AsyncIterator[pb.ExecInput], context: Context) -> AsyncIterator[pb.ExecOutput]:
        start = await _start(request)
        record = self._finder.running(start.container)
        process = Process(tuple(start.command), start.stdin, start.tty)
        conversation = _conversation(self._runtime.execute(record.id, process), request, context)
        with self._into(start.container):
            async with contextlib.aclosing(conversation) as outputs:
                async for output in outputs:
                    yield output

    @refusing
    async def Attach(self, request: AsyncIterator[pb.ExecInput], context: Context) -> AsyncIterator[pb.ExecOutput]:
        start = await _start(request)
        record = self._finder.running(start.container)

        async def exit_code() -> int:
            ended = await self._runtime.inspect(record.id)
            return 0 if ended.running else ended.exit_code

        conversation = _conversation(self._runtime.attach(record.id, stdin=start.stdin), request, context, exit_code)
        with self._into(start.container):
            async with contextlib.aclosing(conversation) as outputs:
                async for output in outputs:
                    yield output

    @refusing
    async def PortForward(
        self, request: AsyncIterator[pb.PortForwardInput], context: Context
    ) -> AsyncIterator[pb.Chunk]:
        first = await anext(aiter(request), None)
        if first is None or not first.HasField("start"):
            raise errors.BadRequest("the first message must be `start`")
        with self._into(first.start):
            async with contextlib.aclosing(self._forwarded(first.start, request, context)) as chunks:
                async for chunk in chunks:
                    yield chunk

    async def _forwarded(
        self, start: pb.PortForwardStart, request: AsyncIterator[pb.PortForwardInput], context: Context
    ) -> AsyncGenerator[pb.Chunk, None]:
        pod = self._finder.pod(start.namespace, start.pod)
        try:
            reader, writer = await _connect(self._finder.sandbox(pod).pid, start.address, start.port)
        except ConnectionResetError as e:
            if start.address:
                raise errors.InternalError(f"the connection to port {start.port} broke: {e}") from e
            return  # somebody listens there, and hung up at once
        await context.send_initial_metadata(())
        sending = asyncio.create_task(_send(request, writer))
        try:
            while data := await reader.read(CHUNK):
                yield pb.Chunk(data=data)
        except ConnectionError as e:
            # For kubectl port-forward a connection that the pod breaks off is over like any other: an error would end
            # the forwarding of all that come after it.
            if start.address:
                raise errors.InternalError(f"the connection to port {start.port} broke: {e}") from e
        finally:
            await _cancelled(sending)
            writer.close()

    async def Stats(self, request: pb.StatsRequest, context: Context) -> pb.StatsResponse:
        look = await self._looking.look()
        pods = [
            pb.PodStats(
                namespace=pod.namespace, pod=pod.name, uid=pod.uid, containers=[_stats(use) for use in pod.containers]
            )
            for pod in look.pods
        ]
        return pb.StatsResponse(
            pods=pods, node_cpu_usage_nanoseconds=look.node.cpu.total,
            node_memory_working_set_bytes=look.node.memory.working_set,
        )  # fmt: skip

    async def Ping(self, request: pb.PingRequest, context: Context) -> pb.PingResponse:
        return pb.PingResponse()


def _stats(use: ContainerUse) -> pb.ContainerStats:
    figures = use.figures
    return pb.ContainerStats(
        name=use.record.name, cpu_usage_nanoseconds=figures.cpu.total,
        memory_working_set_bytes=figures.memory.working_set, time_unix_nanoseconds=int(figures.time * 1e9),
    )  # fmt: skip


async def _start(request: AsyncIterator[pb.ExecInput]) -> pb.ExecStart:
    first = await anext(aiter(request), None)
    if first is None or not first.HasField("start"):
        raise errors.BadRequest("the first message must be `start`")
    return first.start


async def _conversation(
    opening: AbstractAsyncContextManager[Stream], request: AsyncIterator[pb.ExecInput], context: Context,
    exit_code: Callable[[], Awaitable[int]] | None = None,
) -> AsyncGenerator[pb.ExecOutput, None]:  # fmt: skip
    """Both directions at once, until the process has said all; its exit code is the last message."""
    async with opening as stream:
        await context.send_initial_metadata(())  # whoever asks waits for this word before saying more
        feeding = asyncio.create_task(_feed(request, stream))
        try:
            async for channel, data in stream.output():
                if channel == STDERR:
                    yield pb.ExecOutput(stderr=data)
                elif channel == STDOUT:
                    yield pb.ExecOutput(stdout=data)
        finally:
            await _cancelled(feeding)
        yield pb.ExecOutput(exit=await (exit_code or stream.exit_code)())


async def _feed(request: AsyncIterator[pb.ExecInput], stream: Stream) -> None:
    with contextlib.suppress(ConnectionError, EngineError):  # a process may end before it has read everything
        async for message in request:
            match message.WhichOneof("message"):
                case "stdin":
                    await stream.write(message.stdin)
                case "resize":
                    await stream.resize(message.resize.width, message.resize.height)
                case "close_stdin":
                    await stream.close_input()


async def _send(request: AsyncIterator[pb.PortForwardInput], writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        async for message in request:
            if message.HasField("data"):
                writer.write(message.data)
                await writer.drain()
            elif message.HasField("close") and writer.can_write_eof():
                writer.write_eof()


async def _cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _connect(pid: int, address: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """To an address of the pod's; "" is its loopback address, and a simulated pod has no other."""
    is_simulated = pid == os.getpid()
    host = address if not is_simulated and ":" not in address else ""
    made = await asyncio.to_thread(_pod_socket, pid)
    made.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(made, (host or "127.0.0.1", port))
    except OSError as e:
        made.close()
        if isinstance(e, ConnectionResetError):
            raise
        why = "connection refused" if isinstance(e, ConnectionRefusedError) else str(e)
        said = f"failed to connect to localhost:{port} inside the pod: dial tcp4 127.0.0.1:{port}: connect: {why}"
        raise errors.InternalError(f"dial tcp {host}:{port}: connect: {why}" if host else said) from e
    return await asyncio.open_connection(sock=made)


def _pod_socket(pid: int) -> socket.socket:
    namespace = open_namespace(pid)
    try:
        return socket_in(namespace, socket.AF_INET, socket.SOCK_STREAM)
    finally:
        os.close(namespace)
