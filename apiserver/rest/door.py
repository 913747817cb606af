"""One handler for every path: who asks, for what, which verb of the registry answers, and in which form."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from urllib.parse import unquote

from aiohttp import web

from api.errors import ApiError, InternalError, NotFound
from api.kinds import Kind
from apiserver import impersonation
from apiserver.authorization import Authorizer
from apiserver.requests import Event, Request, User
from apiserver.rest import bodies, documents, options, paths, responses, tables, watching
from apiserver.rest.connections import Connections
from apiserver.rest.negotiation import JSON, PROTOBUF, Representation, representation
from apiserver.rest.options import Query
from apiserver.rest.packing import Packer
from apiserver.rest.pages import Pages
from apiserver.rest.paths import PageNotFound, Target
from apiserver.rest.streaming import Streams
from apiserver.rest.verbs import Verbs
from machinery.clocks import Clock

log = logging.getLogger(__name__)

Authenticate = Callable[[bytes | None, str], Awaitable[User]]
"""(the peer's certificate in DER, None without one; the Authorization header or "") → who that is.
Raises Unauthorized."""

PAGE = Kind("", "", "Page", "", namespaced=False)
"""Stands in requests that are about a path: no resource."""
DEPRECATED = {
    "endpoints": "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
    "componentstatuses": "v1 ComponentStatus is deprecated in v1.19+",
}
"""Core resources that upstream warns of."""
_ONE = ("Table", "PartialObjectMetadata")
_MANY = ("Table", "PartialObjectMetadataList")


class Door:
    """`handle` serves one HTTP request. It never raises, except when the client has gone or the task is cancelled."""

    def __init__(
        self,
        registry: Verbs,
        authenticate: Authenticate,
        authorizer: Authorizer,
        pages: Pages,
        streams: Streams,
        connections: Connections,
        clock: Clock,
    ) -> None:
        self._registry = registry
        self._authenticate = authenticate
        self._authorizer = authorizer
        self._pages = pages
        self._streams = streams
        self._connections = connections
        self._clock = clock
        self._packer = Packer()

    async def handle(self, http: web.BaseRequest) -> web.StreamResponse:
        audit = responses.audit_id(http)
        try:
            return await self._serve(http, audit)
        except ApiError as e:
            return responses.failure(e, audit, http.headers.get("Accept", ""))
        except PageNotFound:
            return responses.page_not_found(audit)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:
            log.exception("%s %s failed, request %s", http.method, http.rel_url.raw_path, audit)
            return responses.failure(InternalError(f"Internal error occurred: the log says why, at {audit}"), audit)

    async def _serve(self, http: web.BaseRequest, audit: str) -> web.StreamResponse:
        raw, _, query_text = http.raw_path.partition("?")
        path = unquote(raw) if "%" in raw else raw
        user = await self._user(http)
        if not path.startswith(("/api/", "/apis/")) or path.count("/") < 3:
            self._authorizer.authorize(Request(user, http.method.lower(), PAGE, path=path))
            return await self._pages.serve(http, path, audit)
        try:
            target = paths.find(path)
        except (NotFound, PageNotFound):
            self._authorizer.authorize(Request(user, http.method.lower(), PAGE, path=path))
            if (page := await self._pages.find(http, path, audit)) is not None:
                return page
            raise
        query = options.parse(query_text)
        verb = paths.verb(http.method, target, options.truth(query, "watch"))
        request = Request(user, verb, target.kind, target.namespace, target.name, target.subresource)
        if not target.kind.group and (warning := DEPRECATED.get(target.kind.plural)):
            request.warnings.append(warning)
        if verb == "connect" or target.subresource in ("log", "proxy"):
            return await self._streams.serve(http, request, query, audit)
        return await getattr(self, f"_{verb}")(http, request, target, query, audit)  # type: ignore[no-any-return]

    async def _user(self, http: web.BaseRequest) -> User:
        """Whom the request counts as.  Raises Unauthorized, Forbidden."""
        tls = http.transport.get_extra_info("ssl_object") if http.transport is not None else None
        certificate = tls.getpeercert(True) if tls is not None else None
        user = await self._authenticate(certificate, http.headers.get("Authorization", ""))
        return impersonation.effective(user, http.headers, self._authorizer)

    async def _get(
        self, http: web.BaseRequest, request: Request, target: Target, query: Query, audit: str
    ) -> web.Response:
        how = self._how(http, query, _ONE)
        document = await self._registry.get(request, query.get("resourceVersion", ""))
        return await self._object(http, request, document, how, query, audit)

    async def _list(
        self, http: web.BaseRequest, request: Request, target: Target, query: Query, audit: str
    ) -> web.Response:
        how = self._how(http, query, _MANY)
        listing = await self._registry.list(request, options.for_list(query))
        if how.as_ == "Table":
            printer, include = tables.for_kind(request.kind), tables.include_object(query)
            body = await tables.of_listing(listing, printer, self._clock.now(), include, how.version)
        elif how.as_:
            body = documents.partial_list(listing, how.version)
        else:
            body = documents.whole_list(request.kind, listing)
        return await responses.send(http, body, audit, how=how, warnings=request.warnings, pack=self._packer.gzip)

    async def _watch(
        self, http: web.BaseRequest, request: Request, target: Target, query: Query, audit: str
    ) -> web.StreamResponse:
        how = self._how(http, query, _ONE)
        socket = http.headers.get("Upgrade", "").lower() == "websocket"
        if socket:
            how = how._replace(media=JSON)
        render = self._render(request.kind, how, query)
        events = await self._registry.watch(request, options.for_watch(query))
        if socket:
            return await watching.over_websocket(http, events, render, self._connections)
        media = f"{PROTOBUF};stream=watch" if how.media == PROTOBUF else JSON
        return await watching.over_http(http, events, render, self._connections, audit, media)

    async def _create(
        self, http: web.BaseRequest, request: Request, target: Target, query: Query, audit: str
    ) -> web.Response:
        how = self._how(http, query, _ONE)
        options.for_write(query, request, http.headers.get("User-Agent", ""))
        body = await bodies.document(http, request.kind.name)
        document = await self._registry.create(request, body)
        return await self._object(http, request, document, how, query, audit, 201)

    async def _update(
        self, http: web.BaseRequest, request: Request, target: Target, query: Query, audit: str
    ) -> web.Response:
        how = self._how(http, query, _ONE)
        options.for_write(query, request, http.headers.get("User-Agent", ""))
        body = await bodies.document(http, request.kind.name)
        document, created = await self._registry.update(request, body)
        return await self._object(http, request, document, how, query, audit, 201 if created else 200)

    async def _patch(
        self, http: web.BaseRequest, request: Request, target: Target, query: Query, audit: str
    ) -> web.Response:
        how = self._how(http, query, _ONE)
        body, sort = await bodies.patch(http, request.kind.name)
        options.for_write(query, request, http.headers.get("User-Agent", ""), sort)
        document, created = await self._registry.patch(request, body, sort)
        return await self._object(http, request, document, how, query, audit, 201 if created else 200)

    async def _delete(
        self, http: web.BaseRequest, request: Request, target: Target, query: Query, audit: str
    ) -> web.Response:
        how = self._how(http, query, _ONE)
        wanted = options.for_delete(query, await bodies.document(http, "DeleteOptions"))
        request.dry_run = wanted.dry_run
        document, done = await self._registry.delete(request, wanted)
        # Upstream says 202 only to those who asked to wait for dependents, so that older clients are not surprised.
        status = 202 if not done and wanted.propagation == "Foreground" else 200
        return await self._object(http, request, document, how, query, audit, status)

    async def _deletecollection(
        self, http: web.BaseRequest, request: Request, target: Target, query: Query, audit: str
    ) -> web.Response:
        how = self._how(http, query, ())
        wanted = options.for_delete(query, await bodies.document(http, "DeleteOptions"))
        request.dry_run = wanted.dry_run
        listing = await self._registry.delete_collection(request, options.for_list(query), wanted)
        return await responses.send(http, documents.whole_list(request.kind, listing), audit, how=how)

    def _how(self, http: web.BaseRequest, query: Query, turns: tuple[str, ...]) -> Representation:
        how = representation(http.headers.get("Accept", ""), turns)
        if "pretty" in query and options.truth(query, "pretty"):
            how = how._replace(pretty=True)
        return how

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
                printer, include = tables.printer_of(document), tables.include_object(query)
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
