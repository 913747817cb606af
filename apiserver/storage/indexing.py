"""What lists, watches and selectors ask about an object without decoding all of it: labels and selectable fields.

The fields are those that upstream lets one select by, kind by kind; every kind has metadata.name and
metadata.namespace, which come from the key.
https://kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors/#list-of-supported-fields
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from api.kinds import Kind
from apiserver.customs import jsonpaths

COMMON = frozenset({"metadata.name", "metadata.namespace"})


class _Metadata(msgspec.Struct, gc=False):
    labels: dict[str, str] = {}


class _Any(msgspec.Struct, gc=False):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


@dataclass(frozen=True, slots=True)
class Index:
    """How the index entry of one resource is read. `bucketed` names the field by which watches and lists are looked
    up instead of scanned; "" if there is none."""

    decode: Callable[[bytes], Any]
    fields: tuple[tuple[str, Callable[[Any], str]], ...] = ()
    bucketed: str = ""
    selectable: frozenset[str] = field(default=COMMON)

    def read(self, document: bytes, namespace: str, name: str) -> tuple[dict[str, str], dict[str, str]]:
        """(labels, fields) of a document."""
        obj = self.decode(document)
        found = {"metadata.name": name, "metadata.namespace": namespace}
        for path, value in self.fields:
            found[path] = value(obj)
        return obj.metadata.labels, found


# resource → the selectable paths; `?` after a path: a boolean, `#`: a number with this default.
FIELDS = {
    "pods": "spec.nodeName spec.restartPolicy spec.schedulerName spec.serviceAccountName spec.hostNetwork? "
    "status.phase status.podIP status.nominatedNodeName",
    "nodes": "spec.unschedulable?",
    "namespaces": "status.phase",
    "secrets": "type",
    "services": "spec.clusterIP spec.type",
    "replicationcontrollers": "status.replicas#",
    "apps/replicasets": "status.replicas#",
    "batch/jobs": "status.successful#",
    "events": "involvedObject.kind involvedObject.namespace involvedObject.name involvedObject.uid "
    "involvedObject.apiVersion involvedObject.resourceVersion involvedObject.fieldPath reason "
    "reportingComponent source type",
    "certificates.k8s.io/certificatesigningrequests": "spec.signerName",
    "resource.k8s.io/resourceslices": "spec.nodeName spec.driver",
}
BUCKETED = {"pods": "spec.nodeName"}
# Selectable under one name, held under another.
HELD_AS = {"source": "source.component", "status.successful": "status.succeeded"}
INSTEAD = {"source.component": "reportingComponent"}
"""What counts where a path holds nothing: events of the newer form have no source."""


def index(kind: Kind) -> Index:
    """The index of the resource that a kind is."""
    if kind.custom:
        return _custom(kind)
    resource = f"{kind.group}/{kind.plural}" if kind.group else kind.plural
    names = FIELDS.get(resource, "").split()
    if not names:
        return Index(msgspec.json.Decoder(_Any).decode)
    paths = [HELD_AS.get(name.rstrip("?#"), name.rstrip("?#")) for name in names]
    struct = _struct(resource, dict(zip(paths, map(_type, names), strict=True)))
    fields = tuple((n.rstrip("?#"), _reader(p)) for n, p in zip(names, paths, strict=True))
    return Index(
        msgspec.json.Decoder(struct).decode, fields, BUCKETED.get(resource, ""), COMMON | {n for n, _ in fields}
    )


def _custom(kind: Kind) -> Index:
    """By what any version of a definition selects."""
    paths = {field: jsonpaths.parse(path) for field, path in kind.shape.definition.selectable().items()}
    if not paths:
        return Index(msgspec.json.Decoder(_Any).decode)
    fields = tuple((field, _custom_reader(path)) for field, path in paths.items())
    return Index(_Whole, fields, selectable=COMMON | paths.keys())


class _Whole:
    """A document of which any field may be asked for."""

    def __init__(self, document: bytes) -> None:
        self.tree = msgspec.json.decode(document)
        self.metadata = msgspec.convert(self.tree.get("metadata") or {}, _Metadata)


def _custom_reader(path: jsonpaths.Path) -> Callable[[Any], str]:
    def read(obj: Any) -> str:
        found = jsonpaths.find(path, obj.tree)
        value = found[0] if found else ""
        return value if isinstance(value, str) else msgspec.json.encode(value).decode()

    return read


_ABSENT: dict[type, Any] = {str: "", bool: False, int: 0}


def _type(name: str) -> type:
    return bool if name.endswith("?") else int if name.endswith("#") else str


def _struct(name: str, paths: dict[str, type]) -> type[msgspec.Struct]:
    """A Struct that decodes nothing but these paths (of one or two steps) and the labels."""
    outer: list[Any] = [("metadata", _Metadata, msgspec.field(default_factory=_Metadata))]
    inner: dict[str, list[Any]] = {}
    for path, type_ in paths.items():
        first, _, second = path.partition(".")
        if second:
            inner.setdefault(first, []).append((second, type_ | None, _ABSENT[type_]))
        else:
            outer.append((first, type_ | None, _ABSENT[type_]))
    for first, fields in inner.items():
        struct = msgspec.defstruct(f"{name}.{first}", fields, gc=False)
        outer.append((first, struct, msgspec.field(default_factory=struct)))
    return msgspec.defstruct(name, outer, gc=False)


def _reader(path: str) -> Callable[[Any], str]:
    first, _, second = path.partition(".")
    instead = INSTEAD.get(path)

    def read(obj: Any) -> str:
        value = getattr(obj, first)
        if second:
            value = getattr(value, second)
        return _text(value or getattr(obj, instead) if instead else value)

    return read


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
