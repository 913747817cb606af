"""msgspec Structs built from the published OpenAPI schema, one for each definition, on first use.

The schema is a dependency (the PyPI package `kubernetes-validate`), never a copy in this repository.  It does not say
which Go fields are pointers, and that decides what an absent value means, so the rules are stated here:

- lists and maps are never None; empty ones are left out of the JSON, as Go's `omitempty` does, unless required;
- optional strings are "" when absent, optional integers of a status are 0, and both are left out of the JSON then;
- other optional scalars and structs are None when absent, because 0, false and {} mean something else than nothing;
- required scalars are None only in an object that has not been validated yet, and are written even when they are zero;
  the numbers and truths that a status requires are never None, since nobody has to say them: they begin as zero;
- `apiVersion` and `kind` are filled in, `metadata`, `spec` and `status` always exist, and the three first stand first:
  the storage splices the resource version in at a fixed place.
"""

import importlib.util
import keyword
import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec

from api import measurements

Definition = dict[str, Any]
T = TypeVar("T")

VERSION = "v1.37.0"
PREFIX = "#/$defs/"
Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]

META = "io.k8s.apimachinery.pkg.apis.meta.v1."
SCALARS: dict[str, Any] = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": int | str,
    "io.k8s.apimachinery.pkg.api.resource.Quantity": str | int | float,
    META + "Time": str,
    META + "MicroTime": str,
}
FREE_FORM = {
    META + "FieldsV1",
    META + "Patch",
    "io.k8s.apimachinery.pkg.runtime.RawExtension",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray",
}
# Go structs that are embedded by value, so that they exist (and are written) even when nothing is set in them.
BY_VALUE = {
    "metadata", "spec", "status",
    "Container.resources", "ContainerStatus.state", "ContainerStatus.lastState", "DaemonSetSpec.template",
    "DaemonSetSpec.updateStrategy", "DeploymentSpec.strategy", "DeploymentSpec.template",
    "EphemeralContainer.resources", "Event.involvedObject", "Event.source", "IngressStatus.loadBalancer",
    "JobSpec.template", "NodeStatus.daemonEndpoints", "NodeStatus.nodeInfo",
    "NodeDaemonEndpoints.kubeletEndpoint", "ReplicaSetSpec.template",
    "RoleBinding.roleRef", "ClusterRoleBinding.roleRef", "ServiceStatus.loadBalancer", "StatefulSetSpec.template",
    "StatefulSetSpec.updateStrategy",
}  # fmt: skip
# The exception among these: a definition without it has no such subresource.
BY_POINTER = {"CustomResourceSubresources.status"}
# Strings and status integers that Go holds by pointer and whose zero value therefore differs from their absence.
POINTERS = {
    "apiGroup", "storageClassName", "volumeAttributesClassName", "holderIdentity", "preferredHolder",
    "propagationPolicy", "Preconditions.uid", "Preconditions.resourceVersion", "DiscoveryV1EndpointPort.name",
    "collisionCount", "terminatingReplicas", "JobStatus.ready", "JobStatus.terminating", "CronJobSpec.timeZone",
    "DeviceAttribute.string", "DeviceAttribute.version",
}  # fmt: skip

# Status integers that are not required but written even when they are zero: typed clients insist on them.
WRITTEN_ZEROS = {
    "PodDisruptionBudgetStatus.currentHealthy", "PodDisruptionBudgetStatus.desiredHealthy",
    "PodDisruptionBudgetStatus.disruptionsAllowed", "PodDisruptionBudgetStatus.expectedPods",
    "StatefulSetStatus.availableReplicas",
}  # fmt: skip

# Where two API groups use one name, the first group in this list keeps it; the others are prefixed: EventsV1Event.
PREFERRED = [
    "core.v1", "apps.v1", "batch.v1", "rbac.v1", "policy.v1", "authentication.v1", "autoscaling.v2",
    "scheduling.v1beta1",
]  # fmt: skip


