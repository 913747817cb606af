"""What merging and field ownership need to know of a kind's schema, compiled once into a small tree of nodes.

Vocabulary of https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy: a map is granular (its
entries are owned one by one) or atomic, a list is atomic, a set of scalars, or a map of structs under their keys.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

from api import kinds, meta, schema, types
from machinery.remembering import remembered

# Fields of the outermost `metadata` that the server writes: nobody owns them.
SERVER_METADATA = frozenset(
    {
        "name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "selfLink", "managedFields",
        "clusterName",
    }
)  # fmt: skip
# The published schema holds no defaults. This is the only one among the keys of list items.
KEY_DEFAULTS = {"protocol": "TCP"}
SCALAR_TYPES = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean"}
_WRITTEN = ("labels", "annotations", "finalizers", "ownerReferences")
# What a write to the status leaves alone of the metadata, where it leaves any alone; of custom kinds, all of it.
METADATA_BESIDE_STATUS = {
    "APIService": _WRITTEN, "CustomResourceDefinition": _WRITTEN, "Deployment": ("labels",), "FlowSchema": _WRITTEN,
    "PodGroup": _WRITTEN, "PriorityLevelConfiguration": _WRITTEN, "ResourceV1ResourceClaim": _WRITTEN,
    "ServiceCIDR": _WRITTEN, "ValidatingAdmissionPolicy": _WRITTEN, "VolumeAttachment": _WRITTEN,
}  # fmt: skip
# What can be written through a subresource of a pod, and with it the name that tells a container from the others.
PARTS: dict[str, list[tuple[str, ...]]] = {
    "ephemeralcontainers": [("spec", "ephemeralContainers")],
    "resize": [
        ("spec", of, "*", name)
        for of in ("containers", "initContainers")
        for name in ("name", "resources", "resizePolicy")
    ],
}


class Node:
    """One place in a schema. Shared by everybody and never changed once it is built."""

    __slots__ = (
        "atomic", "element", "fields", "form", "keys", "leaf", "merge_key", "name", "open", "scalar", "strategy",
        "undivided",
    )  # fmt: skip

    def __init__(self, form: str, name: str = "") -> None:
        self.form = form
        """"map" (structs too), "list", "scalar" or "any"."""
        self.name = name
        """Of the definition, for messages; "" for anything else."""
        self.atomic = False
        self.fields: dict[str, tuple[str, Node]] = {}
        """Declared fields by name: how FieldsV1 writes it (`f:NAME`), and its node."""
        self.element: Node | None = None
        """Of lists, and of maps with arbitrary keys."""
        self.open = False
        """Undeclared fields are welcome."""
        self.keys: tuple[str, ...] = ()
        """Of a list that is a map; sorted. An unkeyed list that is not atomic is a set."""
        self.scalar = ""
        """string, number, boolean, or "" if any scalar will do."""
        self.merge_key = ""
        self.strategy = ""
        """The patch strategy of strategic merge: "merge", "replace", or "" for the default of the form."""
        self.undivided = False
        """Of a whole object: its status is written with the rest, and not through a subresource."""
        self.leaf = form == "scalar"
        """Owned as one, whatever its value is."""

    def child(self, field: str) -> Node:
        """The node of a map's entry; of an undeclared one, whatever the value shows."""
        declared = self.fields.get(field)
        return declared[1] if declared else self.element or ANYTHING

    def copy(self) -> Node:
        other = Node(self.form)
        for slot in Node.__slots__:
            setattr(other, slot, getattr(self, slot))
        return other


def _anything() -> Node:
    """Free-form JSON: maps are granular, lists atomic, as upstream deduces them."""
    node = Node("any")
    node.open = True
    node.element = node
    return node


ANYTHING = _anything()
UNTRACKED = Node("any", "untracked")
"""Stands where a field belongs to nobody: the server's own metadata, and what a subresource may not write."""


def key_of(node: Node, item: Any) -> dict[str, Any] | None:
    """What identifies an item in a list that is a map; None if that cannot be said."""
    if not isinstance(item, dict):
        return None
    found = {k: item.get(k, KEY_DEFAULTS.get(k)) for k in node.keys}
    present = {k: v for k, v in found.items() if v is not None}
    return present or None


@cache
def node_of(definition: str) -> Node:
    """The tree of a definition by its Python name; free-form if the published schema does not have it."""
    full = schema.names().get(definition)
    return _definition(full) if full else ANYTHING


