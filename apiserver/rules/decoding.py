"""Documents → typed objects, and upstream's words for documents that cannot be one.

The fast path is one decoding by msgspec.  Only a document that it refuses is walked in Python: to read nulls as Go
does, and to find what Go would complain about first.
"""

from functools import cache
from typing import Any, TypeVar

import msgspec

from api import kinds, meta, schema
from api.errors import BadRequest
from api.kinds import Kind
from apiserver import syntax
from apiserver.rules import scalars, strictness
from apiserver.rules.mismatches import first_mismatch, first_unrestorable, without_nulls
from apiserver.rules.shapes import struct

T = TypeVar("T")
SCHEME = "pkg/api/legacyscheme/scheme.go:30"
_plain = msgspec.json.Decoder()
_PARTS = "apiVersion", "kind"


class _Identity(msgspec.Struct):
    apiVersion: str | None = None
    kind: str | None = None


_identity = msgspec.json.Decoder(_Identity)


def decode(kind: Kind, document: bytes, *, validation: str = "") -> tuple[Any, list[str]]:
    """The object in a document that was sent to the path of `kind`, and the warnings about it.

    `validation` is Strict, Warn or Ignore ("" is Warn, as upstream): what to do about fields that are unknown or given
    twice.  Quantities come out in canonical form.  An absent apiVersion or kind is taken from the path.
    Raises BadRequest.
    """
    if document.strip() == b"null":  # which Go reads as nothing said
        document = b"{}"
    identity = _identify(kind, document)
    clean = None
    try:
        obj = meta.decode(document, kind.type)
    except (msgspec.ValidationError, UnicodeDecodeError, RecursionError):
        obj, clean = _decode_slowly(kind, document)
    try:
        scalars.settle(obj, full_name(kind))
    except ValueError as e:
        raise unfit(kind, str(e)) from e
    try:
        warnings = [] if validation == "Ignore" else strictness.faults(kind, full_name(kind), document, clean)
    except RecursionError as e:  # in a part of the document that the kind does not have
        raise unreadable(kind, document) from e
    if warnings and validation == "Strict":
        raise unfit(kind, "strict decoding error: " + ", ".join(warnings))
    _check_version(kind, identity)
    obj.apiVersion, obj.kind = kind.api_version, kind.name
    return obj, warnings


def read(type_: type[T], document: bytes) -> T:
    """What is sent to a subresource and is of another kind than the path: a Scale, a Binding, a TokenRequest.

    Nulls are read as Go reads them: its own clients send `creationTimestamp: null`.  Raises BadRequest.
    """
    name = type_.__name__
    try:
        return meta.decode(document, type_)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
        shape = struct(schema.names()[name])
        try:
            raw = _plain.decode(document)
            why = first_mismatch(raw, shape) or ""
            if not why:
                return msgspec.convert(without_nulls(raw, shape), type_)
        except msgspec.ValidationError:
            why = str(e)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            why = syntax.fault_of(document)
        raise BadRequest(f'{name} in version "v1" cannot be handled as a {name}: {why}') from e


@cache
def full_name(kind: Kind) -> str:
    """The full name of the kind's definition in the schema."""
    return schema.names()[kind.type.__name__]


def unrestorable(kind: Kind, tree: dict[str, Any]) -> str | None:
    """Why a tree that was never text cannot become an object of the kind, in upstream's other words for that."""
    return first_unrestorable(tree, struct(full_name(kind)))


def _decode_slowly(kind: Kind, document: bytes) -> tuple[Any, Any]:
    """A document that msgspec refuses as it is: with nulls, or truly wrong.  Also the document without the nulls."""
    shape = struct(full_name(kind))
    try:
        raw = _plain.decode(document)
        if mismatch := first_mismatch(raw, shape):
            raise unfit(kind, mismatch)
        clean = without_nulls(raw, shape)
        return msgspec.convert(clean, kind.type), clean
    except (UnicodeDecodeError, RecursionError) as e:
        raise unreadable(kind, document) from e
    except msgspec.ValidationError as e:  # Go's decoder and msgspec disagree: better a general word than a stored fault
        raise unfit(kind, f"json: {str(e).partition(' - at')[0].lower()}") from e


def _identify(kind: Kind, document: bytes) -> _Identity:
    """apiVersion and kind of the document; raises BadRequest where it is no JSON object, or of another kind."""
    try:
        identity = _identity.decode(document)
    except msgspec.ValidationError as e:
        raise unrecognized(kind, document, _not_an_object(document)) from e
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise unreadable(kind, document) from e
    body_version, body_kind = identity.apiVersion or kind.api_version, identity.kind or kind.name
    if body_kind == kind.name and body_version == kind.api_version:
        return identity
    other = kinds.by_name(body_version, body_kind)
    version = body_version.rpartition("/")[2]
    same_group = body_version.rpartition("/")[0] == kind.group
    if other is None and not (body_kind == kind.name and same_group):
        why = f'no kind "{body_kind}" is registered for version "{body_version}" in scheme "{SCHEME}"'
        raise BadRequest(f'{body_kind} in version "{version}" cannot be handled as a {kind.name}: {why}')
    if body_kind != kind.name:
        into = f"converting ({version}.{body_kind}) to ({kind.group.split('.')[0] or 'core'}.{kind.name})"
        why = f"{into}: unknown conversion"
        raise BadRequest(f'{body_kind} in version "{version}" cannot be handled as a {kind.name}: {why}')
    return identity


def _check_version(kind: Kind, identity: _Identity) -> None:
    if identity.apiVersion and identity.apiVersion != kind.api_version:
        raise BadRequest(
            f"the API version in the data ({identity.apiVersion}) does not match the expected API version "
            f"({kind.api_version})"
        )


def _not_an_object(document: bytes) -> str:
    go = 'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
    try:
        raw = _plain.decode(document)
    except msgspec.ValidationError as e:
        return f"couldn't get version/kind; json parse error: {str(e).partition(' - at')[0].lower()}"
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return f"couldn't get version/kind; json parse error: {syntax.fault_of(document)}"
    if isinstance(raw, dict):
        name = next(n for n in _PARTS if raw.get(n) is not None and not isinstance(raw[n], str))
        value, target = raw[name], f"struct field .{name} of type string"
    else:
        value, target = raw, f"value of type {go}"
    shown = {list: "array", str: "string", bool: "bool", dict: "object"}.get(type(value), "number")
    return f"couldn't get version/kind; json parse error: json: cannot unmarshal {shown} into Go {target}"


def unreadable(kind: Kind, document: bytes) -> BadRequest:
    return unrecognized(kind, document, f"couldn't get version/kind; json parse error: {syntax.fault_of(document)}")


def unrecognized(kind: Kind, document: bytes, why: str) -> BadRequest:
    return BadRequest(
        f"the object provided is unrecognized (must be of type {kind.name}): {why} ({_summary(document)})"
    )


class UnfitDocument(BadRequest):
    """What was sent is no object of the kind; `why` says it without naming the kind."""

    why = ""


def unfit(kind: Kind, why: str) -> UnfitDocument:
    fault = UnfitDocument(f'{kind.name} in version "{kind.version}" cannot be handled as a {kind.name}: {why}')
    fault.why = why
    return fault


def _summary(document: bytes) -> str:
    """The first 30 bytes: as text if they begin an object, else in hexadecimal."""
    if not document:
        return "<empty>"
    head = document[:30]
    shown = head.decode("utf-8", errors="replace") if head[:1] == b"{" else head.hex()
    return shown + (" ..." if len(document) > 30 else "")
