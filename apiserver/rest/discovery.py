"""What this server serves, for clients that ask: kubectl finds `deploy` here.

https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api.  Every document is made on first use, and
again when the catalogue has changed.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

from api.kinds import CREATE_ONLY, Kind
from api.meta import encode
from apiserver.catalogue import Catalogue
from apiserver.rest.paths import PROXIES, served, subresource_methods
from apiserver.rules import conversions

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


def subresources(kind: Kind) -> Iterable[Subresource]:
    for name in served(kind):
        group, version, found = _OTHERS.get(name, (kind.group, kind.version, kind.name))
        verbs = sorted(set(subresource_methods(name).values()))
        if name in _CONNECTIONS:
            found = f"{kind.name}{_CONNECTIONS[name]}Options"
            verbs = ["create", "get"]
        yield Subresource(name, group, version, found, verbs)
    if not kind.group and kind.plural in PROXIES:
        verbs = ["create", "delete", "get", "patch", "update"]
        yield Subresource("proxy", kind.group, kind.version, f"{kind.name}ProxyOptions", verbs)


class Others(Protocol):
    """What API servers behind this one serve: how their groups stand among its own."""

    @property
    def version(self) -> int: ...

    def groups(self, own: Iterable[dict[str, Any]]) -> list[dict[str, Any]]: ...

    def aggregated(self, own: Iterable[dict[str, Any]]) -> list[dict[str, Any]]: ...

    def openapi(self) -> dict[str, dict[str, str]]:
        """More entries of the index of OpenAPI documents of version 3."""
        ...


class Discovery:
    """The documents about what a catalogue serves."""

    def __init__(self, catalogue: Catalogue, others: Others | None = None) -> None:
        self._catalogue = catalogue
        self._others = others
        self._made: dict[tuple[str, ...], bytes | None] = {}
        self._version = (0, 0)

    def groups(self) -> list[str]:
        """All groups but the core one, in the order in which clients shall look for a kind."""
        found = {k.group for k in self._catalogue.kinds()} - {""}
        return sorted(found, key=lambda g: (_ORDER.index(g) if g in _ORDER else 99, g))

    def versions(self, group: str) -> list[str]:
        """The versions of a group, the preferred one first."""
        found = dict.fromkeys(k.version for k in self._catalogue.kinds() if k.group == group)
        customs = {k.version for k in self._catalogue.customs() if k.group == group}
        return sorted(found, key=lambda v: (v in customs, *(priority(v) if v in customs else ())))

    def of(self, group: str, version: str) -> list[Kind]:
        return [k for k in self._catalogue.kinds() if (k.group, k.version) == (group, version)]

    def roots(self) -> bytes:
        """The document at `/`: the paths there are."""
        return self._once(("/",), self._roots) or b""

    def aggregated(self, path: str, version: str) -> bytes:
        """Everything below /api or /apis in one document, an APIGroupDiscoveryList."""
        return self._once((path, version), lambda: self._aggregated_list(path, version)) or b""

    def document(self, path: str, address: str) -> bytes | None:
        """The unaggregated discovery document at a path without a slash at its end; None if there is none."""
        match path.strip("/").split("/"):
            case ["api"]:
                where = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
                return encode({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": where})
            case ["apis"]:
                return self._once(("apis",), self._group_list)
            case ["apis", group]:
                return self._once(("apis", group), lambda: self._one_group(group))
            case ["api", "v1"]:
                return self._once(("api", "v1"), lambda: self._resources("", "v1"))
            case ["apis", group, version] if group:
                return self._once(("apis", group, version), lambda: self._resources(group, version))
        return None

    def _once(self, key: tuple[str, ...], make: Callable[[], bytes | None]) -> bytes | None:
        version = self._catalogue.version, self._others.version if self._others is not None else 0
        if self._version != version:
            self._made, self._version = {}, version
        if key not in self._made:
            made = make()
            if made is None:  # names of what is not there are without end
                return None
            self._made[key] = made
        return self._made[key]

    def _roots(self) -> bytes:
        paths = ["/api", "/api/v1", "/apis"]
        for group in self.groups():
            paths += [f"/apis/{group}", *(f"/apis/{group}/{v}" for v in self.versions(group))]
        return encode({"paths": [*paths, "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"]})

    def _aggregated_list(self, path: str, version: str) -> bytes:
        wanted = [""] if path == "/api" else self.groups()
        items = [
            {
                "metadata": {"name": group, "creationTimestamp": None} if group else {"creationTimestamp": None},
                "versions": [
                    {"version": v, "resources": [_aggregated(k) for k in self.of(group, v)], "freshness": "Current"}
                    for v in self.versions(group)
                ],
            }
            for group in wanted
        ]
        if path != "/api" and self._others is not None:
            items = self._others.aggregated(items)
        return encode(
            {
                "kind": "APIGroupDiscoveryList",
                "apiVersion": f"apidiscovery.k8s.io/{version}",
                "metadata": {},
                "items": items,
            }
        )

    def _group_list(self) -> bytes:
        return encode({"kind": "APIGroupList", "apiVersion": "v1", "groups": self._all_groups()})

    def _one_group(self, group: str) -> bytes | None:
        found = next((each for each in self._all_groups() if each["name"] == group), None)
        return encode({"kind": "APIGroup", "apiVersion": "v1", **found}) if found is not None else None

    def _all_groups(self) -> list[dict[str, Any]]:
        own = [self._group(group) for group in self.groups()]
        return self._others.groups(own) if self._others is not None else own

    def _group(self, group: str) -> dict[str, Any]:
        all_versions = [{"groupVersion": f"{group}/{v}", "version": v} for v in self.versions(group)]
        return {"name": group, "versions": all_versions, "preferredVersion": all_versions[0]}

    def _resources(self, group: str, version: str) -> bytes | None:
        kinds = self.of(group, version)
        if not kinds:
            return None
        name = f"{group}/{version}" if group else version
        found = [entry for kind in kinds for entry in _entries(kind)]
        return encode({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": found})


def _entries(kind: Kind) -> Iterable[dict[str, Any]]:
    """A resource and its subresources, as APIResourceList has them."""
    entry: dict[str, Any] = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.name,
        "verbs": sorted(kind.verbs),
    }
    _add_names(entry, kind)
    if stored := storage_version_hash(kind):
        entry["storageVersionHash"] = stored
    yield entry
    for sub in subresources(kind):
        entry = {"name": f"{kind.plural}/{sub.name}", "singularName": "", "namespaced": kind.namespaced}
        if (sub.group, sub.version) != (kind.group, kind.version):
            entry |= {"group": sub.group, "version": sub.version}
        yield entry | {"kind": sub.kind, "verbs": sub.verbs}


def storage_version_hash(kind: Kind) -> str:
    """By which clients see that a resource is stored in another version now; "" where nothing is stored."""
    if kind.verbs == CREATE_ONLY or "create" not in kind.verbs:
        return ""
    stored = conversions.stored_kind(kind)
    version = kind.shape.definition.storage if kind.custom else stored.version
    found = hashlib.sha256(f"{stored.group}/{version}/{stored.name}".encode()).digest()
    return base64.b64encode(found[:8]).decode()


_STABILITY = {"": 0, "beta": 1, "alpha": 2}


def priority(version: str) -> tuple[int, int, int, str]:
    """By which versions are sorted, the preferred one first: v10, v2, v1, v2beta1, v1alpha1, then others by name."""
    found = re.fullmatch(r"v([1-9][0-9]*)(?:(alpha|beta)([1-9][0-9]*))?", version)
    if found is None:
        return 3, 0, 0, version
    return _STABILITY[found[2] or ""], -int(found[1]), -int(found[3] or 0), ""


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


def _add_names(entry: dict[str, Any], kind: Kind) -> None:
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
