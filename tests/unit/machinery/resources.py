"""A small API server for the client's tests: the gRPC contract over a dict, without rules."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import msgspec

from api import errors
from machinery.channels import OPTIONS
from machinery.client import Client
from proto import resources_pb2 as pb
from proto import resources_pb2_grpc


class Resources(resources_pb2_grpc.ResourcesServicer):
    """Objects by (plural, namespace, name), each change with a revision; every watcher sees every later change."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.history: list[tuple[int, str, str, dict[str, Any]]] = []
        self.revision = 0
        self.oldest = 0
        self.changed = asyncio.Condition()
        self.recorded = asyncio.Event()
        self.lists = 0
        self.interrupted = asyncio.Event()
        self.leaving = 0
        """How many messages of pipelines are left alone."""
        self.metadata: Any = ()
        """What was said with the last pipeline."""

    async def put(self, plural: str, obj: dict[str, Any]) -> dict[str, Any]:
        where = (plural, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        type_ = "MODIFIED" if where in self.objects else "ADDED"
        return await self._record(type_, where, obj)

    async def remove(self, plural: str, name: str, namespace: str = "") -> None:
        where = (plural, namespace, name)
        if where not in self.objects:
            raise errors.not_found(plural, name)
        await self._record("DELETED", where, self.objects[where])

    async def _record(self, type_: str, where: tuple[str, str, str], obj: dict[str, Any]) -> dict[str, Any]:
        self.revision += 1
        obj = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.revision)}}
        if type_ == "DELETED":
            del self.objects[where]
        else:
            self.objects[where] = obj
        self.history.append((self.revision, type_, where[0], obj))
        self.recorded.set()
        async with self.changed:
            self.changed.notify_all()
        return obj

    async def Pipeline(self, request_iterator: Any, context: Any) -> AsyncIterator[pb.Outcomes]:
        self.metadata = context.invocation_metadata()
        async for message in request_iterator:
            if self.leaving:
                self.leaving -= 1
                yield pb.Outcomes(last=True)
                return
            outcomes = []
            for operation in message.operations:
                try:
                    outcomes.append(await self._outcome(operation))
                except errors.ApiError as e:
                    outcomes.append(pb.Outcome(id=operation.id, error=msgspec.json.encode(e.to_status())))
            yield pb.Outcomes(outcomes=outcomes)

    async def _outcome(self, operation: pb.Operation) -> pb.Outcome:
        verb = operation.WhichOneof("verb")
        request = getattr(operation, verb)
        resource = request.resource
        where = (resource.plural, resource.namespace, resource.name)
        if verb == "list":
            self.lists += 1
            items = [msgspec.json.encode(o) for k, o in self.objects.items() if k[0] == resource.plural]
            return pb.Outcome(id=operation.id, list=pb.ListResponse(resource_version=str(self.revision), items=items))
        if verb == "delete":
            await self.remove(*(resource.plural, resource.name, resource.namespace))
            return pb.Outcome(id=operation.id, object=b"{}")
        if verb in ("create", "update"):
            obj = msgspec.json.decode(request.object)
            where = (resource.plural, resource.namespace, obj["metadata"]["name"])
            if verb == "create" and where in self.objects:
                raise errors.already_exists(resource.plural, where[2])
            if verb == "update":
                held = self.objects.get(where)
                if held is None:
                    raise errors.not_found(resource.plural, where[2])
                if obj["metadata"].get("resourceVersion", "") not in ("", held["metadata"]["resourceVersion"]):
                    raise errors.conflict(resource.plural, where[2], errors.STALE)
            return pb.Outcome(id=operation.id, object=msgspec.json.encode(await self.put(resource.plural, obj)))
        if where not in self.objects:
            raise errors.not_found(resource.plural, resource.name)
        if verb == "patch":
            patch = msgspec.json.decode(request.patch)
            return pb.Outcome(
                id=operation.id, object=msgspec.json.encode(await self.put(where[0], self.objects[where] | patch))
            )
        return pb.Outcome(id=operation.id, object=msgspec.json.encode(self.objects[where]))

    async def Watch(self, request: pb.WatchRequest, context: Any) -> AsyncIterator[pb.WatchEvents]:
        interrupted, at = self.interrupted, int(request.resource_version or 0)
        if at < self.oldest:
            status = errors.Expired(f"too old resource version: {at} ({self.oldest})").to_status()
            yield pb.WatchEvents(events=[pb.WatchEvent(type="ERROR", object=msgspec.json.encode(status))])
            return
        while not interrupted.is_set():
            new = [h for h in self.history if h[0] > at and h[2] == request.resource.plural]
            at = self.revision
            if new:
                events = [pb.WatchEvent(type=type_, object=msgspec.json.encode(obj)) for _, type_, _, obj in new]
                yield pb.WatchEvents(events=events)
            async with self.changed:
                await self.changed.wait_for(lambda at=at: self.revision > at or interrupted.is_set())

    async def interrupt(self) -> None:
        """End the watches that are open now."""
        self.interrupted.set()
        async with self.changed:
            self.changed.notify_all()
        self.interrupted = asyncio.Event()


