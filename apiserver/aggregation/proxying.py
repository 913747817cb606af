"""Requests carried on to the API servers behind this one, which believe it when it says who asks.

https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import aiohttp
from aiohttp import web

from api.errors import Unavailable
from api.kinds import Kind
from api.types import APIService
from apiserver import trust
from apiserver.aggregation.checking import Checker, Servers, host, origin, port
from apiserver.aggregation.routes import Routes
from apiserver.authorization import Authorizer
from apiserver.requests import Request, User
from apiserver.rest import carrying
from apiserver.rest.connections import Connections
from apiserver.rest.options import parse, truth
from apiserver.webhooks.connecting import Unreachable, backend_of, dial

OPENAPI = "/openapi/v3"
NOTHING = Kind("", "", "Page", "", namespaced=False)
_KEY = "!#$%&'*+.^_`|~"
"""What may stand in a header's name as it is, beside letters and digits; - too, which quote leaves alone."""
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}


class Aggregator:
    """What the REST door asks before it looks at what is served here."""

    def __init__(self, routes: Routes, servers: Servers, checker: Checker, authorizer: Authorizer) -> None:
        self._routes = routes
        self._servers = servers
        self._checker = checker
        self._authorizer = authorizer

    async def answer(
        self, http: web.BaseRequest, path: str, user: User, connections: Connections
    ) -> web.StreamResponse | None:
        """What the server that serves the path says; None if that is this one.  Raises Forbidden, Unavailable."""
        service = self._routes.find(path.removeprefix(OPENAPI))
        if service is None:
            return None
        if path.startswith(OPENAPI):
            asked = Request(user, http.method.lower(), NOTHING, path=path)
        else:
            asked = question(user, service, http.method, path, parse(http.query_string))
        self._authorizer.authorize(asked)
        return await self._serve(http, user, service, connections)

    async def _serve(
        self, http: web.BaseRequest, user: User, service: APIService, connections: Connections
    ) -> web.StreamResponse:
        if not self._checker.answers((service.spec.group, service.spec.version)):
            raise Unavailable("service unavailable")
        headers = carrying.headers_for(http, identity(user, http))
        try:
            tls = self._servers.tls(service)
            async with connections.lifetime(http):
                if carrying.is_upgrade(http):
                    connect = self._connector(service, tls)
                    return await carrying.splice(http, connect, http.raw_path, host(service), headers)
                url = f"{origin(service)}{http.raw_path}"
                return await carrying.exchange(http, self._servers.session(), url, headers, tls)
        except (Unreachable, trust.Unreadable, aiohttp.ClientError, OSError) as e:
            if isinstance(e, ConnectionResetError):
                raise
            raise Unavailable(f"error trying to reach service: {e}") from e
        raise ConnectionResetError("the client has gone, or this server stops")

    def _connector(self, service: APIService, tls: ssl.SSLContext) -> carrying.Connect:
        out, name = self._servers.outgoing, host(service)

        async def connect(factory: Callable[[], asyncio.Protocol]) -> tuple[asyncio.Transport, Any]:
            return await dial(out.tunnels, backend_of(out.backends, name, port(service)), factory, tls, name)

        return connect


def identity(user: User, http: web.BaseRequest) -> list[tuple[str, str]]:
    """The headers that say on whose behalf the request is carried on."""
    found = [("X-Remote-User", user.name)]
    found += [("X-Remote-Uid", user.uid)] if user.uid else []
    found += [("X-Remote-Group", group) for group in user.groups]
    for key, values in user.extra.items():
        found += [(f"X-Remote-Extra-{quote(key.lower(), safe=_KEY.replace('%', ''))}", value) for value in values]
    return [*found, ("X-Forwarded-For", http.remote)] if http.remote else found


def question(user: User, service: APIService, method: str, path: str, query: dict[str, str]) -> Request:
    """What the authorizer is asked about a request to another server's resources, as paths say it everywhere."""
    parts = path.strip("/").split("/")[3:]
    group, version = service.spec.group, service.spec.version
    watched = bool(parts) and parts[0] == "watch"
    parts = parts[1:] if watched else parts
    if not parts:
        return Request(user, method.lower(), Kind(group, version, "", "", namespaced=False), path=path)
    namespace = ""
    if len(parts) > 2 and parts[0] == "namespaces":
        namespace, parts = parts[1], parts[2:]
    name, subresource = parts[1] if len(parts) > 1 else "", parts[2] if len(parts) > 2 else ""
    kind = Kind(group, version, parts[0], parts[0], namespaced=bool(namespace))
    return Request(
        user,
        _verb(method, name, watched or (not name and truth(query, "watch"))),
        kind,
        namespace,
        name,
        subresource,
    )


def _verb(method: str, name: str, watch: bool) -> str:
    if method == "DELETE":
        return "delete" if name else "deletecollection"
    if method in ("GET", "HEAD"):
        return "watch" if watch else "get" if name else "list"
    return _VERBS.get(method, method.lower())
