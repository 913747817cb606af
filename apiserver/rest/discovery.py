"""What this server serves, for clients that ask: kubectl finds `deploy` here.

https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api.  Everything is made from `api.kinds` once,
on first use.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

from api import kinds
from api.kinds import Kind
from api.meta import encode
from apiserver.rest.paths import served, subresource_methods

# Upstream's order: where a short name is shared (events), clients take the group that stands first.
_ORDER = (
    "", "apiregistration.k8s.io", "apps", "events.k8s.io", "authentication.k8s.io", "authorization.k8s.io",
    "autoscaling", "batch", "certificates.k8s.io", "networking.k8s.io", "policy", "rbac.authorization.k8s.io",
    "storage.k8s.io", "admissionregistration.k8s.io", "apiextensions.k8s.io", "scheduling.k8s.io",
    "coordination.k8s.io", "node.k8s.io", "discovery.k8s.io", "resource.k8s.io", "flowcontrol.apiserver.k8s.io",
)  # fmt: skip
_CONNECTIONS = {"attach": "Attach", "exec": "Exec", "portforward": "PortForward"}
_OTHERS = {
    "scale": ("autoscaling", "v1", "Scale"),
    "eviction": ("policy", "v1", "Eviction"),
    "binding": ("", "v1", "Binding"),
    "token": ("authentication.k8s.io", "v1", "TokenRequest"),
}


class Subresource(NamedTuple):
    """A subresource, and the kind of what is written to it and read from it."""

    name: str
    group: str
    version: str
    kind: str
    verbs: list[str]


def groups() -> list[str]:
    """All groups but the core one, in the order in which clients shall look for a kind."""
    return sorted({k.group for k in kinds.BUILT_IN} - {""}, key=lambda g: (_ORDER.index(g) if g in _ORDER else 99, g))


def versions(group: str) -> list[str]:
    """The versions of a group, the preferred one first."""
    return list(dict.fromkeys(k.version for k in kinds.BUILT_IN if k.group == group))


def of(group: str, version: str) -> list[Kind]:
    return [k for k in kinds.BUILT_IN if (k.group, k.version) == (group, version)]


def subresources(kind: Kind) -> Iterable[Subresource]:
    for name in served(kind):
        group, version, found = _OTHERS.get(name, (kind.group, kind.version, kind.name))
        verbs = sorted(set(subresource_methods(name).values()))
        if name in _CONNECTIONS:
            found = f"{kind.name}{_CONNECTIONS[name]}Options"
            verbs = ["create", "get"]
        yield Subresource(name, group, version, found, verbs)


@cache
def roots() -> bytes:
    """The document at `/`: the paths there are."""
    paths = ["/api", "/api/v1", "/apis"]
    for group in groups():
        paths += [f"/apis/{group}", *(f"/apis/{group}/{v}" for v in versions(group))]
    return encode({"paths": [*paths, "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"]})


@cache
def aggregated(path: str, version: str) -> bytes:
    """Everything below /api or /apis in one document, an APIGroupDiscoveryList."""
    wanted = [""] if path == "/api" else groups()
    items = [
        {
            "metadata": {"name": group, "creationTimestamp": None} if group else {"creationTimestamp": None},
            "versions": [
                {"version": v, "resources": [_aggregated(k) for k in of(group, v)], "freshness": "Current"}
                for v in versions(group)
            ],
        }
        for group in wanted
    ]
    return encode(
        {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": f"apidiscovery.k8s.io/{version}",
            "metadata": {},
            "items": items,
        }
    )


def _aggregated(kind: Kind) -> dict[str, Any]:
    found: dict[str, Any] = {
        "resource": kind.plural,
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.name},
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": sorted(kind.verbs),
    }
    _add_names(found, kind)
    if served(kind):
        found["subresources"] = [
            {
                "subresource": s.name,
                "responseKind": {"group": s.group, "version": s.version, "kind": s.kind},
                "verbs": s.verbs,
            }
            for s in subresources(kind)
        ]
    return found


@cache
def document(path: str, address: str) -> bytes | None:
    """The unaggregated discovery document at a path without a slash at its end; None if there is none."""
    match path.strip("/").split("/"):
        case ["api"]:
            where = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
            return encode({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": where})
        case ["apis"]:
            found = [_group(group) for group in groups()]
            return encode({"kind": "APIGroupList", "apiVersion": "v1", "groups": found})
        case ["apis", group] if group in groups():
            return encode({"kind": "APIGroup", "apiVersion": "v1", **_group(group)})
        case ["api", "v1"]:
            return _resources("", "v1")
        case ["apis", group, version] if of(group, version) and group:
            return _resources(group, version)
    return None


def _group(group: str) -> dict[str, Any]:
    all_versions = [{"groupVersion": f"{group}/{v}", "version": v} for v in versions(group)]
    return {"name": group, "versions": all_versions, "preferredVersion": all_versions[0]}


def _resources(group: str, version: str) -> bytes:
    found: list[dict[str, Any]] = []
    for kind in of(group, version):
        entry: dict[str, Any] = {
            "name": kind.plural,
            "singularName": kind.singular,
            "namespaced": kind.namespaced,
            "kind": kind.name,
            "verbs": sorted(kind.verbs),
        }
        _add_names(entry, kind)
        found.append(entry)
        for sub in subresources(kind):
            entry = {"name": f"{kind.plural}/{sub.name}", "singularName": "", "namespaced": kind.namespaced}
            if (sub.group, sub.version) != (group, version):
                entry |= {"group": sub.group, "version": sub.version}
            found.append(entry | {"kind": sub.kind, "verbs": sub.verbs})
    name = f"{group}/{version}" if group else version
    return encode({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": found})


def _add_names(entry: dict[str, Any], kind: Kind) -> None:
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
