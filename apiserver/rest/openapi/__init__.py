"""The OpenAPI documents, made from the published schema on first use and kept as bytes.

kubectl reads version 3 to explain and to patch, version 2 to validate where 3 is missing.
https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-interface-definition
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterable
from functools import cache, partial

from aiohttp import web

from api import schema
from api.kinds import BUILT_IN, Kind
from api.meta import encode
from apiserver.rest import discovery, responses
from apiserver.rest.negotiation import JSON, clauses, not_acceptable
from apiserver.rest.openapi.definitions import V2, V3, Tree, definition, full_name, of_subresource, reached
from apiserver.rest.openapi.operations import paths, place_of
from apiserver.rest.options import parse


class Documents:
    """Serves /openapi/…; building takes some hundred milliseconds, off the event loop, once."""

    def __init__(self) -> None:
        self._built: dict[str, tuple[bytes, str]] = {}
        self._lock = asyncio.Lock()

    async def serve(self, http: web.BaseRequest, rest: list[str], audit: str) -> web.StreamResponse | None:
        """The answer to a path below /openapi; None if there is none.  Raises NotAcceptable."""
        path = "/".join(rest)
        builders = _builders()
        if path not in builders:
            return None
        if not any(c.media in (JSON, "application/*", "*/*") for c in clauses(http.headers.get("Accept") or "*/*")):
            raise not_acceptable((JSON,))
        body, tag = await self._document(path, builders[path])
        quoted = f'"{tag}"'
        if http.headers.get("If-None-Match") == quoted:
            return web.Response(status=304, headers={"Audit-Id": audit, "ETag": quoted})
        response = await responses.send(http, body, audit)
        response.headers["ETag"] = quoted
        if parse(http.query_string).get("hash") == tag:
            # The address holds the hash: what it names never changes.
            response.headers["Cache-Control"] = "public, immutable"
        return response

    async def _document(self, path: str, build: Callable[[], bytes]) -> tuple[bytes, str]:
        async with self._lock:
            if path not in self._built:
                body = await asyncio.to_thread(build)
                self._built[path] = body, _hash(body)
            return self._built[path]


@cache
def _builders() -> dict[str, Callable[[], bytes]]:
    found: dict[str, Callable[[], bytes]] = {"v2": version_2, "v3": index}
    for group, version in _group_versions():
        found[f"v3/{place_of(group, version)}"] = partial(version_3, group, version)
    return found


def _group_versions() -> list[tuple[str, str]]:
    return [(g, v) for g in ("", *discovery.groups()) for v in discovery.versions(g)]


def _hash(body: bytes) -> str:
    return hashlib.sha512(body).hexdigest().upper()


@cache
def version_3(group: str, version: str) -> bytes:
    """The document of one group's version, with the definitions that its paths reach."""
    kinds = discovery.of(group, version)
    shapes = [full_name(k) for k in kinds] + [full_name(k) + "List" for k in kinds]
    shapes += [shape for k in kinds for s in discovery.subresources(k) if (shape := of_subresource(s))]
    shapes += [schema.META + name for name in ("APIResourceList", "DeleteOptions", "Patch", "Status", "WatchEvent")]
    schemas = {name: definition(name, V3) for name in sorted(reached(shapes))}
    info = {"title": "Kubernetes", "version": schema.VERSION}
    return encode({"openapi": "3.0.0", "info": info, "paths": _paths(kinds, V3), "components": {"schemas": schemas}})


def index() -> bytes:
    """Where the documents of version 3 are; the hash lets clients keep them."""
    places = {
        place: {"serverRelativeURL": f"/openapi/v3/{place}?hash={_hash(version_3(group, version))}"}
        for group, version in _group_versions()
        for place in (place_of(group, version),)
    }
    return encode({"paths": places})


def version_2() -> bytes:
    """Everything in one document."""
    definitions = {name: definition(name, V2) for name in schema.definitions()}
    info = {"title": "Kubernetes", "version": schema.VERSION}
    return encode({"swagger": "2.0", "info": info, "paths": _paths(BUILT_IN, V2), "definitions": definitions})


def _paths(kinds: Iterable[Kind], prefix: str) -> Tree:
    return {path: item for kind in kinds for path, item in paths(kind, prefix)}
