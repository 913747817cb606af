"""The schemas of custom kinds as OpenAPI documents have them.

Version 3 shows everything, version 2 what it can say.
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#publish-validation-schema-in-openapi
"""

from typing import Any

from api import schema as published_schema
from apiserver.customs.schemas import Schema

Tree = dict[str, Any]
V3 = "#/components/schemas/"
CONVENTIONS = "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md"
API_VERSION = (
    "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized "
    f"schemas to the latest internal value, and may reject unrecognized values. More info: {CONVENTIONS}#resources"
)
KIND = (
    "Kind is a string value representing the REST resource this object represents. Servers may infer this from the "
    f"endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: {CONVENTIONS}#types-kinds"
)
METADATA = f"Standard object's metadata. More info: {CONVENTIONS}#metadata"
# Said for every kind of version 2 by nobody: validators of that version would misunderstand them.
_ONLY_IN_3 = ("allOf", "anyOf", "default", "nullable", "not", "oneOf", "x-kubernetes-validations")


def referring(reference: str, description: str, prefix: str) -> Tree:
    """A property that is a reference, with a description of its own."""
    if prefix == V3:
        return {"description": description, "allOf": [{"$ref": reference}]}
    return {"description": description, "$ref": reference}


def published(schema: Schema, prefix: str) -> Tree:
    if prefix != V3 and schema.open:
        # kubectl takes the properties for all there are, so none may be named where more are welcome.
        return {"type": "object"}
    found = schema.source if prefix == V3 else _second(schema.source)
    return {**found, "properties": {**found.get("properties", {}), **_identity(prefix)}}


def _identity(prefix: str) -> Tree:
    return {
        "apiVersion": {"description": API_VERSION, "type": "string"},
        "kind": {"description": KIND, "type": "string"},
        "metadata": referring(f"{prefix}{published_schema.META}ObjectMeta", METADATA, prefix),
    }


def _second(source: Tree) -> Tree:
    """A schema in the words of version 2."""
    if source.get("x-kubernetes-int-or-string"):
        return {k: v for k, v in source.items() if k in ("description", "x-kubernetes-int-or-string")}
    found = {name: value for name, value in source.items() if name not in _ONLY_IN_3}
    if isinstance(found.get("additionalProperties"), bool):
        del found["additionalProperties"]
    if source.get("nullable"):
        # Null would not have a type, and what is below it could not be said either.
        for name in ("type", "items", "properties", "additionalProperties"):
            found.pop(name, None)
        return found
    if source.get("x-kubernetes-preserve-unknown-fields"):
        # What is let through unseen must not be checked by clients: kubectl takes properties for all there are.
        for name in ("items", "properties", "type"):
            found.pop(name, None)
        return found
    if isinstance(found.get("items"), dict):
        found["items"] = _second(found["items"])
    if isinstance(found.get("additionalProperties"), dict):
        found["additionalProperties"] = _second(found["additionalProperties"])
    if "properties" in found:
        nullable = {name for name, inner in found["properties"].items() if inner.get("nullable")}
        found["properties"] = {name: _second(inner) for name, inner in found["properties"].items()}
        if nullable & set(found.get("required", ())):
            found["required"] = [name for name in found["required"] if name not in nullable]
    return found
