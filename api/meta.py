"""What all objects have in common: identity, owners, conditions, encoding, copies.

An object may be treated as immutable by whoever got it from a cache; `clone` makes one's own.
"""

from functools import cache
from typing import Any, NamedTuple, TypeVar

import msgspec

from api import custom, kinds
from api.types import ObjectMeta, OwnerReference

T = TypeVar("T")
_encoder = msgspec.json.Encoder(enc_hook=custom.encoding_hook)
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


class Key(NamedTuple):
    """What names an object within its kind; `namespace` is "" for a cluster-scoped one."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class PartialObject(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """Any object, of which only identity and metadata are known (upstream: PartialObjectMetadata). See `partial`."""

    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)


@cache
def partial(kind: kinds.Kind) -> type[PartialObject]:
    """The type of objects of `kind` that carry nothing but their metadata: what a client asks for to save the rest."""
    return msgspec.defstruct(
        f"Partial{kind.name}",
        [
            ("apiVersion", str, msgspec.field(default_factory=lambda: kind.api_version)),
            ("kind", str, msgspec.field(default_factory=lambda: kind.name)),
        ],
        bases=(PartialObject,), namespace={"KIND": kind}, kw_only=True, omit_defaults=True, gc=False,
    )  # type: ignore[return-value]  # fmt: skip


def encode(obj: Any) -> bytes:
    """The JSON document of a Struct, CustomObject, dict or list."""
    return _encoder.encode(obj)


def tree(obj: Any) -> dict[str, Any]:
    """The document of an object as dicts and lists. It may share parts with the object: to be read, not changed."""
    return msgspec.to_builtins(obj, enc_hook=custom.encoding_hook)  # type: ignore[no-any-return]


def decode(document: bytes, type_: type[T]) -> T:
    """A JSON document that the API server wrote → Struct.  Raises msgspec.ValidationError."""
    decoder = _decoders.get(type_)
    if decoder is None:
        decoder = _decoders[type_] = msgspec.json.Decoder(type_, dec_hook=custom.decoding_hook)
    return decoder.decode(document)  # type: ignore[no-any-return]


def clone(obj: T) -> T:
    """A copy that shares nothing with `obj`. Encoding and decoding is ten times faster than copy.deepcopy."""
    return decode(_encoder.encode(obj), type(obj))


def assign(obj: T, new: T) -> None:
    """Make `obj` say what `new`, an object of the same type, says. They share their parts afterwards."""
    names: tuple[str, ...] = getattr(obj, "__struct_fields__", None) or custom.CustomObject.__slots__
    for name in names:
        setattr(obj, name, getattr(new, name))


def key(obj: Any) -> Key:
    return Key(obj.metadata.namespace, obj.metadata.name)


def controller_of(obj: Any) -> Any | None:
    """The OwnerReference with `controller: true`, or None."""
    return next((o for o in obj.metadata.ownerReferences if o.controller), None)


def is_controlled_by(obj: Any, owner: Any) -> bool:
    reference = controller_of(obj)
    return reference is not None and bool(reference.uid == owner.metadata.uid)


def controller_reference(owner: Any) -> OwnerReference:
    """The reference that marks `owner` as the one controller of an object, blocking its foreground deletion."""
    return OwnerReference(
        apiVersion=owner.apiVersion, kind=owner.kind, name=owner.metadata.name, uid=owner.metadata.uid,
        controller=True, blockOwnerDeletion=True,
    )  # fmt: skip


def condition(obj: Any, type_: str) -> Any | None:
    """The condition of that type in the object's status, or None."""
    return next((c for c in obj.status.conditions if c.type == type_), None)


def is_true(obj: Any, condition_type: str) -> bool:
    found = condition(obj, condition_type)
    return found is not None and found.status == "True"


def set_condition(conditions: list[Any], new: Any) -> bool:
    """Put `new` in the place of the condition of its type. True if anything but its times changed.

    `lastTransitionTime` stays as it was unless the status changed.
    https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md
    """
    for at, old in enumerate(conditions):
        if old.type == new.type:
            if old.status == new.status:
                new.lastTransitionTime = old.lastTransitionTime
            changed = (old.status, old.reason, old.message) != (new.status, new.reason, new.message)
            conditions[at] = new
            return changed
    conditions.append(new)
    return True


def kind_of(obj: Any) -> kinds.Kind:
    return kinds.of(type(obj))
