"""Objects in the version that a webhook asks for, and back."""

import copy
from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol

import msgspec

from api import custom, kinds, meta
from api.errors import ApiError, InternalError
from api.kinds import Kind
from apiserver import rules
from apiserver.admission.attributes import Attributes
from apiserver.rules import conversions

Tree = dict[str, Any]


class Forms(Protocol):
    """How kinds that are served in several versions turn into each other."""

    def equivalents(self, kind: Kind) -> Sequence[Kind]:
        """All kinds under which the same objects are served, `kind` among them."""
        ...

    async def show(self, kind: Kind, obj: Any) -> Tree:
        """The document of an object, of whichever of these kinds it is, as one of `kind`.  Raises ApiError."""
        ...

    async def read(self, kind: Kind, document: bytes, wanted: Kind) -> Any:
        """The object with defaults that a document of `kind` is, as one of `wanted`; of a built-in kind that is the one
        that is stored.  Raises ApiError."""
        ...


class Views(Protocol):
    """apiserver.customs.viewing.Views."""

    async def trees(self, kind: Kind, trees: list[Tree]) -> list[Tree]: ...


class Served:
    """The forms of what is served here; without `views`, custom kinds have but one."""

    def __init__(self, views: Views | None = None) -> None:
        self._views = views

    def equivalents(self, kind: Kind) -> Sequence[Kind]:
        if kind.custom:
            return tuple(kind.shape.definition.served()) if self._views is not None else (kind,)
        return _equivalents(kind)

    async def show(self, kind: Kind, obj: Any) -> Tree:
        tree = meta.tree(obj)
        if kind.custom:
            return tree if obj.apiVersion == kind.api_version else await self._turned(kind, tree)
        return conversions.to_served(kind, tree)

    async def read(self, kind: Kind, document: bytes, wanted: Kind) -> Any:
        obj, _ = rules.decode(kind, document, validation="Ignore")
        rules.default(kind, obj)
        if kind.custom:
            if kind.api_version == wanted.api_version:
                return obj
            return custom.from_tree(await self._turned(wanted, meta.tree(obj)))
        stored = conversions.stored_kind(kind)
        if stored is kind:
            return obj
        found = conversions.to_stored(kind, obj)
        rules.default(stored, found)
        return found

    async def _turned(self, kind: Kind, tree: Tree) -> Tree:
        assert self._views is not None  # else nobody asked for another version
        (found,) = await self._views.trees(kind, [copy.deepcopy(tree)])
        return found


@cache
def _equivalents(kind: Kind) -> Sequence[Kind]:
    stored = conversions.stored_kind(kind)
    return tuple(k for k in kinds.BUILT_IN if conversions.stored_kind(k) is stored)


def is_own(about: Attributes, obj: Any) -> bool:
    """Whether the object is one of the resource's own kind, and not what a subresource takes (Binding, Scale …)."""
    return bool(obj.kind == about.asked.name)


async def show(forms: Forms, about: Attributes, kind: Kind, obj: Any) -> Tree | None:
    """The object for a webhook that asks for `kind`."""
    if obj is None:
        return None
    return await forms.show(kind, obj) if is_own(about, obj) else meta.tree(obj)


async def replace(forms: Forms, about: Attributes, kind: Kind, obj: Any, tree: Any) -> None:
    """Make `obj` what a webhook that saw it as `kind` made of it.  Raises InternalError if that is no such object."""
    document = msgspec.json.encode(tree)
    try:
        if is_own(about, obj):
            meta.assign(obj, await forms.read(kind, document, about.asked))
        else:
            meta.assign(obj, meta.decode(document, type(obj)))
    except ApiError as e:
        why = e.message.partition(f" cannot be handled as a {kind.name}: ")[2] or e.message
        raise InternalError(f"Internal error occurred: {why}") from e
    except msgspec.MsgspecError as e:
        raise InternalError(f"Internal error occurred: json: {e}") from e
