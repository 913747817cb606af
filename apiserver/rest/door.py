"""One handler for every path: who asks, for what, which verb of the registry answers, and in which form."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import unquote

from aiohttp import web

from api.errors import ApiError, InternalError, NotFound, Timeout
from api.kinds import CREATE_ONLY, Kind
from apiserver import impersonation
from apiserver.auditing import Auditor
from apiserver.authentication import Headers
from apiserver.authorization import Authorizer
from apiserver.catalogue import Catalogue
from apiserver.flows import Flow, Gate
from apiserver.flows.queueing import Ticket
from apiserver.metrics import Call, Metrics
from apiserver.requests import Event, Listing, Request, User
from apiserver.rest import (
    auditing,
    bodies,
    documents,
    listings,
    options,
    packing,
    paths,
    responses,
    sharing,
    tables,
    watching,
)  # fmt: skip
from apiserver.rest.connections import Connections, certificate_of
from apiserver.rest.negotiation import JSON, PLAIN, PROTOBUF, Representation, representation
from apiserver.rest.options import Query
from apiserver.rest.packing import Packer
from apiserver.rest.pages import Pages
from apiserver.rest.paths import PageNotFound, Target
from apiserver.rest.sharing import Sharing
from apiserver.rest.streaming import Streams
from apiserver.rest.verbs import Verbs
from machinery.clocks import Clock

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")
Authenticate = Callable[[bytes | None, str, Headers], Awaitable[User]]
"""(the peer's certificate in DER, None without one; the Authorization header or ""; all headers) → who that is.
Raises Unauthorized."""

Elsewhere = Callable[[web.BaseRequest, str, User, Connections], Awaitable[web.StreamResponse | None]]
"""(the request, its path, the user, what goes on for long) → the answer of another server; None where the path is
served here.  Raises ApiError."""

PAGE = Kind("", "", "Page", "", namespaced=False)
"""Stands in requests that are about a path: no resource."""
WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
DEPRECATED = {
    "endpoints": "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
    "componentstatuses": "v1 ComponentStatus is deprecated in v1.19+",
}
"""Core resources that upstream warns of."""
CALL = web.RequestKey("call", Call)
"""How a request of HTTP is counted."""
FLOW = web.RequestKey("flow", Flow)
"""What a request was classified as, once it is known whose it is."""
TICKET = web.RequestKey("ticket", Ticket)
"""What it gives back when it has been served."""
HURRIED = web.RequestKey("hurried", bool)
"""Whether its client has given it less time than it has by itself."""
WARNINGS = web.RequestKey("warnings", list[str])
"""Where a request keeps them: a refusal carries them too."""
_ONE = ("Table", "PartialObjectMetadata")
_MANY = ("Table", "PartialObjectMetadataList")


def _nobody(http: web.BaseRequest) -> web.Response:
    """For a client that has gone, or whose answer has broken off: what is left of the connection ends here."""
    if http.transport is not None:
        http.transport.abort()
    return web.Response(status=499)


class Door:
    """`handle` serves one HTTP request. It never raises, except when the task is cancelled."""

    def __init__(
        self,
        registry: Verbs,
        authenticate: Authenticate,
        authorizer: Authorizer,
        pages: Pages,
        streams: Streams,
        connections: Connections,
        clock: Clock,
        catalogue: Catalogue,
        settled: Callable[[], Awaitable[None]],
        auditor: Auditor | None = None,
        metrics: Metrics | None = None,
        gate: Gate | None = None,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self._gate = gate
        self._elsewhere = elsewhere
        self._auditor = auditor
        self._metrics = metrics or Metrics()
        self._catalogue = catalogue
        self._settled = settled
        self._registry = registry
        self._authenticate = authenticate
        self._authorizer = authorizer
        self._pages = pages
        self._streams = streams
        self._connections = connections
        self._clock = clock
        self._packer = Packer()
        self._sharing = Sharing()
        self._outlets = watching.Outlets()
        self._writes: set[asyncio.Task[Any]] = set()
        """Those of which the loop keeps no track when nobody waits for them any more."""

    async def handle(self, http: web.BaseRequest) -> web.StreamResponse:
        code, size = 499, -1  # of a client that goes before it is answered
        http[CALL] = call = self._metrics.call()
        try:
            response = await self._handle(http)
            code = response.status
            if (flow := http.get(FLOW)) is not None and not response.prepared:
                response.headers["X-Kubernetes-PF-FlowSchema-UID"] = flow.schema
                response.headers["X-Kubernetes-PF-PriorityLevel-UID"] = flow.level
            if self._connections.leaving and not response.prepared:
                response.force_close()
            body = response.body if isinstance(response, web.Response) else None
            if isinstance(body, bytes):
                size = len(body)
            return response
        finally:
            self._leave(http)
            call.ended(code, size)

    async def _handle(self, http: web.BaseRequest) -> web.StreamResponse:
        audit = responses.audit_id(http)
        if self._auditor is None:
            return await self._answer(http, audit)
        with auditing.begun(self._auditor, http, audit) as entry:
            response = await self._answer(http, audit)
            entry.done(response.status)
            return response

    async def _answer(self, http: web.BaseRequest, audit: str) -> web.StreamResponse:
        try:
            return await self._serve(http, audit)
        except ApiError as e:
            query = options.parse(http.raw_path.partition("?")[2])
            pretty = options.is_pretty(query, http.headers.get("User-Agent", ""))
            return responses.failure(e, audit, http.headers.get("Accept", ""), http.get(WARNINGS, ()), pretty=pretty)
        except PageNotFound:
            return responses.page_not_found(audit)
        except ConnectionError:
            return _nobody(http)
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("%s %s failed, request %s", http.method, http.rel_url.raw_path, audit)
            auditing.panicked(f"the log says why, at {audit}")
            return responses.failure(InternalError(f"Internal error occurred: the log says why, at {audit}"), audit)

    async def _serve(self, http: web.BaseRequest, audit: str) -> web.StreamResponse:
        raw, _, query_text = http.raw_path.partition("?")
        path = unquote(raw) if "%" in raw else raw
        user = await self._user(http)
        there = await self._elsewhere(http, path, user, self._connections) if self._elsewhere is not None else None
        if there is not None:
            return there
        if not path.startswith(("/api/", "/apis/")) or path.count("/") < 3:
            page_asked = Request(user, http.method.lower(), PAGE, path=path)
            await self._admit(http, page_asked)
            self._authorizer.authorize(page_asked)
            options.timeout(options.parse(query_text))  # a page takes no time, but what is said must make sense
            return await self._pages.serve(http, path, audit)
        try:
            target = await self._target(path)
        except (NotFound, PageNotFound):
            self._authorizer.authorize(Request(user, http.method.lower(), PAGE, path=path))
            if (page := await self._pages.find(http, path, audit)) is not None:
                return page
            raise
        query = options.parse(query_text)
        verb = paths.verb(http.method, target, options.truth(query, "watch"))
        request = Request(user, verb, target.kind, target.namespace, target.name, target.subresource)
        http[CALL].is_about(request)
        lasts = verb == "connect" or target.subresource in ("log", "proxy")
        seconds = None if lasts or verb == "watch" else options.timeout(query)
        if seconds is None:
            return await self._done(http, request, target, query, audit, lasts)
        http[HURRIED] = True
        try:
            async with asyncio.timeout(seconds) as scope:
                return await self._done(http, request, target, query, audit, lasts)
        except TimeoutError:
            if not scope.expired():
                raise
            if http.get(responses.BEGUN):
                return _nobody(http)
            raise Timeout(bodies.TOO_LATE) from None

    async def _done(
        self, http: web.BaseRequest, request: Request, target: Target, query: Query, audit: str, lasts: bool
    ) -> web.StreamResponse:
        verb = request.verb
        # What lasts is not counted: it would keep its seats from those who come and go.
        limit = options.page(query) if verb == "list" else 0
        await self._admit(http, request, limit=limit, seated=not lasts)
        http[WARNINGS] = request.warnings
        if not target.kind.group and (warning := DEPRECATED.get(target.kind.plural)):
            request.warnings.append(warning)
        if target.kind.custom and target.kind.shape.warning:
            request.warnings.append(target.kind.shape.warning)
        if verb == "deletecollection":  # of many it counts which
            request.field_selector = query.get("fieldSelector", "")
            request.label_selector = query.get("labelSelector", "")
        if verb in WRITES:  # the registry asks again; whoever may not write has no body read, let alone unpacked
            self._authorizer.authorize(request)
        if lasts:
            return await self._streams.serve(http, request, query, audit)
        return await getattr(self, f"_{verb}")(http, request, target, query, audit)  # type: ignore[no-any-return]

    async def _admit(self, http: web.BaseRequest, request: Request, *, limit: int = 0, seated: bool = True) -> None:
        """Returns when it is the request's turn.  Raises TooManyRequests."""
        if self._gate is None or (flow := self._gate.classify(request)) is None:
            return
        http[FLOW] = flow
        if seated:
            http[TICKET] = await self._gate.admit(flow, request, limit)

    def _only_sends(self, http: web.BaseRequest) -> None:
        """The work that a request had its seats for is done, and what is left is its client's: one seat will do."""
        if (ticket := http.get(TICKET)) is not None and self._gate is not None:
            self._gate.narrow(ticket)

    def _leave(self, http: web.BaseRequest) -> None:
        """Give the request's seats back, unless that was done."""
        ticket = http.pop(TICKET, None)
        if ticket is not None and self._gate is not None:
            self._gate.leave(ticket)

    async def _whole(self, http: web.BaseRequest, write: Coroutine[Any, Any, Answer]) -> Answer:
        """A write is never broken off: it goes on when its client has been told that it took too long."""
        if HURRIED not in http:
            return await write
        task = asyncio.create_task(write)
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        return await asyncio.shield(task)

    async def _target(self, path: str) -> Target:
        """What a path names, if need be when the definitions that were just written are served.

        Raises PageNotFound, NotFound.
        """
        try:
            return paths.find(path, self._catalogue)
        except (NotFound, PageNotFound):
            version = self._catalogue.version
            await self._settled()
            if version == self._catalogue.version:
                raise
            return paths.find(path, self._catalogue)

    async def _user(self, http: web.BaseRequest) -> User:
        """Whom the request counts as.  Raises Unauthorized, Forbidden."""
        user = await self._authenticate(certificate_of(http), http.headers.get("Authorization", ""), http.headers)
        auditing.known(user)
        return impersonation.effective(user, http.headers, self._authorizer)

    async def _get(
        self, http: web.BaseRequest, request: Request, target: Target, query: Query, audit: str
    ) -> web.Response:
        how = self._how(http, request, query, _ONE)
        document = await self._registry.get(request, query.get("resourceVersion", ""))
        return await self._object(http, request, document, how, query, audit)

    async def _list(
        self, http: web.BaseRequest, request: Request, target: Target, query: Query, audit: str
    ) -> web.StreamResponse:
        how = self._how(http, request, query, _MANY)
        wanted = options.for_list(query)
        listing = await self._registry.list(request, wanted)
        if not listings.is_large(listing.items) or auditing.is_on():
            body = await self._listed(request, listing, how, query)
            return await responses.send(http, body, audit, how=how, warnings=request.warnings)
        gzip, head = responses.takes_gzip(http), b""
        if how == PLAIN:
            head = documents.list_head(f"{request.kind.name}List", request.kind.api_version, listing)
            if not gzip:  # the documents are the world's own
                items = [item.document for item in listing.items]
                self._only_sends(http)
                return await listings.send(http, head, items, audit, request.warnings)

        async def make() -> bytes:
            if how == PLAIN:
                return await listings.packed(head, [item.document for item in listing.items], self._packer)
            body = await responses.encoded(await self._listed(request, listing, how, query), how)
            return await responses.compressed(body) if gzip else body

        asked: object = (request.kind, request.namespace, wanted, listing.resource_version, listing.continue_)
        if not listing.resource_version:  # no state of the storage, so nobody else is told the same
            asked = object()
        # Tables tell ages: those of one second are the same.
        key = asked, how, gzip, query.get("includeObject"), int(self._clock.now()) if how.as_ == "Table" else 0
        shared = await self._sharing.body(key, make)
        self._only_sends(http)
        packed = shared.content.startswith(packing.MAGIC)
        response = web.StreamResponse(headers=responses.headers_of(audit, how.media, gzip=packed))
        return await sharing.send(http, shared, responses.warned(response, request.warnings))

    async def _listed(self, request: Request, listing: Listing, how: Representation, query: Query) -> bytes:
        """The document of a list."""
        if how.as_ == "Table":
            printer, include = tables.for_kind(request.kind), tables.include_object(query)
            return await tables.of_listing(listing, printer, self._clock.now(), include, how.version)
        if how.as_:
            return documents.partial_list(listing, how.version)
        return documents.whole_list(request.kind, listing)

    async def _watch(
        self, http: web.BaseRequest, request: Request, target: Target, query: Query, audit: str
    ) -> web.StreamResponse:
        wanted = options.for_watch(query)
        # A list that comes as a watch is for informers, who want objects.
        how = self._how(http, request, query, _ONE[1:] if wanted.send_initial_events and wanted.bookmarks else _ONE)
        socket = http.headers.get("Upgrade", "").lower() == "websocket"
        if socket:
            how = how._replace(media=JSON)
        render = self._render(request.kind, how, query)
        if not socket and (sink := self._outlets.outlet(http, render)) is not None:
            wanted = replace(wanted, sink=sink)
        events = await self._registry.watch(request, wanted)
        self._leave(http)
        if socket:
            return await watching.over_websocket(http, events, render, self._connections)
        media = f"{PROTOBUF};stream=watch" if how.media == PROTOBUF else JSON
        return await watching.over_http(http, events, render, self._connections, audit, media)

    async def _create(
        self, http: web.BaseRequest, request: Request, target: Target, query: Query, audit: str
    ) -> web.Response:
        how = self._how(http, request, query, () if request.kind.verbs == CREATE_ONLY else _ONE)
        options.for_write(query, request, http.headers.get("User-Agent", ""))
        body = await bodies.document(http, request.kind.name, self._repeated(request))
        document = await self._whole(http, self._registry.create(request, body))
        return await self._object(http, request, document, how, query, audit, 201)

    async def _update(
        self, http: web.BaseRequest, request: Request, target: Target, query: Query, audit: str
    ) -> web.Response:
        how = self._how(http, request, query, _ONE)
        options.for_write(query, request, http.headers.get("User-Agent", ""))
        body = await bodies.document(http, request.kind.name, self._repeated(request))
        document, created = await self._whole(http, self._registry.update(request, body))
        return await self._object(http, request, document, how, query, audit, 201 if created else 200)

    def _repeated(self, request: Request) -> list[str] | None:
        """Where to note what a body says twice; None if nobody wants to know."""
        return None if request.field_validation == "Ignore" else request.repeated

    async def _patch(
        self, http: web.BaseRequest, request: Request, target: Target, query: Query, audit: str
    ) -> web.Response:
        how = self._how(http, request, query, _ONE)
        body, sort = await bodies.patch(http, request.kind.name, request.repeated)
        options.for_write(query, request, http.headers.get("User-Agent", ""), sort)
        document, created = await self._whole(http, self._registry.patch(request, body, sort))
        return await self._object(http, request, document, how, query, audit, 201 if created else 200)

    async def _delete(
        self, http: web.BaseRequest, request: Request, target: Target, query: Query, audit: str
    ) -> web.Response:
        how = self._how(http, request, query, _ONE)
        wanted = options.for_delete(query, await bodies.document(http, "DeleteOptions"))
        request.dry_run = wanted.dry_run
        document, done = await self._whole(http, self._registry.delete(request, wanted))
        # Upstream says 202 only to those who asked in this way, so that other clients are not surprised.
        status = 202 if not done and wanted.cascading else 200
        return await self._object(http, request, document, how, query, audit, status)

    async def _deletecollection(
        self, http: web.BaseRequest, request: Request, target: Target, query: Query, audit: str
    ) -> web.Response:
        how = self._how(http, request, query, ())
        wanted = options.for_delete(query, await bodies.document(http, "DeleteOptions"))
        request.dry_run = wanted.dry_run
        which = options.for_list(query)
        listing = await self._whole(http, self._registry.delete_collection(request, which, wanted))
        return await responses.send(http, documents.whole_list(request.kind, listing), audit, how=how)

    def _how(self, http: web.BaseRequest, request: Request, query: Query, turns: tuple[str, ...]) -> Representation:
        binary = not request.kind.custom or request.subresource == "scale"
        how = representation(http.headers.get("Accept", ""), turns, binary=binary)
        return how._replace(pretty=True) if options.is_pretty(query, http.headers.get("User-Agent", "")) else how

    async def _object(
        self,
        http: web.BaseRequest,
        request: Request,
        document: bytes,
        how: Representation,
        query: Query,
        audit: str,
        status: int = 200,
    ) -> web.Response:
        if how.as_ and documents.kind_of(document).kind != "Status":
            if how.as_ == "Table":
                printer, include = tables.printer_of(document, request.kind), tables.include_object(query)
                document = tables.of_object(document, printer, self._clock.now(), include, how.version)
            else:
                document = documents.partial(document, how.version)
        return await responses.send(http, document, audit, status=status, how=how, warnings=request.warnings)

    def _render(self, kind: Kind, how: Representation, query: Query) -> watching.Render:
        if how.as_ == "Table":
            return tables.watch_renderer(tables.for_kind(kind), self._clock, tables.include_object(query), how.version)
        say = watching.framed if how.media == PROTOBUF else watching.whole
        if how.as_:
            return lambda e: say(e if e.type == "ERROR" else Event(e.type, documents.partial(e.document, how.version)))
        return say
