"""One CustomResourceDefinition, compiled: its versions, and the kinds that they are.

Compiling is cheap; what only some requests need (field ownership, expressions, OpenAPI) is made on first use.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import msgspec

from api.kinds import Kind
from apiserver.customs import jsonpaths, ownership, publishing
from apiserver.customs.expressions import Rules
from apiserver.customs.printing import Columns
from apiserver.customs.schemas import Schema
from apiserver.patching.schemas import Node

Tree = dict[str, Any]
VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


class Shape:
    """One version of a definition: what `Kind.shape` is."""

    def __init__(self, definition: "Definition", version: Any) -> None:
        self.definition = definition
        self.name: str = version.name
        self.served = bool(version.served)
        given = version.schema.openAPIV3Schema if version.schema is not None else None
        self.source: Tree = msgspec.to_builtins(given) if given is not None else {"type": "object"}
        if definition.preserves:
            self.source["x-kubernetes-preserve-unknown-fields"] = True
        self.schema = Schema(self.source)
        self.defaults = self.schema.defaults_anything()
        subresources = version.subresources
        self.status = subresources is not None and subresources.status is not None
        self.scale = Scaling(subresources.scale) if subresources is not None and subresources.scale else None
        self.selectable = {f.jsonPath.removeprefix("."): f.jsonPath for f in version.selectableFields}
        self.columns = Columns(version.additionalPrinterColumns)
        self.warning = ""
        if version.deprecated:
            about = f"{definition.group}/{version.name} {definition.names.kind} is deprecated"
            self.warning = version.deprecationWarning or about

    @property
    def subresources(self) -> tuple[str, ...]:
        return ("status",) * self.status + ("scale",) * (self.scale is not None)

    @cached_property
    def node(self) -> Node:
        """What field ownership knows of the schema."""
        return ownership.root(self.schema, undivided=not self.status)

    @cached_property
    def rules(self) -> Rules:
        return Rules(self.schema)

    def published(self, prefix: str) -> Tree:
        """The definition that OpenAPI documents have; references begin with `prefix`."""
        return publishing.published(self.schema, prefix)

    @cached_property
    def selectable_paths(self) -> dict[str, jsonpaths.Path]:
        return {field: jsonpaths.parse(path) for field, path in self.selectable.items()}


class Scaling:
    """Where the parts of a Scale are in the object, as names from the outside in."""

    def __init__(self, scale: Any) -> None:
        self.replicas = _steps(scale.specReplicasPath) or ("spec", "replicas")
        self.status_replicas = _steps(scale.statusReplicasPath) or ("status", "replicas")
        self.selector = _steps(scale.labelSelectorPath)
        self.path: str = scale.specReplicasPath or ""


def _steps(path: str | None) -> tuple[str, ...]:
    """A dot always begins the next name, and nothing else means anything."""
    return tuple(path.removeprefix(".").split(".")) if path else ()


class Definition:
    """`crd` is one whose names were accepted."""

    def __init__(self, crd: Any) -> None:
        spec = crd.spec
        self.name: str = crd.metadata.name
        self.uid: str = crd.metadata.uid
        self.group: str = spec.group
        self.names = crd.status.acceptedNames if crd.status.acceptedNames is not None else spec.names
        self.list_kind: str = self.names.listKind or f"{self.names.kind}List"
        self.namespaced = spec.scope == "Namespaced"
        self.preserves = bool(spec.preserveUnknownFields)
        self.conversion = spec.conversion
        self.storage: str = next((v.name for v in spec.versions if v.storage), "")
        self.terminating = False
        """No new objects then."""
        self.digest = b""
        """Of what this was compiled from."""
        self.versions = {version.name: Shape(self, version) for version in spec.versions}
        self.kinds = {name: self._kind(shape) for name, shape in self.versions.items()}

    def _kind(self, shape: Shape) -> Kind:
        names = self.names
        return Kind(
            group=self.group, version=shape.name, name=names.kind, plural=names.plural, namespaced=self.namespaced,
            short_names=tuple(names.shortNames), categories=tuple(names.categories),
            subresources=shape.subresources, verbs=VERBS, custom=True, singular_name=names.singular or "", shape=shape,
        )  # fmt: skip

    def served(self) -> Iterator[Kind]:
        return (kind for kind in self.kinds.values() if kind.shape.served)

    @property
    def stored(self) -> Kind:
        """The kind of the version that objects are stored in."""
        return self.kinds[self.storage]

    @property
    def webhook(self) -> Any | None:
        """How another server converts, or None if only apiVersion changes."""
        return (
            self.conversion.webhook if self.conversion is not None and self.conversion.strategy == "Webhook" else None
        )

    def selectable(self) -> dict[str, str]:
        """What objects can be selected by in any version: field → JSONPath."""
        return {field: path for shape in self.versions.values() for field, path in shape.selectable.items()}
