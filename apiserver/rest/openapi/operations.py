"""The paths of an OpenAPI document: what may be done to each kind, and which parameters it takes.

kubectl looks here whether a kind can be patched, dry-run and validated by the server.
"""

from collections.abc import Iterator
from functools import partial

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
    where = [_parameter("namespace", "path")] if kind.namespaced else []
    name, gvk = full_name(kind), {"group": kind.group, "version": kind.version, "kind": kind.name}
    make = partial(_operation, kind=kind, gvk=gvk, prefix=prefix)
    listed = name + "List"
    verbs = kind.verbs
    collection = {_method(v): make(v, listed if v == "list" else name) for v in _COLLECTION if v in verbs}
    yield whole, collection | ({"parameters": where} if where else {})
    if kind.namespaced and "list" in verbs:
        yield f"{root}/{kind.plural}", {"get": make("list", listed)}
    one = {_method(v): make(v, name) for v in _OBJECT if v in verbs}
    named = [_parameter("name", "path"), *where]
    if one:
        yield f"{whole}/{{name}}", one | {"parameters": named}
    for sub in discovery.subresources(kind):
        of = {"group": sub.group, "version": sub.version, "kind": sub.kind}
        shape = of_subresource(sub)
        item = {
            method.lower(): _operation(verb, shape, kind, of, prefix, sub.name)
            for method, verb in subresource_methods(sub.name).items()
        }
        yield f"{whole}/{{name}}/{sub.name}", item | {"parameters": named}


_COLLECTION = ("list", "create", "deletecollection")
_OBJECT = ("get", "update", "patch", "delete")


def _method(verb: str) -> str:
    return {"list": "get", "create": "post", "update": "put", "deletecollection": "delete"}.get(verb, verb)


def _operation(verb: str, shape: str | None, kind: Kind, gvk: Tree, prefix: str, sub: str = "") -> Tree:
    group = (kind.group.removesuffix(".k8s.io") or "core").replace(".", " ").title().replace(" ", "")
    scope = "Namespaced" if kind.namespaced else ""
    title = f"{verb}{group}{kind.version.title()}{scope}{kind.name}{sub.title()}"
    found: Tree = {
        "operationId": title,
        "x-kubernetes-action": _ACTIONS.get(verb, verb),
        "x-kubernetes-group-version-kind": gvk,
    }
    parameters = [_parameter(n, "query", t) for n, t in _QUERY.get(verb, ())]
    reference = {"$ref": prefix + shape} if shape else {"type": "string"}
    body = {"create": shape, "update": shape, "patch": schema.META + "Patch"}.get(verb)
    if prefix == V3:
        found["responses"] = {"200": {"description": "OK", "content": {JSON: {"schema": reference}}}}
        if body:
            media = _PATCHES if verb == "patch" else ("*/*",)
            found["requestBody"] = {
                "content": {m: {"schema": {"$ref": prefix + body}} for m in media},
                "required": True,
            }
    else:
        found["responses"] = {"200": {"description": "OK", "schema": reference}}
        found["produces"] = [JSON]
        found["consumes"] = list(_PATCHES) if verb == "patch" else ["*/*"]
        if body:
            parameters.append({"name": "body", "in": "body", "required": True, "schema": {"$ref": prefix + body}})
            parameters = [_old_parameter(p) for p in parameters]
    return found | ({"parameters": parameters} if parameters else {})


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


def _parameter(name: str, where: str, type_: str = "string") -> Tree:
    required = {"required": True} if where == "path" else {}
    return {"name": name, "in": where, "schema": {"type": type_, "uniqueItems": True}} | required


def _old_parameter(parameter: Tree) -> Tree:
    if parameter["in"] == "body":
        return parameter
    return {"name": parameter["name"], "in": parameter["in"], **parameter["schema"]} | (
        {"required": True} if parameter.get("required") else {}
    )
