"""Objects of custom kinds: what a CustomResourceDefinition describes, and no Struct can.

Metadata is typed as everywhere; the rest is the document's own dicts and lists.
"""

from typing import Any

import msgspec

from api.types import ObjectMeta

HEAD = ("apiVersion", "kind", "metadata")


class CustomObject:
    """`content` is everything at the top level but apiVersion, kind and metadata: spec, status, or what there is."""

    __slots__ = ("apiVersion", "content", "kind", "metadata")

    def __init__(
        self,
        apiVersion: str = "",
        kind: str = "",
        metadata: ObjectMeta | None = None,
        content: dict[str, Any] | None = None,
    ) -> None:
        self.apiVersion = apiVersion
        self.kind = kind
        self.metadata = ObjectMeta() if metadata is None else metadata
        self.content: dict[str, Any] = {} if content is None else content

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CustomObject):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"CustomObject({self.apiVersion!r}, {self.kind!r}, {self.metadata!r}, {self.content!r})"


def from_tree(tree: dict[str, Any]) -> CustomObject:
    """The object in a document, with which it shares its content.  Raises msgspec.ValidationError."""
    api_version, kind = tree.get("apiVersion") or "", tree.get("kind") or ""
    if not isinstance(api_version, str) or not isinstance(kind, str):
        raise msgspec.ValidationError("apiVersion and kind must be strings")
    metadata = msgspec.convert(tree.get("metadata") or {}, ObjectMeta)
    return CustomObject(api_version, kind, metadata, {name: value for name, value in tree.items() if name not in HEAD})


def to_tree(obj: CustomObject) -> dict[str, Any]:
    """The document of an object, metadata before the content; shares the content."""
    metadata = msgspec.to_builtins(obj.metadata)
    return {"apiVersion": obj.apiVersion, "kind": obj.kind, "metadata": metadata, **obj.content}


def encoding_hook(value: Any) -> Any:
    """What msgspec asks about a type that it does not know."""
    if isinstance(value, CustomObject):
        return to_tree(value)
    raise NotImplementedError(f"no document is made of {type(value).__name__}")


def decoding_hook(type_: type[Any], value: Any) -> Any:
    if type_ is CustomObject and isinstance(value, dict):
        return from_tree(value)
    raise msgspec.ValidationError(f"{value!r} is no {type_.__name__}")