@cache
def definitions() -> dict[str, Definition]:
    """Every definition of the published schema by its full name, such as `io.k8s.api.core.v1.Pod`, and our own."""
    return msgspec.json.decode(path().read_bytes())["$defs"] | measurements.DEFINITIONS  # type: ignore[no-any-return]


def path() -> Path:
    """The definitions file. WHERRY_SCHEMA names it where the package was reduced to it (the component image)."""
    if named := os.environ.get("WHERRY_SCHEMA"):
        return Path(named)
    spec = importlib.util.find_spec("kubernetes_validate")
    if spec is None or spec.origin is None:
        raise RuntimeError("the published schema is missing: install kubernetes-validate or set WHERRY_SCHEMA")
    return Path(spec.origin).parent / "kubernetes-json-schema" / f"{VERSION}-local" / "_definitions.json"


@cache
def names() -> dict[str, str]:
    """The Python name of each definition → its full name."""
    by_short: dict[str, list[str]] = {}
    for full in definitions():
        by_short.setdefault(full.rsplit(".", 1)[1], []).append(full)

    def rank(full: str) -> tuple[int, int, str]:
        group, version = full.split(".")[-3:-1]
        at = PREFERRED.index(f"{group}.{version}") if f"{group}.{version}" in PREFERRED else len(PREFERRED)
        return at, "alpha" in version or "beta" in version, full

    found: dict[str, str] = {}
    for short, fulls in by_short.items():
        first, *others = sorted(fulls, key=rank)
        found[short] = first
        for full in others:
            group, version = full.split(".")[-3:-1]
            found[group.capitalize() + version.capitalize() + short] = full
    return found


@cache
def name_of() -> dict[str, str]:
    """The full name of each definition → its Python name."""
    return {full: name for name, full in names().items()}


class Field(NamedTuple):
    """One property of a definition, as Python sees it; `hint` is the annotation that a type checker sees."""

    name: str
    type: Any
    hint: str
    default: Any = None
    default_factory: Callable[[], Any] | None = None


