"""What the published schema says about each field, in the few kinds of value that decoding distinguishes.

`shape_of` turns a property of a definition into a Shape once; everything that walks raw documents (nulls, unknown
fields, type errors, quantities) walks Shapes.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

from api import schema

QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
SCALARS = {
    QUANTITY: "quantity",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "intorstring",
    schema.META + "Time": "time",
    schema.META + "MicroTime": "time",
}


@dataclass(frozen=True, slots=True)
class Shape:
    """`kind` is one of struct list map string bytes int bool number quantity intorstring time free."""

    kind: str
    go: str
    """The type as Go prints it: int32, v1.PodSpec, []v1.Container, map[string]string."""
    name: str = ""
    """Of a struct: its full name in the schema."""
    inner: "Shape | None" = None
    """Of a list or map: what is in it."""

    @property
    def struct(self) -> str:
        """Of a struct: its name in Go."""
        return self.go.rpartition(".")[2]

    def fields(self) -> "dict[str, Shape]":
        """Of a struct: its fields."""
        return _fields(self.name)


FREE = Shape("free", "interface {}")


@cache
def struct(full: str) -> Shape:
    """The shape of the definition with that full name."""
    version, name = full.split(".")[-2:]
    return Shape("struct", f"{version}.{name}", full)


@cache
def _fields(full: str) -> dict[str, Shape]:
    properties = schema.definitions()[full].get("properties", {})
    owner = full.rpartition(".")[2]
    return {name: _named(owner, name, shape_of(prop)) for name, prop in properties.items()}


def shape_of(prop: dict[str, Any]) -> Shape:
    """The shape of one property of a definition."""
    if "$ref" in prop:
        full = prop["$ref"].removeprefix(schema.PREFIX)
        if full in SCALARS:
            scalar = SCALARS[full]
            return Shape(scalar, {"quantity": "resource.Quantity", "time": "v1.Time"}.get(scalar, "intstr.IntOrString"))
        return FREE if full in schema.FREE_FORM else struct(full)
    kinds = prop.get("type")
    kind = next((k for k in kinds if k != "null"), None) if isinstance(kinds, list) else kinds
    match kind:
        case "array":
            item = shape_of(prop["items"])
            return Shape("list", f"[]{item.go}", inner=item)
        case "object" if "additionalProperties" in prop:
            item = shape_of(prop["additionalProperties"])
            return Shape("map", f"map[string]{item.go}", inner=item)
        case "string":
            return Shape("bytes", "[]uint8") if prop.get("format") == "byte" else Shape("string", "string")
        case "integer":
            return Shape("int", "int64" if prop.get("format") == "int64" else "int32")
        case "boolean":
            return Shape("bool", "bool")
        case "number":
            return Shape("number", "float64")
    return FREE


# Strings that have a type of their own in Go, which its error messages name. The schema does not tell.
GO_STRINGS = {
    "ContainerPort.protocol": "v1.Protocol", "ServicePort.protocol": "v1.Protocol", "Container.imagePullPolicy":
    "v1.PullPolicy", "PodSpec.restartPolicy": "v1.RestartPolicy", "PodSpec.dnsPolicy": "v1.DNSPolicy",
    "ServiceSpec.type": "v1.ServiceType", "ServiceSpec.sessionAffinity": "v1.ServiceAffinity", "Secret.type":
    "v1.SecretType", "ObjectMeta.uid": "types.UID", "OwnerReference.uid": "types.UID", "ObjectReference.uid":
    "types.UID", "Toleration.operator": "v1.TolerationOperator", "Toleration.effect": "v1.TaintEffect",
    "Taint.effect": "v1.TaintEffect", "DeploymentStrategy.type": "v1.DeploymentStrategyType",
    "LabelSelectorRequirement.operator": "v1.LabelSelectorOperator", "EndpointSlice.addressType": "v1.AddressType",
    "HTTPGetAction.scheme": "v1.URIScheme", "PodStatus.phase": "v1.PodPhase",
    "Container.terminationMessagePolicy": "v1.TerminationMessagePolicy",
    "VolumeMount.mountPropagation": "v1.MountPropagationMode",
}  # fmt: skip


def _named(owner: str, name: str, shape: Shape) -> Shape:
    go = GO_STRINGS.get(f"{owner}.{name}")
    return Shape("string", go) if go and shape.kind == "string" else shape
