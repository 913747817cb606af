"""The gRPC door: `wherry.v1.Resources`, the same verbs as REST on the same registry.

Components speak through it.  The TLS of its port demands client certificates; those who have a token instead use the
port beside it, whose TLS asks for none, and must show the token: every caller is somebody.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any, TypeVar

import grpc
import msgspec
from multidict import CIMultiDict, CIMultiDictProxy

from api import errors
from api.errors import ApiError, InternalError
from apiserver import impersonation
from apiserver.auditing import Auditor, Caller, calls
from apiserver.authentication import Authenticator
from apiserver.authorization import Authorizer
from apiserver.authorization.nodes import PREFIX as NODE
from apiserver.flows import Gate
from apiserver.flows.queueing import Ticket
from apiserver.metrics import Metrics
from apiserver.registry import Registry
from apiserver.requests import (
    ANONYMOUS,
    Event,
    ListOptions,
    Request,
    User,
    WatchOptions,
    page_limit,
    parse_delete_options,
)
from apiserver.storage import tenures
from apiserver.yamls import as_json
from machinery.channels import ENDS_STREAMS
from machinery.grpc_errors import abort
from machinery.grpc_front import peer
from proto import resources_pb2 as pb

SERVICE = pb.DESCRIPTOR.services_by_name["Resources"].full_name
PATCHES = {
    pb.PatchRequest.MERGE: "merge",
    pb.PatchRequest.JSON: "json",
    pb.PatchRequest.STRATEGIC: "strategic",
    pb.PatchRequest.APPLY: "apply",
}
IN_FLIGHT = 256
"""Operations of one stream that are being worked on; more wait in the transport, which slows their sender."""
MESSAGE_BYTES = 1 << 20
FIRST_SECONDS = 5.0
VERBS = {
    "get": "Get", "list": "List", "create": "Create", "update": "Update", "patch": "Patch", "delete": "Delete",
    "delete_collection": "DeleteCollection",
}  # fmt: skip
"""As operations name them → the method."""

Context = grpc.aio.ServicerContext[Any, Any]
T = TypeVar("T")
log = logging.getLogger(__name__)


class Resources:
    def __init__(
        self, registry: Registry, authenticate: Authenticator, authorizer: Authorizer | None = None,
        auditor: Auditor | None = None, metrics: Metrics | None = None, gate: Gate | None = None,
    ) -> None:  # fmt: skip
        """Without an authorizer nobody acts as somebody else; without an auditor nothing is told of; without a gate
        nobody waits for his turn."""
        self._gate = gate
        self._registry = registry
        self._authenticate = authenticate
        self._authorizer = authorizer
        self._auditor = auditor
        self._metrics = metrics or Metrics()
        self._lines: set[_Line] = set()

    def leave(self, patience: float) -> None:
        """Take nothing more from open pipelines; each tells its client when what it has taken is answered.

        From then on a client has `patience` seconds to end its stream, unless it has said that it will: one that does
        not know that message would wait for answers, and its stream is broken off.
        """
        for line in self._lines:
            line.end(patience)

    def register(self, server: grpc.aio.Server) -> None:
        """Put the service on a server. Watches answer with bytes that were encoded once for all watchers."""
        handlers: dict[str, Any] = {
            method: grpc.unary_unary_rpc_method_handler(
                self._unary(verb),
                request_deserializer=getattr(pb, f"{method}Request").FromString,
                response_serializer=lambda message: message.SerializeToString(),
            )
            for verb, method in VERBS.items()
        }
        handlers["Watch"] = grpc.unary_stream_rpc_method_handler(
            self.Watch, request_deserializer=pb.WatchRequest.FromString, response_serializer=bytes
        )
        handlers["Pipeline"] = grpc.stream_stream_rpc_method_handler(
            self.Pipeline,
            request_deserializer=pb.Operations.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    # --- verbs

    async def Get(self, message: pb.GetRequest, user: User) -> pb.Object:
        request = await self._request(user, "get", message.resource)
        return pb.Object(json=await self._registry.get(request, message.resource_version))

    async def List(self, message: pb.ListRequest, user: User) -> pb.ListResponse:
        request = await self._request(user, "list", message.resource)
        options = ListOptions(
            message.label_selector, message.field_selector, message.resource_version, message.resource_version_match,
            max(0, message.limit), getattr(message, "continue"),
        )  # fmt: skip
        found = await self._registry.list(request, options)
        documents = [item.document for item in found.items]
        response = pb.ListResponse(
            resource_version=found.resource_version,
            remaining_item_count=found.remaining or 0,
            items=map(partial, documents) if message.metadata_only else documents,
        )
        setattr(response, "continue", found.continue_)
        return response

    async def Create(self, message: pb.CreateRequest, user: User) -> pb.Object:
        request = await self._writing(user, "create", message)
        return pb.Object(json=await self._registry.create(request, message.object))

    async def Update(self, message: pb.UpdateRequest, user: User) -> pb.Object:
        document, _ = await self._registry.update(await self._writing(user, "update", message), message.object)
        return pb.Object(json=document)

    async def Patch(self, message: pb.PatchRequest, user: User) -> pb.Object:
        request = await self._writing(user, "patch", message)
        request.force = message.force
        patch = message.patch
        if message.type == pb.PatchRequest.APPLY and not patch.lstrip().startswith(b"{"):
            if self._authorizer is not None:  # the registry asks again; nothing is unpacked for whoever may not write
                self._authorizer.authorize(request)
            patch = await as_json(patch, request.kind.name)
        document, _ = await self._registry.patch(request, patch, PATCHES.get(message.type, ""))
        return pb.Object(json=document)

    async def Delete(self, message: pb.DeleteRequest, user: User) -> pb.Object:
        request = await self._request(user, "delete", message.resource)
        document, _ = await self._registry.delete(request, parse_delete_options(message.options))
        return pb.Object(json=document)

    async def DeleteCollection(self, message: pb.DeleteCollectionRequest, user: User) -> pb.ListResponse:
        request = await self._request(user, "deletecollection", message.resource)
        which = ListOptions(message.label_selector, message.field_selector)
        found = await self._registry.delete_collection(request, which, parse_delete_options(message.options))
        return pb.ListResponse(resource_version=found.resource_version, items=[item.document for item in found.items])

    async def _request(self, user: User, verb: str, resource: pb.Resource) -> Request:
        kind = await self._registry.find(resource.group, resource.version, resource.plural)
        if kind is None:
            raise errors.no_such_resource()
        namespace = resource.namespace if kind.namespaced else ""
        return Request(user, verb, kind, namespace, resource.name, resource.subresource)

    async def _writing(
        self, user: User, verb: str, message: pb.CreateRequest | pb.UpdateRequest | pb.PatchRequest
    ) -> Request:
        request = await self._request(user, verb, message.resource)
        request.dry_run = message.dry_run
        request.field_manager = message.field_manager or manager_of(user)
        request.field_validation = message.field_validation or "Ignore"
        return request

    # --- streams

    async def Watch(self, message: pb.WatchRequest, context: Context) -> AsyncIterator[bytes]:
        entry = None
        try:
            caller = await self.caller(context)
            if self._auditor is None:
                events = await self._watch(message, caller.user)
            else:
                with calls.begun(self._auditor, caller, "watch", message.resource) as entry:
                    events = await self._watch(message, caller.user)
                    entry.started()
        except ApiError as e:
            if entry is not None:
                entry.status = e.to_status()
                entry.done(e.code)
            await abort(context, e)
        try:
            async for batch in events:
                if message.metadata_only:
                    batch = [_partial_event(event) for event in batch]
                for joined in _joined(batch):
                    yield joined
        finally:
            if entry is not None:
                entry.done(200)

    async def _watch(self, message: pb.WatchRequest, user: User) -> AsyncIterator[list[Event]]:
        options = WatchOptions(
            message.label_selector, message.field_selector, message.resource_version,
            bookmarks=message.allow_watch_bookmarks,
            send_initial_events=True if message.send_initial_events else None,
            timeout_seconds=float(message.timeout_seconds),
        )  # fmt: skip
        request = await self._request(user, "watch", message.resource)
        ticket = await self._admit(user, "watch", message)
        try:
            return await self._registry.watch(request, options)
        finally:
            self._leave(ticket)

    async def Pipeline(self, incoming: AsyncIterator[pb.Operations], context: Context) -> None:
        """Operations on one object are done in the order in which they came; others do not wait for each other."""
        try:
            await self.caller(context)
        except ApiError as e:
            # Ended before its first message was taken, a stream may look to its client like a broken connection.
            with suppress(TimeoutError):
                await asyncio.wait_for(anext(incoming, None), FIRST_SECONDS)
            await abort(context, e)
        metadata = context.invocation_metadata() or ()
        try:
            tenure = tenures.told(metadata)
        except ApiError as e:
            await abort(context, e)
        line = _Line(self, tenure, ends=ENDS_STREAMS in metadata)
        refusal: ApiError | None = None
        self._lines.add(line)
        try:
            async with asyncio.timeout(None) as limit, asyncio.TaskGroup() as group:
                sender = group.create_task(line.send(context.write, limit))
                # A line that is over is read to its end all the same: a client that writes at the moment at which its
                # call ends is told gRPC's own words in the place of what the server has said.
                async for message in incoming:
                    try:
                        # Asked each time: a stream lasts, and a certificate, a token and its pod may not.
                        caller = await self.caller(context)
                    except ApiError as e:
                        refusal = e
                        break
                    for operation in message.operations:
                        await line.start(group, operation, caller)
                await line.drained()
                sender.cancel()
        except TimeoutError:
            refusal = errors.Unavailable("the API server is shutting down")
        finally:
            self._lines.discard(line)
        if refusal is not None:
            await abort(context, refusal)

    async def operate(self, operation: pb.Operation, caller: Caller) -> pb.Outcome:
        """One operation of a pipeline. Refusals are outcomes too."""
        verb = operation.WhichOneof("verb")
        try:
            if verb is None:
                raise errors.BadRequest("the operation has no verb")
            answer = await self._perform(verb, getattr(operation, verb), caller)
        except ApiError as e:
            return pb.Outcome(id=operation.id, error=msgspec.json.encode(e.to_status()))
        except Exception as e:
            log.exception("%s failed", verb)
            return pb.Outcome(id=operation.id, error=msgspec.json.encode(_defect(e).to_status()))
        if isinstance(answer, pb.ListResponse):
            return pb.Outcome(id=operation.id, list=answer)
        return pb.Outcome(id=operation.id, object=answer.json)

    async def _perform(self, verb: str, message: Any, caller: Caller) -> Any:
        call, code = self._metrics.call(), 500
        call.concerns(verb.replace("_", ""), message.resource)
        ticket = None
        try:
            ticket = await self._admit(caller.user, verb.replace("_", ""), message)
            answer = await self._told(verb, message, caller)
            code = 201 if verb == "create" else 200
            return answer
        except ApiError as e:
            code = e.code
            raise
        finally:
            self._leave(ticket)
            call.ended(code)

    async def _admit(self, user: User, verb: str, message: Any) -> Ticket | None:
        """Returns when it is the call's turn; `_leave` gives the ticket back.  Raises NotFound, TooManyRequests."""
        if self._gate is None:
            return None
        request = await self._request(user, verb, message.resource)
        flow = self._gate.classify(request)
        if flow is None:
            return None
        limit = 0
        if verb == "list":
            limit = page_limit(message.limit, message.resource_version, getattr(message, "continue"))
        return await self._gate.admit(flow, request, limit)

    def _leave(self, ticket: Ticket | None) -> None:
        if ticket is not None and self._gate is not None:
            self._gate.leave(ticket)

    async def _told(self, verb: str, message: Any, caller: Caller) -> Any:
        method = getattr(self, VERBS[verb])
        if self._auditor is None:
            return await method(message, caller.user)
        return await calls.told(self._auditor, caller, verb, message, method)

    def _unary(self, verb: str) -> Callable[[Any, Context], Awaitable[Any]]:
        async def serve(message: Any, context: Context) -> Any:
            try:
                return await self._perform(verb, message, await self.caller(context))
            except ApiError as e:
                await abort(context, e)
            except Exception as e:
                log.exception("%s failed", verb)
                await abort(context, _defect(e))

        return serve

    async def caller(self, context: Context) -> Caller:
        """Whom a call is from: the owner of its token, else of the connection's certificate; and whom they act as.

        A token counts first, not second as with REST: components are libraries too, and who calls with a token on a
        component's connection means it.  Raises Unauthorized, Forbidden, BadRequest.
        """
        certificate = next(iter(context.auth_context().get("x509_pem_cert", ())), None)
        sent = [(k, v if isinstance(v, str) else v.decode()) for k, v in context.invocation_metadata() or ()]
        headers = CIMultiDict(sent)
        token = headers.get("authorization", "")
        own = await self._authenticate(None if token else certificate, token)
        if own.name == ANONYMOUS.name:
            raise errors.Unauthorized("Unauthorized")
        user = own
        if self._authorizer is not None:
            user = impersonation.effective(own, CIMultiDictProxy(headers), self._authorizer)
        return Caller(user, own, headers.get("user-agent", ""), peer(context.peer()))


