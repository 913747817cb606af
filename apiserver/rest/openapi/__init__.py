"""The OpenAPI documents, made from the published schema and those of custom kinds, on first use, and kept as bytes.

kubectl reads version 3 to explain and to patch, version 2 to validate where 3 is missing.
https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-interface-definition
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial

import msgspec
from aiohttp import web

from api import schema
from api.kinds import Kind
from api.meta import encode
from apiserver.catalogue import Catalogue
from apiserver.rest import responses
from apiserver.rest.discovery import Discovery, Others, subresources
from apiserver.rest.negotiation import JSON, clauses, not_acceptable
from apiserver.rest.openapi import packed
from apiserver.rest.openapi.definitions import (
    V2,
    V3,
    Tree,
    custom_definitions,
    definition,
    full_name,
    of_subresource,
    reached,
)
from apiserver.rest.openapi.operations import paths, place_of
from apiserver.rest.options import parse


class Documents:
    """Serves /openapi/…; building takes some hundred milliseconds, off the event loop, once for each catalogue."""

    def __init__(self, catalogue: Catalogue, others: Others | None = None) -> None:
        self._catalogue = catalogue
        self._others = others
        self._version = (0, 0)
        self._builders: dict[str, Callable[[], bytes]] = {}
        self._built: dict[str, tuple[bytes, str]] = {}
        self._lock = asyncio.Lock()

    async def serve(self, http: web.BaseRequest, rest: list[str], audit: str) -> web.StreamResponse | None:
        """The answer to a path below /openapi; None if there is none.  Raises NotAcceptable."""
        path = "/".join(rest)
        version = self._catalogue.version, self._others.version if self._others is not None else 0
        if self._version != version:
            self._version = version
            self._built, self._builders = {}, _builders(self._catalogue, self._others)
        builders = self._builders
        if path not in builders:
            return None
        media = _chosen(http.headers.get("Accept") or "*/*", (JSON, *packed.MEDIA) if path == "v2" else (JSON,))
        build = builders[path]
        if media != JSON:
            path, build = "v2 packed", partial(_packed, self._catalogue)
        body, tag = await self._document(path, build)
        quoted = f'"{tag}"'
        asked = parse(http.query_string).get("hash", "")
        if path.startswith("v3/") and asked and asked != tag:
            where = f"/openapi/{path}?hash={tag}"  # whoever has an older index is led to what there is now
            return web.Response(status=301, headers={"Audit-Id": audit, "Location": where})
        if http.headers.get("If-None-Match") == quoted:
            return web.Response(status=304, headers={"Audit-Id": audit, "ETag": quoted})
        response = await responses.send(http, body, audit)
        response.headers["ETag"] = quoted
        response.headers["Content-Type"] = media
        if asked == tag:
            # The address holds the hash: what it names never changes.
            response.headers["Cache-Control"] = "public, immutable"
        return response

    async def _document(self, path: str, build: Callable[[], bytes]) -> tuple[bytes, str]:
        async with self._lock:
            built = self._built  # of the catalogue as it was when this was asked
            if path not in built:
                body = await asyncio.to_thread(build)
                built[path] = body, _hash(body)
            return built[path]


def _chosen(accept: str, served: tuple[str, ...]) -> str:
    """The media type to answer in.  Raises NotAcceptable."""
    for media, _ in clauses(accept):
        if media in ("*/*", "application/*"):
            return served[0]
        if media in served:
            return JSON if media == JSON else packed.MEDIA[0]  # the older name is no valid Content-Type
    raise not_acceptable(served)


def _builders(catalogue: Catalogue, others: Others | None = None) -> dict[str, Callable[[], bytes]]:
    more = others.openapi() if others is not None else {}
    found: dict[str, Callable[[], bytes]] = {"v2": partial(version_2, catalogue), "v3": partial(index, catalogue, more)}
    for place, kinds in _places(catalogue).items():
        found[f"v3/{place}"] = partial(version_3, kinds)
    return found


def _places(catalogue: Catalogue) -> dict[str, tuple[Kind, ...]]:
    """Where the documents of version 3 are, and the kinds that each is about."""
    discovery = Discovery(catalogue)
    return {place_of(g, v): tuple(discovery.of(g, v)) for g in ("", *discovery.groups()) for v in discovery.versions(g)}


def _hash(body: bytes) -> str:
    return hashlib.sha512(body).hexdigest().upper()


def version_3(kinds: tuple[Kind, ...]) -> bytes:
    """The document of one group's version, with the definitions that its paths reach."""
    return _custom_3(kinds) if any(kind.custom for kind in kinds) else _built_in_3(kinds)


@cache
def _built_in_3(kinds: tuple[Kind, ...]) -> bytes:
    return _version_3(kinds, {})


def _custom_3(kinds: tuple[Kind, ...]) -> bytes:
    return _version_3(kinds, {name: tree for kind in kinds for name, tree in custom_definitions(kind, V3).items()})


def _version_3(kinds: tuple[Kind, ...], custom: dict[str, Tree]) -> bytes:
    shapes = [full_name(k) for k in kinds] + [full_name(k) + "List" for k in kinds]
    shapes += [shape for k in kinds for s in subresources(k) if (shape := of_subresource(k, s))]
    shapes += [schema.META + name for name in ("APIResourceList", "DeleteOptions", "Patch", "Status", "WatchEvent")]
    if custom:
        shapes += [schema.META + name for name in ("ObjectMeta", "ListMeta")]
    schemas = {name: definition(name, V3) for name in sorted(reached(shapes))} | custom
    info = {"title": "Kubernetes", "version": schema.VERSION}
    return encode({"openapi": "3.0.0", "info": info, "paths": _paths(kinds, V3), "components": {"schemas": schemas}})


def index(catalogue: Catalogue, more: Mapping[str, dict[str, str]] | None = None) -> bytes:
    """Where the documents of version 3 are, `more` among them; the hash lets clients keep them."""
    places = {
        place: {"serverRelativeURL": f"/openapi/v3/{place}?hash={_hash(version_3(kinds))}"}
        for place, kinds in _places(catalogue).items()
    }
    return encode({"paths": {**places, **(more or {})}})


@cache
def _built_in_2(kinds: tuple[Kind, ...]) -> tuple[Tree, Tree]:
    """(paths, definitions)"""
    return _paths(kinds, V2), {name: definition(name, V2) for name in schema.definitions()}


def version_2(catalogue: Catalogue) -> bytes:
    """Everything in one document."""
    paths_, definitions = _built_in_2(catalogue.built_in())
    if customs := catalogue.customs():
        paths_ = paths_ | _paths(customs, V2)
        found = {name: tree for kind in customs for name, tree in custom_definitions(kind, V2).items()}
        definitions = definitions | found
    info = {"title": "Kubernetes", "version": schema.VERSION}
    return encode({"swagger": "2.0", "info": info, "paths": paths_, "definitions": definitions})


def _packed(catalogue: Catalogue) -> bytes:
    return packed.pack(msgspec.json.decode(version_2(catalogue)))


def _paths(kinds: Iterable[Kind], prefix: str) -> Tree:
    return {path: item for kind in kinds for path, item in paths(kind, prefix)}