class Builder:
    """Builds Structs by their Python name, each once, with everything they refer to.

    Not safe to call from two threads at once.
    """

    def __init__(self, module: str, *, forbid_unknown_fields: bool = False) -> None:
        self.module = module
        self.forbid_unknown_fields = forbid_unknown_fields
        self.built: dict[str, type[msgspec.Struct]] = {}
        self.building: set[str] = set()

    def build(self, name: str) -> type[msgspec.Struct]:
        """The Struct called `name`; raises KeyError if the schema has none."""
        if name in self.built:
            return self.built[name]
        full = names()[name]
        self.building.add(name)
        fields = [
            (f.name, f.type, msgspec.field(default_factory=f.default_factory))
            if f.default_factory
            else (f.name, f.type, msgspec.field(default=f.default))
            for f in self.fields(name)
        ]
        struct = msgspec.defstruct(
            name,
            [(attribute(n), t, f) for n, t, f in fields],
            module=self.module,
            namespace={"__doc__": definitions()[full].get("description", name)},
            omit_defaults=True,
            forbid_unknown_fields=self.forbid_unknown_fields,
            kw_only=True,
            gc=False,  # documents are trees: reference counting frees them, and the collector need not walk them
            rename={attribute(n): n for n, _, _ in fields},
        )
        self.building.discard(name)
        self.built[name] = struct
        return struct

    def fields(self, name: str) -> list[Field]:
        """The fields of the definition called `name`, the ones that identify an object first."""
        definition = definitions()[names()[name]]
        required = set(definition.get("required", ()))
        properties = definition.get("properties", {})
        first = [p for p in ("apiVersion", "kind", "metadata") if p in properties]
        return [
            self._field(name, p, properties[p], p in required)
            for p in first + [p for p in properties if p not in first]
        ]

    def _field(self, owner: str, name: str, prop: Definition, required: bool) -> Field:
        qualified = f"{owner}.{name}"
        if "enum" in prop and name in ("apiVersion", "kind"):
            return Field(name, str, "str", default_factory=constant(prop["enum"][0]))
        reference = prop.get("$ref", "").removeprefix(PREFIX)
        if reference and reference not in SCALARS and reference not in FREE_FORM:
            target, hint = self._reference(reference)
            by_value = (qualified in BY_VALUE or name in BY_VALUE) and qualified not in BY_POINTER
            if by_value and not isinstance(target, str):
                return Field(name, target, hint, default_factory=always(target))
            return Field(name, optional(target), f"{hint} | None")
        kind, hint = self._type(prop)
        if hint.startswith("list["):
            return Field(name, kind, hint, default_factory=always(list) if required else list)
        if hint.startswith("dict["):
            return Field(name, kind, hint, default_factory=always(dict) if required else dict)
        pointer = qualified in POINTERS or name in POINTERS
        told = owner.endswith("Status") and hint in ("int", "bool") and not pointer
        if told and (required or qualified in WRITTEN_ZEROS):
            return Field(name, kind, hint, default_factory=constant(0 if hint == "int" else False))
        if required and not pointer:
            return Field(name, optional(kind), hint)
        if kind is str and not pointer:
            return Field(name, str, "str", default="")
        if told and hint == "int":
            return Field(name, kind, "int", default=0)
        return Field(name, optional(kind), hint if kind is Any else f"{hint} | None")

    def _reference(self, full: str) -> tuple[Any, str]:
        if full in SCALARS:
            kind = SCALARS[full]
            return kind, {str: "str", int | str: "int | str"}.get(kind, "str")
        if full in FREE_FORM:
            return Any, "Any"
        name = name_of()[full]
        if name in self.building:  # a schema that contains itself
            return name, name
        return self.build(name), name

    def _type(self, prop: Definition) -> tuple[Any, str]:
        if "$ref" in prop:
            return self._reference(prop["$ref"].removeprefix(PREFIX))
        kinds = prop.get("type")
        kind = next((k for k in kinds if k != "null"), None) if isinstance(kinds, list) else kinds
        if kind == "array":
            item, hint = self._type(prop["items"])
            return (f"list[{item}]" if isinstance(item, str) else list.__class_getitem__(item)), f"list[{hint}]"
        if kind == "object":
            if "additionalProperties" not in prop:
                return dict[str, Any], "dict[str, Any]"
            item, hint = self._type(prop["additionalProperties"])
            kind = f"dict[str, {item}]" if isinstance(item, str) else dict.__class_getitem__((str, item))
            return kind, f"dict[str, {hint}]"
        if kind == "integer":
            return (Int64 if prop.get("format") == "int64" else Int32), "int"
        return {"string": (str, "str"), "boolean": (bool, "bool"), "number": (int | float, "float")}.get(
            kind or "", (Any, "Any")
        )


def attribute(name: str) -> str:
    """The Python attribute for a JSON field: `from` becomes `from_`, `$ref` becomes `_ref`."""
    return f"{name}_" if keyword.iskeyword(name) or name in ("bool", "int", "str") else re.sub(r"\W", "_", name)


def optional(kind: Any) -> Any:
    """`kind` or None, where `kind` may be the name of a Struct that is still being built."""
    return f"{kind} | None" if isinstance(kind, str) else kind if kind is Any else kind | None


def constant(value: T) -> Callable[[], T]:
    """A factory for a value that is written even when nobody set it (msgspec leaves plain defaults out)."""
    return lambda: value


def always(factory: Callable[[], Any]) -> Callable[[], Any]:
    """A factory that msgspec does not recognise as that of an empty container, so that the empty one is written."""
    return lambda: factory()


def stub() -> str:
    """The text of `types.pyi`: what a type checker and an editor know of the Structs."""
    builder = Builder("api.types")
    out = ["# Written by `python -m api.schema`; never committed.", "from typing import Any", "", "import msgspec", ""]
    for name in sorted(names()):
        fields = builder.fields(name)
        out.append(f"class {name}(msgspec.Struct, kw_only=True):")
        out.extend(f"    {attribute(f.name)}: {f.hint} = ..." for f in fields)
        out.append("    ..." if not fields else "")
    return "\n".join(out) + "\n"


if __name__ == "__main__":
    print(stub(), end="")
