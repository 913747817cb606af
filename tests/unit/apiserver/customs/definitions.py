"""Definitions that tests are about."""

from typing import Any

from api import meta
from api.kinds import Kind
from api.types import CustomResourceDefinition
from apiserver import rules
from apiserver.customs.establishing import CRDS, named
from apiserver.customs.shapes import Definition

Tree = dict[str, Any]
NOW = "2026-11-23T12:00:00Z"


def version(name: str = "v1", spec: Tree | None = None, *, storage: bool = True, **more: Any) -> Tree:
    tree = {"type": "object", "properties": {"spec": spec or {"type": "object"}}}
    return {"name": name, "served": True, "storage": storage, "schema": {"openAPIV3Schema": tree}, **more}


def crd(*versions: Tree, kind: str = "Widget", uid: str = "1", **more: Any) -> Any:
    """A valid definition as it is when it was just created."""
    plural = f"{kind.lower()}s"
    document = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.example.com", "uid": uid},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind},
            "versions": [*versions] or [version()],
            **more,
        },
    }
    found = meta.decode(meta.encode(document), CustomResourceDefinition)
    rules.default(CRDS, found)
    rules.prepare_create(CRDS, found)
    return found


def established(*versions: Tree, **more: Any) -> Any:
    found = crd(*versions, **more)
    return named(found, [found], NOW)


def definition(*versions: Tree, **more: Any) -> Definition:
    return Definition(established(*versions, **more))


def kind(spec: Tree | None = None, **more: Any) -> Kind:
    """The one version of a definition whose spec has that schema."""
    return definition(version(spec=spec, **more)).kinds["v1"]
