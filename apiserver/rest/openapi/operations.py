"""The paths of an OpenAPI document: what may be done to each kind, and which parameters it takes.

kubectl looks here whether a kind can be patched, dry-run and validated by the server.
"""

from collections.abc import Iterator
from typing import NamedTuple

from api import schema
from api.kinds import Kind
from apiserver.rest import discovery
from apiserver.rest.negotiation import JSON
from apiserver.rest.openapi.definitions import V3, Tree, full_name, of_subresource
from apiserver.rest.paths import subresource_methods

_ACTIONS = {"create": "post", "update": "put", "deletecollection": "deletecollection"}
_PATCHES = (
    "application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)  # fmt: skip


def place_of(group: str, version: str) -> str:
    """Where a group's version is served, without the slash."""
    return f"apis/{group}/{version}" if group else f"api/{version}"


def paths(kind: Kind, prefix: str) -> Iterator[tuple[str, Tree]]:
    """Each path of a kind and what may be done there; references to definitions begin with `prefix`."""
    root = "/" + place_of(kind.group, kind.version)
    whole = f"{root}/namespaces/{{namespace}}/{kind.plural}" if kind.namespaced else f"{root}/{kind.plural}"
    where = [_parameter(prefix, "namespace", "path")] if kind.namespaced else []
    named = [_parameter(prefix, "name", "path"), *where]
    shape = full_name(kind)
    about = _About(kind, {"group": kind.group, "version": kind.version, "kind": kind.name}, prefix)
    yield whole, _item(about, _COLLECTION, shape) | ({"parameters": where} if where else {})
    if kind.namespaced and "list" in kind.verbs:
        yield f"{root}/{kind.plural}", {"get": _operation(about, "list", shape + "List", "ForAllNamespaces")}
    if one := _item(about, _OBJECT, shape):
        yield f"{whole}/{{name}}", one | {"parameters": named}
    for sub in discovery.subresources(kind):
        beside = _About(kind, {"group": sub.group, "version": sub.version, "kind": sub.kind}, prefix)
        item = {
            method.lower(): _operation(beside, verb, of_subresource(kind, sub), sub.name.title() + method.title())
            for method, verb in subresource_methods(sub.name).items()
        }
        yield f"{whole}/{{name}}/{sub.name}", item | {"parameters": named}


_COLLECTION = {"list": "get", "create": "post", "deletecollection": "delete"}
_OBJECT = {"get": "get", "update": "put", "patch": "patch", "delete": "delete"}


class _About(NamedTuple):
    kind: Kind
    group_version_kind: Tree
    prefix: str


def _item(about: _About, verbs: dict[str, str], shape: str) -> Tree:
    return {
        method: _operation(about, verb, shape + "List" if verb == "list" else shape)
        for verb, method in verbs.items()
        if verb in about.kind.verbs
    }


def _operation(about: _About, verb: str, shape: str | None, suffix: str = "") -> Tree:
    kind, prefix = about.kind, about.prefix
    group = (kind.group.removesuffix(".k8s.io") or "core").replace(".", " ").title().replace(" ", "")
    scope = "Namespaced" if kind.namespaced else ""
    operation: Tree = {
        "operationId": f"{verb}{group}{kind.version.title()}{scope}{kind.name}{suffix}",
        "x-kubernetes-action": _ACTIONS.get(verb, verb),
        "x-kubernetes-group-version-kind": about.group_version_kind,
    }
    parameters = [_parameter(prefix, n, "query", t) for n, t in _QUERY.get(verb, ())]
    answer = {"$ref": prefix + shape} if shape else {"type": "string"}
    written = {"create": shape, "update": shape, "patch": schema.META + "Patch"}.get(verb)
    body = {"$ref": prefix + written} if written else None
    media: tuple[str, ...] = _PATCHES if verb == "patch" else ("*/*",)
    if kind.custom:  # nobody knows how to merge them strategically
        media = tuple(m for m in media if "strategic" not in m)
    if prefix == V3:
        operation["responses"] = {"200": {"description": "OK", "content": {JSON: {"schema": answer}}}}
        if body:
            operation["requestBody"] = {"content": {m: {"schema": body} for m in media}, "required": True}
    else:
        operation |= {"responses": {"200": {"description": "OK", "schema": answer}}, "produces": [JSON]}
        operation["consumes"] = list(media)
        if body:
            parameters.append({"name": "body", "in": "body", "required": True, "schema": body})
    return operation | ({"parameters": parameters} if parameters else {})


_WRITE = (("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string"))
_LIST = (
    ("allowWatchBookmarks", "boolean"), ("continue", "string"), ("fieldSelector", "string"),
    ("labelSelector", "string"), ("limit", "integer"), ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"), ("sendInitialEvents", "boolean"), ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
)  # fmt: skip
_DELETE = (("dryRun", "string"), ("gracePeriodSeconds", "integer"), ("propagationPolicy", "string"))
_QUERY: dict[str, tuple[tuple[str, str], ...]] = {
    "create": _WRITE, "update": _WRITE, "patch": (*_WRITE, ("force", "boolean")), "list": _LIST,
    "delete": _DELETE, "deletecollection": _DELETE,
}  # fmt: skip


def _parameter(prefix: str, name: str, where: str, type_: str = "string") -> Tree:
    kind: Tree = {"type": type_, "uniqueItems": True}
    required = {"required": True} if where == "path" else {}
    return {"name": name, "in": where} | required | ({"schema": kind} if prefix == V3 else kind)
