"""The components' client: Kubernetes' verbs over the API server's gRPC door.

Everything but watches goes as messages on one bidirectional stream: a unary call costs about ten times as much.
When that stream breaks, what was in flight fails with Unavailable, and whether it was done is not known: level-based
callers read the world again. When a server says that it takes no more, what it has not answered was not done, and is
said again to the next one.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

import grpc
import msgspec

from api import errors, kinds, meta
from api.kinds import Kind
from api.meta import PartialObject
from machinery.channels import ENDS_STREAMS, TENURE, following
from machinery.grpc_errors import from_rpc
from machinery.kubeconfigs import Access
from proto import resources_pb2 as pb
from proto.resources_pb2_grpc import ResourcesStub

T = TypeVar("T")

PATCHES = {
    "merge": pb.PatchRequest.MERGE,
    "json": pb.PatchRequest.JSON,
    "strategic": pb.PatchRequest.STRATEGIC,
    "apply": pb.PatchRequest.APPLY,
}
LARGEST_MESSAGE = 128
"""Operations in one message, at most."""
ENOUGH_BYTES = 2**20
"""From here on nothing more goes into a message: servers take no large ones."""
PENDING = 4096
"""Operations waiting to be sent; more callers wait for their turn."""


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    resource_version: str
    items: list[T]


@dataclass(frozen=True, slots=True)
class WatchEvent(Generic[T]):
    type: str
    """ADDED, MODIFIED, DELETED or BOOKMARK."""
    object: T


Batch = list[WatchEvent[T]]


class Client:
    """Safe for any number of concurrent callers. Get one from `connect`.

    `what` is a Struct type: Pod, or `meta.partial(kind)` for objects with nothing but their metadata.
    Every method raises errors of api.errors: what the server says, or Unavailable if it cannot be reached.
    """

    def __init__(self, stub: Any, generation: Callable[[], object] = lambda: None) -> None:
        """`generation` is another one after the stub's credentials have changed."""
        self._stub = stub
        self._pipeline = _Pipeline(stub, generation)

    @property
    def answers(self) -> Mapping[tuple[str, int], int]:
        """(verb, HTTP's number) → how often a request ended so."""
        return self._pipeline.answers

    def fence(self, allowed: Callable[[], bool], lease: str, holder: str, since: str) -> None:
        """From now on nothing is changed but Leases while that is false: callers get Unavailable. And nothing but
        Leases and Events while the Lease `lease` (NAMESPACE/NAME) is not held as `holder` since `since`, its
        acquireTime: callers get Conflict.

        The first is asked when something is about to be sent, not when the caller decided on it; the second by the
        API server when it writes, since what was sent may lie on its way.
        """
        self._pipeline.allowed = allowed
        self._pipeline.tenure = f"{lease}/{quote(holder, safe='')}/{since}"

    async def run(self) -> None:
        """Carries the operations until cancelled; `connect` owns this."""
        await self._pipeline.run()

    async def get(self, what: type[T], name: str, namespace: str = "") -> T:
        request = pb.GetRequest(resource=_resource(kinds.of(what), namespace, name))
        return meta.decode((await self._pipeline.call(pb.Operation(get=request))).object, what)

    async def list(
        self, what: type[T], namespace: str = "", *, label_selector: str = "", field_selector: str = "",
        resource_version: str = "",
    ) -> Listing[T]:  # fmt: skip
        """All objects, or those of one namespace, at one revision."""
        request = pb.ListRequest(
            resource=_resource(kinds.of(what), namespace), label_selector=label_selector,
            field_selector=field_selector, resource_version=resource_version, metadata_only=_metadata_only(what),
        )  # fmt: skip
        found = (await self._pipeline.call(pb.Operation(list=request))).list
        return Listing(found.resource_version, [meta.decode(item, what) for item in found.items])

    async def watch(
        self, what: type[T], namespace: str = "", *, resource_version: str, label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncGenerator[Batch[T], None]:  # fmt: skip
        """Changes after `resource_version`, in batches, until the server ends it; raises Expired if that is too old."""
        call = self._stub.Watch(
            pb.WatchRequest(
                resource=_resource(kinds.of(what), namespace), label_selector=label_selector,
                field_selector=field_selector, resource_version=resource_version, allow_watch_bookmarks=True,
                metadata_only=_metadata_only(what),
            )
        )  # fmt: skip
        try:
            async for message in call:
                yield [_event(event, what) for event in message.events]
        except grpc.aio.AioRpcError as e:
            raise from_rpc(e) from e
        finally:
            call.cancel()

    async def create(self, obj: T, *, field_manager: str = "") -> T:
        """The object as it was stored."""
        kind = meta.kind_of(obj)
        request = pb.CreateRequest(
            resource=_resource(kind, obj.metadata.namespace),  # type: ignore[attr-defined]
            object=meta.encode(obj), field_manager=field_manager,
        )  # fmt: skip
        return meta.decode((await self._pipeline.call(pb.Operation(create=request))).object, type(obj))

    async def update(self, obj: T, *, subresource: str = "") -> T:
        """Replace the object; Conflict if it is not at `metadata.resourceVersion` any more."""
        kind, metadata = meta.kind_of(obj), obj.metadata  # type: ignore[attr-defined]
        request = pb.UpdateRequest(
            resource=_resource(kind, metadata.namespace, metadata.name, subresource), object=meta.encode(obj)
        )
        return meta.decode((await self._pipeline.call(pb.Operation(update=request))).object, type(obj))

    async def update_status(self, obj: T) -> T:
        return await self.update(obj, subresource="status")

    async def patch(
        self, what: type[T], name: str, namespace: str, patch: Any, *, kind: str = "merge", subresource: str = "",
        field_manager: str = "", force: bool = False,
    ) -> T:  # fmt: skip
        """`patch` is a document (dict, list, Struct); `kind` one of merge, json, strategic, apply."""
        request = pb.PatchRequest(
            resource=_resource(kinds.of(what), namespace, name, subresource), patch=meta.encode(patch),
            type=PATCHES[kind], field_manager=field_manager, force=force,
        )  # fmt: skip
        return meta.decode((await self._pipeline.call(pb.Operation(patch=request))).object, what)

    async def delete(
        self, what: type[Any], name: str, namespace: str = "", *, uid: str = "", resource_version: str = "",
        propagation: Literal["", "Background", "Foreground", "Orphan"] = "", grace_seconds: int | None = None,
    ) -> None:  # fmt: skip
        """Ask for the object to go. With `uid` or `resource_version`, only that very one (else Conflict)."""
        request = pb.DeleteRequest(
            resource=_resource(kinds.of(what), namespace, name),
            options=_delete_options(uid, resource_version, propagation, grace_seconds),
        )
        await self._pipeline.call(pb.Operation(delete=request))

    async def delete_collection(
        self, what: type[Any], namespace: str = "", *, label_selector: str = "", field_selector: str = "",
        propagation: Literal["", "Background", "Foreground", "Orphan"] = "",
    ) -> None:  # fmt: skip
        request = pb.DeleteCollectionRequest(
            resource=_resource(kinds.of(what), namespace), label_selector=label_selector, field_selector=field_selector,
            options=_delete_options("", "", propagation, None),
        )  # fmt: skip
        await self._pipeline.call(pb.Operation(delete_collection=request))

    async def get_subresource(self, kind: Kind, name: str, namespace: str, subresource: str, what: type[T]) -> T:
        """Such as the Scale of an object of any kind."""
        request = pb.GetRequest(resource=_resource(kind, namespace, name, subresource))
        return meta.decode((await self._pipeline.call(pb.Operation(get=request))).object, what)

    async def update_subresource(self, kind: Kind, name: str, namespace: str, subresource: str, obj: T) -> T:
        request = pb.UpdateRequest(resource=_resource(kind, namespace, name, subresource), object=meta.encode(obj))
        return meta.decode((await self._pipeline.call(pb.Operation(update=request))).object, type(obj))

    async def create_subresource(
        self, what: type[Any], name: str, namespace: str, subresource: str, obj: Any
    ) -> bytes:  # fmt: skip
        """POST to a subresource (`binding`, `eviction`); the answer's document."""
        request = pb.CreateRequest(
            resource=_resource(kinds.of(what), namespace, name, subresource), object=meta.encode(obj)
        )
        return (await self._pipeline.call(pb.Operation(create=request))).object


@asynccontextmanager
async def connect(kubeconfig: Path | Access, pair: Path | None = None) -> AsyncIterator[Client]:
    """A client for as long as the block runs; not reaching the server is no error yet. A kubeconfig that is replaced,
    or a pair beside it (`kubeconfigs.load`), counts for all that is asked from then on, while watches go on as they
    began.

    Raises kubeconfigs.Unusable, OSError.
    """
    async with following(kubeconfig, pair) as channel, asyncio.TaskGroup() as tasks:
        client = Client(ResourcesStub(channel), lambda: channel.generation)
        running = tasks.create_task(client.run())
        try:
            yield client
        finally:
            running.cancel()


class _Pipeline:
    """Operations of many callers on one stream. One coroutine owns the stream; callers wait on futures.

    After a change of credentials, or of what is said of a tenure, a new stream is begun, once the old one has told
    everything that it was asked.
    """

    def __init__(self, stub: Any, generation: Callable[[], object]) -> None:
        self._stub = stub
        self._generation = generation
        self.allowed: Callable[[], bool] = lambda: True
        self.tenure = ""
        """What is said of it with the next stream; "" nothing."""
        self._unsent: list[pb.Operation] = []
        self._outgoing: asyncio.Queue[pb.Operation] = asyncio.Queue(PENDING)
        self._waiting: dict[int, asyncio.Future[pb.Outcome]] = {}
        self._unanswered: dict[int, pb.Operation] = {}
        """What was sent on the present stream, in that order."""
        self._last = 0
        self.answers: Counter[tuple[str, int]] = Counter()

    async def call(self, operation: pb.Operation) -> pb.Outcome:
        self._last += 1
        operation.id = number = self._last
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        verb = operation.WhichOneof("verb") or ""
        try:
            await self._outgoing.put(operation)
            outcome: pb.Outcome = await future
            if outcome.error:
                raise errors.from_status(msgspec.json.decode(outcome.error))
        except errors.ApiError as e:
            self.answers[verb, e.code] += 1
            raise
        finally:
            del self._waiting[number]
        self.answers[verb, 200] += 1
        return outcome

    async def run(self) -> None:
        again: list[pb.Operation] = []
        while True:
            # Opened only when there is something to say: an idle client does not knock at a dead server.
            batch = again or await self._batch()
            try:
                again = await self._converse(batch)
            except grpc.aio.AioRpcError as e:
                again = []
                self._fail(from_rpc(e))
            self._unanswered.clear()

    async def _converse(self, first: list[pb.Operation]) -> list[pb.Operation]:
        """What a server that goes has left undone, or what is to be said with other credentials."""
        generation, self._unsent = self._present(), []
        tenure = ((TENURE, self.tenure),) if self.tenure else ()
        call = self._stub.Pipeline(metadata=(ENDS_STREAMS, *tenure))
        writer = asyncio.create_task(self._write(call, first, generation))
        try:
            while (message := await call.read()) is not grpc.aio.EOF:
                for outcome in message.outcomes:
                    self._unanswered.pop(outcome.id, None)
                    future = self._waiting.get(outcome.id)
                    if future is not None and not future.done():
                        future.set_result(outcome)
                if message.last:
                    return [*self._unanswered.values(), *self._unsent]
            if self._unsent:
                return self._unsent
            self._fail(errors.Unavailable("the API server closed the stream"))
            return []
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            call.cancel()

    async def _write(self, call: Any, batch: list[pb.Operation], generation: tuple[object, str]) -> None:
        while generation == self._present():
            # A caller that was cancelled before its turn wants nothing any more.
            wanted = [operation for operation in batch if operation.id in self._waiting]
            if not self.allowed():
                wanted = [operation for operation in wanted if not self._held_back(operation)]
            self._unanswered.update((operation.id, operation) for operation in wanted)
            await call.write(pb.Operations(operations=wanted))
            batch = await self._batch()
        self._unsent = batch
        await call.done_writing()

    def _present(self) -> tuple[object, str]:
        """What a stream is begun with."""
        return self._generation(), self.tenure

    def _held_back(self, operation: pb.Operation) -> bool:
        verb = operation.WhichOneof("verb") or ""
        if verb in ("get", "list") or getattr(operation, verb).resource.plural == "leases":
            return False
        future = self._waiting[operation.id]
        if not future.done():
            future.set_exception(errors.Unavailable("another process may lead by now"))
        return True

    async def _batch(self) -> list[pb.Operation]:
        batch = [await self._outgoing.get()]
        size = batch[0].ByteSize()
        while len(batch) < LARGEST_MESSAGE and size < ENOUGH_BYTES and not self._outgoing.empty():
            batch.append(self._outgoing.get_nowait())
            size += batch[-1].ByteSize()
        return batch

    def _fail(self, error: errors.ApiError) -> None:
        while not self._outgoing.empty():
            self._outgoing.get_nowait()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(type(error)(error.message, error.details))


_EVENT_TYPES = {number: name for name, number in pb.WatchEvent.Type.items()}


def _event(event: pb.WatchEvent, type_: type[T]) -> WatchEvent[T]:
    if event.type == pb.WatchEvent.ERROR:
        raise errors.from_status(msgspec.json.decode(event.object))
    return WatchEvent(_EVENT_TYPES[event.type], meta.decode(event.object, type_))


def _metadata_only(what: type[Any]) -> bool:
    return issubclass(what, PartialObject)


def _resource(kind: Kind, namespace: str, name: str = "", subresource: str = "") -> pb.Resource:
    return pb.Resource(
        group=kind.group, version=kind.version, plural=kind.plural, namespace=namespace if kind.namespaced else "",
        name=name, subresource=subresource,
    )  # fmt: skip


def _delete_options(uid: str, resource_version: str, propagation: str, grace_seconds: int | None) -> bytes:
    options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions"}
    preconditions = {k: v for k, v in (("uid", uid), ("resourceVersion", resource_version)) if v}
    if preconditions:
        options["preconditions"] = preconditions
    if propagation:
        options["propagationPolicy"] = propagation
    if grace_seconds is not None:
        options["gracePeriodSeconds"] = grace_seconds
    return meta.encode(options)