@lru_cache(maxsize=1024)
def tracked(definition: str | Node, subresource: str = "") -> Node:
    """The tree of a kind as a request sees it: without what the server owns and what the request cannot write.

    A request to the kind itself leaves `status` alone if there is such a subresource, one to `status` the rest.
    `definition` is the name of a published one, or the node of a custom kind.
    """
    whole = node_of(definition) if isinstance(definition, str) else definition
    if subresource in PARTS:
        return _only(whole, PARTS[subresource])
    root = whole.copy()
    fields = dict(whole.fields) or _head()
    for name, (written, child) in fields.items():
        hidden = name in ("apiVersion", "kind")
        if name != "metadata" and subresource == "status":
            hidden = name != "status"
        elif name == "status":
            hidden = not whole.undivided
        fields[name] = (written, UNTRACKED if hidden else child)
    if "metadata" in fields:
        own, private = fields["metadata"][1].copy(), SERVER_METADATA
        if subresource == "status":
            private |= set(METADATA_BESIDE_STATUS.get(definition, ()) if isinstance(definition, str) else _WRITTEN)
        own.fields = {k: (f, UNTRACKED if k in private else n) for k, (f, n) in own.fields.items()}
        fields["metadata"] = ("f:metadata", own)
    if subresource == "status" and (whole.open or not whole.fields):
        fields.setdefault("status", ("f:status", ANYTHING))
        root.element = UNTRACKED
    root.fields = fields
    return root


def _only(node: Node, paths: list[tuple[str, ...]]) -> Node:
    """The tree of what the paths lead to, where `*` is each item of a list; beside it nothing is anybody's."""
    if () in paths:
        return node
    kept = node.copy()
    further = {step: [path[1:] for path in paths if path[0] == step] for step, *_ in paths}
    kept.fields = {
        name: (written, _only(child, further[name]) if name in further else UNTRACKED)
        for name, (written, child) in node.fields.items()
    }
    if node.element is not None and "*" in further:
        kept.element = _only(node.element, further["*"])
    return kept


def _head() -> dict[str, tuple[str, Node]]:
    """What is known of a kind whose schema is not published."""
    metadata = _definition(schema.META + "ObjectMeta")
    return {"apiVersion": ("", ANYTHING), "kind": ("", ANYTHING), "metadata": ("f:metadata", metadata)}


@remembered(1024)
def definition_of(api_version: str, kind: str) -> str:
    """The Python name of a kind's definition, "" if it is not a built-in one."""
    found = kinds.by_name(api_version, kind)
    return found.type.__name__ if found else ""


@lru_cache(maxsize=1024)
def empty(definition: str | Node) -> Any:
    """The document of an object in which nothing is set yet: what a created object is compared with.

    Structs that exist by value are there, so that creating an object owns what is in them and not the structs.
    """
    if not isinstance(definition, str) or definition not in schema.names():
        return {"metadata": {}}
    document = meta.encode(getattr(types, definition)())
    return meta.decode(document, dict)


def _definition(full: str) -> Node:
    return _compiler().definition(full)


@cache
def _compiler() -> _Compiler:
    return _Compiler()


class _Compiler:
    """Compiles each definition once. One may contain itself: a node is known by its name before it is filled in."""

    def __init__(self) -> None:
        self.known: dict[str, Node] = {}

    def definition(self, full: str) -> Node:
        if full in self.known:
            return self.known[full]
        content = schema.definitions()[full]
        if full in schema.SCALARS:
            node = Node("scalar")
            node.scalar = "string" if schema.SCALARS[full] is str else ""
            return node
        if full in schema.FREE_FORM:
            return ANYTHING
        node = self.known[full] = Node("map", full.rsplit(".", 1)[1])
        node.atomic = node.leaf = content.get("x-kubernetes-map-type") == "atomic"
        node.fields = {k: (f"f:{k}", self.property(p)) for k, p in content.get("properties", {}).items()}
        return node

    def property(self, content: schema.Definition) -> Node:
        strategies = content.get("x-kubernetes-patch-strategy", "").split(",")
        strategy = next((s for s in strategies if s in ("merge", "replace")), "")
        map_type = content.get("x-kubernetes-map-type", "")
        if reference := content.get("$ref", ""):
            node = self.definition(reference.removeprefix(schema.PREFIX))
            if strategy or map_type:
                node = node.copy()
                node.strategy = strategy
                node.atomic = node.leaf = map_type == "atomic" if map_type else node.atomic
            return node
        found = content.get("type")
        form = next((t for t in found if t != "null"), "") if isinstance(found, list) else found or ""
        if form == "array":
            return self.list(content, strategy)
        if form == "object":
            return self.map(content, map_type)
        node = Node("scalar")
        node.scalar = SCALAR_TYPES.get(form, "")
        return node

    def list(self, content: schema.Definition, strategy: str) -> Node:
        node = Node("list")
        node.strategy = strategy
        node.merge_key = content.get("x-kubernetes-patch-merge-key", "")
        node.element = self.property(content["items"])
        relation = content.get("x-kubernetes-list-type", "")
        if not relation and strategy == "merge":  # upstream falls back on the patch strategy
            relation = "map" if node.merge_key else "set"
        if relation == "map":
            node.keys = tuple(sorted(content.get("x-kubernetes-list-map-keys", [node.merge_key])))
        node.atomic = node.leaf = relation not in ("map", "set")
        return node

    def map(self, content: schema.Definition, map_type: str) -> Node:
        if "additionalProperties" not in content:
            return ANYTHING
        node = Node("map")
        node.element = self.property(content["additionalProperties"])
        node.open = True
        node.atomic = node.leaf = map_type == "atomic"
        return node
