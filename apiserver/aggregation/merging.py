"""Other servers' groups among our own, in discovery documents."""

from collections.abc import Iterable
from typing import Any

from api.types import APIService
from apiserver.aggregation.checking import Checker
from apiserver.aggregation.routes import Routes

Tree = dict[str, Any]
_COPIED = ("shortNames", "categories")


class Merger:
    """`version` grows when what it says changes."""

    def __init__(self, routes: Routes, checker: Checker) -> None:
        self._routes = routes
        self._checker = checker

    @property
    def version(self) -> int:
        self._routes.remote()
        return hash((self._checker.version, self._routes.version))

    def groups(self, own: Iterable[Tree]) -> list[Tree]:
        """The entries of an APIGroupList: a group that is served here and elsewhere has the versions of both."""
        found = {group["name"]: group for group in own}
        for name, services in self._routes.groups().items():
            there = [_version(s) for s in services]
            here = found.get(name, {}).get("versions", [])
            named = {v["groupVersion"] for v in there}
            versions = [*there, *(v for v in here if v["groupVersion"] not in named)]
            found[name] = {"name": name, "versions": versions, "preferredVersion": versions[0]}
        return list(found.values())

    def aggregated(self, own: Iterable[Tree]) -> list[Tree]:
        """The items of an APIGroupDiscoveryList."""
        found = {item["metadata"].get("name", ""): item for item in own}
        for name, services in self._routes.groups().items():
            there = [self._aggregated(s) for s in services]
            named = {v["version"] for v in there}
            here = [v for v in found.get(name, {}).get("versions", []) if v["version"] not in named]
            found[name] = {"metadata": {"name": name, "creationTimestamp": None}, "versions": [*there, *here]}
        return list(found.values())

    def openapi(self) -> dict[str, dict[str, str]]:
        """Where their documents of version 3 are: the paths lead to them like all others of theirs."""
        return {
            f"apis/{group}/{version}": {"serverRelativeURL": where}
            for (group, version), where in self._checker.openapi.items()
        }

    def _aggregated(self, service: APIService) -> Tree:
        about = (service.spec.group, service.spec.version)
        document = self._checker.resources.get(about, {})
        fresh = self._checker.answers(about)
        return {
            "version": about[1],
            "resources": _resources(*about, document.get("resources") or ()),
            "freshness": "Current" if fresh else "Stale",
        }


def _version(service: APIService) -> Tree:
    spec = service.spec
    return {"groupVersion": f"{spec.group}/{spec.version}", "version": spec.version}


def _resources(group: str, version: str, entries: Iterable[Tree]) -> list[Tree]:
    """The entries of an APIResourceList, in which subresources are entries too, as aggregated discovery has them."""
    found: dict[str, Tree] = {}
    for entry in entries:
        name, _, part = entry.get("name", "").partition("/")
        kind = {
            "group": entry.get("group") or group,
            "version": entry.get("version") or version,
            "kind": entry.get("kind", ""),
        }
        if part:
            sub = {"subresource": part, "responseKind": kind, "verbs": entry.get("verbs") or []}
            found.setdefault(name, {"resource": name}).setdefault("subresources", []).append(sub)
            continue
        found[name] = {
            "resource": name,
            "responseKind": kind,
            "scope": "Namespaced" if entry.get("namespaced") else "Cluster",
            "singularResource": entry.get("singularName", ""),
            "verbs": entry.get("verbs") or [],
            **{key: entry[key] for key in _COPIED if entry.get(key)},
            **found.get(name, {}),
        }
    return list(found.values())