class _Line:
    """The operations of one stream that are under way, and the outcomes that wait to be sent."""

    def __init__(self, door: Resources, tenure: tenures.Tenure | None = None, *, ends: bool) -> None:
        self._door = door
        self._tenure = tenure
        self._ends = ends
        self._room = asyncio.Semaphore(IN_FLIGHT)
        self._latest: dict[bytes, asyncio.Task[None]] = {}
        self._done: list[pb.Outcome] = []
        self._some = asyncio.Event()
        self._sent = asyncio.Event()
        self._open = 0
        self._over = False
        self._patience = 0.0

    def end(self, patience: float) -> None:
        """Nothing more is begun."""
        self._over, self._patience = True, patience
        self._some.set()

    async def start(self, group: asyncio.TaskGroup, operation: pb.Operation, caller: Caller) -> None:
        await self._room.acquire()
        if self._over:
            self._room.release()
            return
        self._open += 1
        self._sent.clear()
        key = _object(operation)
        before = self._latest.get(key) if key else None
        task = group.create_task(self._run(operation, caller, key, before))
        if key:
            self._latest[key] = task

    async def _run(
        self, operation: pb.Operation, caller: Caller, key: bytes, before: asyncio.Task[None] | None
    ) -> None:
        if before is not None:
            await before
        if self._tenure is not None and not _regardless(operation):
            tenures.CURRENT.set(self._tenure)  # of this task
        outcome = await self._door.operate(operation, caller)
        self._done.append(outcome)  # looked up only now: `_batch` puts a new list there
        self._some.set()
        self._room.release()
        if key and self._latest.get(key) is asyncio.current_task():
            del self._latest[key]

    async def send(self, write: Callable[[pb.Outcomes], Awaitable[None]], limit: asyncio.Timeout) -> None:
        """`limit` is that of the whole stream."""
        while True:
            await self._some.wait()
            self._some.clear()
            while self._done:
                batch = self._batch()
                await write(pb.Outcomes(outcomes=batch))
                self._open -= len(batch)
            if not self._open:
                self._sent.set()
                if self._over:
                    await write(pb.Outcomes(last=True))
                    if not self._ends:
                        limit.reschedule(asyncio.get_running_loop().time() + self._patience)
                    return

    def _batch(self) -> list[pb.Outcome]:
        size = 0
        for at, outcome in enumerate(self._done):
            size += outcome.ByteSize()
            if size > MESSAGE_BYTES:
                batch, self._done = self._done[: at + 1], self._done[at + 1 :]
                return batch
        batch, self._done = self._done, []
        return batch

    async def drained(self) -> None:
        if self._open:
            await self._sent.wait()