class Line:
    """To a port, for bytes, which may go silent: it stays, and nothing comes through any more. Or it is forgotten at
    its far end: the connections that there are end with the next byte."""

    def __init__(self) -> None:
        self.silent = False
        self._open: list[asyncio.StreamWriter] = []
        self._forgotten: set[asyncio.StreamWriter] = set()
        self.sent: asyncio.Queue[bytes] = asyncio.Queue()
        """What clients have sent."""

    @asynccontextmanager
    async def to(self, port: int) -> AsyncIterator[int]:
        """The port on which the line begins."""
        async with asyncio.TaskGroup() as tasks:

            async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
                self._open.append(writer)
                pumps.append(tasks.create_task(self._pump(reader, far_writer, writer)))
                pumps.append(tasks.create_task(self._pump(far_reader, writer)))

            pumps: list[asyncio.Task[None]] = []
            server = await asyncio.start_server(connected, "127.0.0.1", 0)
            try:
                yield server.sockets[0].getsockname()[1]
            finally:
                server.close()
                for pump in pumps:
                    pump.cancel()

    def forget(self) -> None:
        self._forgotten = set(self._open)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client: asyncio.StreamWriter | None = None
    ) -> None:  # fmt: skip
        """`client`: what is read comes from there."""
        try:
            while data := await reader.read(65536):
                if client in self._forgotten:
                    client.transport.abort()
                    return
                if not self.silent:
                    writer.write(data)
                if client is not None:
                    self.sent.put_nowait(data)
        except ConnectionError:
            pass  # either end may break off
        finally:
            writer.close()


@asynccontextmanager
async def served(service: Resources, port: int = 0) -> AsyncIterator[int]:
    """`service` on a port of the loopback address; the port."""
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    resources_pb2_grpc.add_ResourcesServicer_to_server(service, server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield port
    finally:
        await service.interrupt()
        await server.stop(None)


@asynccontextmanager
async def client_of(port: int, **milliseconds: int) -> AsyncIterator[Client]:
    """With some of the options' times shorter: `keepalive_time_ms`, `http2__ping_timeout_ms`."""
    shorter = {f"grpc.{name.replace('__', '.')}": value for name, value in milliseconds.items()}
    options = [*(dict(OPTIONS) | shorter).items()]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options) as channel, asyncio.TaskGroup() as tasks:
        client = Client(resources_pb2_grpc.ResourcesStub(channel))
        running = tasks.create_task(client.run())
        try:
            yield client
        finally:
            running.cancel()


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Resources, Client]]:
    """A server, and a client of it."""
    service = Resources()
    async with served(service) as port, client_of(port) as client:
        yield service, client
