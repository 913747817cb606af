"""The Node service: logs, exec, attach, port-forward and statistics of this node's pods."""

import asyncio
import contextlib
import functools
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TypeVar

import grpc

from api import errors, times
from kubelet.network.netlink import open_namespace, socket_in
from kubelet.nodes import machines
from kubelet.runtime.interfaces import EngineError, LogOptions, Process, Runtime, Stream
from kubelet.serving.finding import Finder
from machinery.clocks import Clock
from machinery.grpc_errors import abort
from proto import node_pb2 as pb
from proto.node_pb2_grpc import NodeServicer

T = TypeVar("T")
Context = grpc.aio.ServicerContext[Any, Any]
CHUNK = 1 << 16
STDOUT, STDERR = 1, 2


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

    def __init__(self, runtime: Runtime, finder: Finder, clock: Clock) -> None:
        self._runtime = runtime
        self._finder = finder
        self._clock = clock

    @refusing
    async def Logs(self, request: pb.LogsRequest, context: Context) -> AsyncIterator[pb.Chunk]:
        record = self._finder.container(request.container, previous=request.previous)
        left = request.limit_bytes if request.HasField("limit_bytes") else None
        async for _, data in self._runtime.logs(record.id, self._options(request)):
            piece = data if left is None else data[:left]
            yield pb.Chunk(data=piece)
            if left is not None:
                left -= len(piece)
                if left <= 0:
                    return

    def _options(self, request: pb.LogsRequest) -> LogOptions:
        since = 0.0
        if request.HasField("since_seconds"):
            since = self._clock.now() - request.since_seconds
        elif request.since_time:
            try:
                since = times.parse(request.since_time)
            except ValueError as e:
                raise errors.BadRequest(f"invalid since_time: {e}") from e
        return LogOptions(
            follow=request.follow,
            timestamps=request.timestamps,
            tail=request.tail_lines if request.HasField("tail_lines") else None,
            since=since,
            stdout=request.stream in ("", "All", "Stdout"),
            stderr=request.stream in ("", "All", "Stderr"),
        )

    @refusing
    async def Exec(self, request: AsyncIterator[pb.ExecInput], context: Context) -> AsyncIterator[pb.ExecOutput]:
        start = await _start(request)
        record = self._finder.running(start.container)
        process = Process(tuple(start.command), start.stdin, start.tty)
        async with contextlib.aclosing(
            _conversation(self._runtime.execute(record.id, process), request, start)
        ) as outputs:
            async for output in outputs:
                yield output

    @refusing
    async def Attach(self, request: AsyncIterator[pb.ExecInput], context: Context) -> AsyncIterator[pb.ExecOutput]:
        start = await _start(request)
        record = self._finder.running(start.container)

        async def exit_code() -> int:
            ended = await self._runtime.inspect(record.id)
            return 0 if ended.running else ended.exit_code

        attached = self._runtime.attach(record.id, stdin=start.stdin)
        async with contextlib.aclosing(_conversation(attached, request, start, exit_code)) as outputs:
            async for output in outputs:
                yield output

    @refusing
    async def PortForward(
        self, request: AsyncIterator[pb.PortForwardInput], context: Context
    ) -> AsyncIterator[pb.Chunk]:
        first = await anext(aiter(request), None)
        if first is None or not first.HasField("start"):
            raise errors.BadRequest("the first message must be `start`")
        pod = self._finder.pod(first.start.namespace, first.start.pod)
        reader, writer = await _connect(self._finder.sandbox(pod).pid, first.start.port)
        sending = asyncio.create_task(_send(request, writer))
        try:
            while data := await reader.read(CHUNK):
                yield pb.Chunk(data=data)
        except ConnectionError as e:
            raise errors.InternalError(f"the connection to port {first.start.port} broke: {e}") from e
        finally:
            await _cancelled(sending)
            writer.close()

    async def Stats(self, request: pb.StatsRequest, context: Context) -> pb.StatsResponse:
        records = self._finder.everything()
        found = await asyncio.gather(*(self._runtime.usage(r.id) for r in records), return_exceptions=True)
        response = pb.StatsResponse(
            node_cpu_usage_nanoseconds=node_cpu(), node_memory_working_set_bytes=machines.used_memory()
        )
        pods: dict[str, pb.PodStats] = {}
        for record, usage in zip(records, found, strict=True):
            if isinstance(usage, BaseException):
                continue  # it has ended since
            pod = pods.get(record.uid)
            if pod is None:
                pod = pods[record.uid] = response.pods.add(
                    namespace=record.labels.get("io.kubernetes.pod.namespace", ""),
                    pod=record.labels.get("io.kubernetes.pod.name", ""),
                    uid=record.uid,
                )
            pod.containers.add(
                name=record.name,
                cpu_usage_nanoseconds=usage.cpu_nanoseconds,
                memory_working_set_bytes=usage.memory,
                time_unix_nanoseconds=int(self._clock.now() * 1e9),
            )
        return response


async def _start(request: AsyncIterator[pb.ExecInput]) -> pb.ExecStart:
    first = await anext(aiter(request), None)
    if first is None or not first.HasField("start"):
        raise errors.BadRequest("the first message must be `start`")
    return first.start


async def _conversation(
    opening: AbstractAsyncContextManager[Stream], request: AsyncIterator[pb.ExecInput], start: pb.ExecStart,
    exit_code: Callable[[], Awaitable[int]] | None = None,
) -> AsyncGenerator[pb.ExecOutput, None]:  # fmt: skip
    """Both directions at once, until the process has said all; its exit code is the last message."""
    async with opening as stream:
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


async def _connect(pid: int, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """To the pod's own loopback address: what listens there only is reached too."""
    made = await asyncio.to_thread(_pod_socket, pid)
    made.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", port))
    except OSError as e:
        made.close()
        why = "connection refused" if isinstance(e, ConnectionRefusedError) else str(e)
        raise errors.InternalError(
            f"failed to connect to localhost:{port} inside the pod: dial tcp4 127.0.0.1:{port}: connect: {why}"
        ) from e
    return await asyncio.open_connection(sock=made)


def _pod_socket(pid: int) -> socket.socket:
    namespace = open_namespace(pid)
    try:
        return socket_in(namespace, socket.AF_INET, socket.SOCK_STREAM)
    finally:
        os.close(namespace)


def node_cpu(stat: Path = Path("/proc/stat")) -> int:
    """Nanoseconds that the machine's processors have worked."""
    user, nice, system, _, _, irq, softirq, steal = (int(n) for n in stat.read_text().split("\n", 1)[0].split()[1:9])
    ticks = user + nice + system + irq + softirq + steal
    return ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
