"""What a URL path is about.

https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris.  A router with a pattern for each of some
five hundred resource paths tries them one after another; splitting the path and looking the resource up does not.
"""

from typing import NamedTuple

from api.errors import no_such_method, no_such_resource
from api.kinds import Kind
from apiserver.catalogue import Catalogue

_COLLECTION = {"GET": "list", "POST": "create", "DELETE": "deletecollection"}
_OBJECT = {"GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_READ_WRITE = {"GET": "get", "PUT": "update", "PATCH": "patch"}
_CREATE = {"POST": "create"}
_PROXIED = {
    "GET": "get", "HEAD": "get", "OPTIONS": "get", "POST": "create", "PUT": "update", "PATCH": "patch",
    "DELETE": "delete",
}  # fmt: skip
PROXIES = ("nodes", "pods", "services")
"""Core resources whose `proxy` subresource takes any path behind it."""
_CONNECT = {"GET": "connect", "POST": "connect"}
_SUBRESOURCES: dict[str, dict[str, str]] = {
    "approval": _READ_WRITE, "ephemeralcontainers": _READ_WRITE, "resize": _READ_WRITE, "scale": _READ_WRITE,
    "status": _READ_WRITE, "binding": _CREATE, "eviction": _CREATE, "token": _CREATE, "finalize": {"PUT": "update"},
    "log": {"GET": "get"}, "attach": _CONNECT, "exec": _CONNECT, "portforward": _CONNECT,
}  # fmt: skip


class PageNotFound(Exception):
    """No API path at all: answered with upstream's plain text instead of a Status."""


class Target(NamedTuple):
    """The resource that a path names; the strings are "" where the path does not say."""

    kind: Kind
    namespace: str
    name: str
    subresource: str
    watched: bool = False
    """The path has the deprecated /watch/ prefix."""


def find(path: str, catalogue: Catalogue) -> Target:
    """The target of a decoded path under /api/VERSION/ or /apis/GROUP/VERSION/.

    Raises PageNotFound for an unknown group or version and NotFound for an unknown resource in a known one. Where
    definitions make the resources, PageNotFound too: upstream's server of custom resources passes on what it does not
    know, and behind it there is nothing.
    """
    parts = path.split("/")
    if not parts[-1]:
        parts.pop()
    if parts[1] == "api":
        group, version, parts = "", parts[2], parts[3:]
    else:
        group, version, parts = parts[2], parts[3] if len(parts) > 3 else "", parts[4:]
    if not catalogue.serves(group, version):
        raise PageNotFound
    watched = bool(parts) and parts[0] == "watch"
    if watched:
        parts = parts[1:]
    namespace = ""
    if "" in parts[:4]:
        raise no_such_resource()
    if len(parts) > 2 and parts[0] == "namespaces" and not (not group and parts[2] in ("status", "finalize")):
        namespace, parts = parts[1], parts[2:]
    kind = catalogue.by_resource(group, version, parts[0]) if parts else None
    if kind is None:
        raise PageNotFound if parts and catalogue.is_custom(group, version) else no_such_resource()
    name = parts[1] if len(parts) > 1 else ""
    subresource = parts[2] if len(parts) > 2 else ""
    if (namespace and not kind.namespaced) or (name and kind.namespaced and not namespace):
        raise PageNotFound if kind.custom else no_such_resource()
    if subresource == "proxy" and not group and kind.plural in PROXIES:
        return Target(kind, namespace, name, subresource, watched)
    if len(parts) > 3 or (subresource and subresource not in served(kind)):
        raise no_such_resource()
    if watched and (subresource or "watch" not in kind.verbs):
        raise no_such_resource()
    return Target(kind, namespace, name, subresource, watched)


def verb(method: str, target: Target, watch: bool) -> str:
    """Kubernetes' verb for an HTTP method on a target; `connect` for the streaming subresources.

    `watch` says whether the query asks for one.  Raises MethodNotAllowed, and PageNotFound for what cannot be done with
    custom objects of all namespaces.
    """
    if target.subresource == "proxy":
        found = _PROXIED.get(method)
    elif target.subresource:
        found = _SUBRESOURCES[target.subresource].get(method)
    elif target.watched:
        found = "watch" if method == "GET" else None
    elif target.name:
        found = _OBJECT.get(method)
    else:
        found = _COLLECTION.get(method)
        if target.kind.namespaced and not target.namespace and found != "list":
            if target.kind.custom:
                raise PageNotFound
            found = None
        elif found == "list" and watch:
            found = "watch"
    if found is None or (not target.subresource and found not in target.kind.verbs):
        raise no_such_method()
    return found


def served(kind: Kind) -> list[str]:
    """The kind's subresources that have a method here."""
    return [name for name in kind.subresources if name in _SUBRESOURCES]


def subresource_methods(subresource: str) -> dict[str, str]:
    """HTTP method → verb of a subresource."""
    return dict.fromkeys(_PROXIED, "connect") if subresource == "proxy" else _SUBRESOURCES[subresource]