def _object(operation: pb.Operation) -> bytes:
    """What the operation is about; empty if that is not one named object."""
    verb = operation.WhichOneof("verb")
    if verb is None:
        return b""
    resource = getattr(operation, verb).resource
    if not resource.name:
        return b""
    return f"{resource.group}/{resource.plural}/{resource.namespace}/{resource.name}".encode()


def _regardless(operation: pb.Operation) -> bool:
    """Whether it is done for one who leads no more, too: who gives a Lease back, and who tells what he did."""
    verb = operation.WhichOneof("verb")
    return verb is not None and getattr(operation, verb).resource.plural in ("leases", "events")


def manager_of(user: User) -> str:
    """What a component owns fields as that does not say: the word that upstream's has for itself."""
    return "kubelet" if user.name.startswith(NODE) else user.name.rpartition(":")[2]


def _defect(e: Exception) -> InternalError:
    return InternalError(f"Internal error occurred: {e!r}")


def _joined(events: list[Event]) -> Iterator[bytes]:
    """Encoded WatchEvents messages of about a megabyte."""
    parts: list[bytes] = []
    size = 0
    for event in events:
        parts.append(event.message())
        size += len(parts[-1])
        if size > MESSAGE_BYTES:
            yield b"".join(parts)
            parts, size = [], 0
    if parts:
        yield b"".join(parts)


class _Partial(msgspec.Struct):
    apiVersion: str
    kind: str
    metadata: msgspec.Raw


_partial = msgspec.json.Decoder(_Partial)


def partial(document: bytes) -> bytes:
    """The document with nothing but its metadata. It still says of which kind it is: the reader may not know."""
    return msgspec.json.encode(_partial.decode(document))


def _partial_event(event: Event) -> Event:
    return event if event.type == "ERROR" else Event(event.type, partial(event.document))
