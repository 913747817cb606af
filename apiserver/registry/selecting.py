"""Selectors and continue tokens: what of a resource a list or watch is about, read from the query's text."""

import base64
import binascii
import json
import posixpath

import msgspec

from api import fields, labels
from api.errors import BadRequest
from api.kinds import Kind
from apiserver.storage.indexing import COMMON, Index
from apiserver.storage.tables import EVERYTHING, Filter
from machinery.remembering import remembered


def filter_for(kind: Kind, index: Index, label_selector: str, field_selector: str) -> Filter:
    """Raises BadRequest for a selector that cannot be read, or a field that the kind cannot be selected by."""
    if not label_selector and not field_selector:
        return EVERYTHING
    found = _filter(label_selector, field_selector)
    for field, _, _ in found.fields.terms:
        if kind.custom:
            _check_custom(kind, field)
        elif field not in index.selectable:
            if index.selectable == COMMON:
                known = '"metadata.name", "metadata.namespace"'
                raise BadRequest(f'"{field}" is not a known field selector: only {known}')
            raise BadRequest(f"field label not supported: {field}")
    return found


def _check_custom(kind: Kind, field: str) -> None:
    known = field in kind.shape.selectable or field == "metadata.name"
    if not known and not (field == "metadata.namespace" and kind.namespaced):
        raise BadRequest(f"field label not supported: {field}")


@remembered(4096)
def _filter(label_selector: str, field_selector: str) -> Filter:
    return Filter(labels.parse(label_selector), fields.parse(field_selector))


LATEST = -1
"""The revision in tokens for lists that go on although what they began with is compacted."""


class Token(msgspec.Struct, rename={"version": "v", "revision": "rv"}):
    """Where a list goes on: upstream's own form. `start` is the first key of the next page."""

    version: str
    revision: int
    start: str


_INVALID = "invalid continue token: continue key is not valid"


def token(revision: int, last: str) -> str:
    """The token for what follows the object whose key within its resource is `last`."""
    document = msgspec.json.encode(Token("meta.k8s.io/v1", revision, last + "\0"))
    return base64.urlsafe_b64encode(document).rstrip(b"=").decode()


def read_token(text: str) -> tuple[int, str]:
    """(revision, key of the last object served).  Raises BadRequest."""
    try:
        found = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=Token)
    except (binascii.Error, msgspec.MsgspecError, ValueError) as e:
        raise BadRequest(f"{_INVALID}: {e}") from e
    if found.version != "meta.k8s.io/v1":
        raise BadRequest(f"{_INVALID}: server does not recognize this encoded version {found.version}")
    if found.revision < LATEST or found.revision == 0:
        raise BadRequest(f"{_INVALID}: incorrect encoded start resourceVersion (version meta.k8s.io/v1)")
    if not found.start:
        raise BadRequest(f"{_INVALID}: encoded start key empty (version meta.k8s.io/v1)")
    start = found.start.removesuffix("\0")
    if not start or posixpath.normpath(f"/{start}") != f"/{start}":
        raise BadRequest(f"{_INVALID}: {found.start}")
    return found.revision, start


def revision(text: str) -> int:
    """A resourceVersion that was given; 0 for "" and "0".  Raises BadRequest in upstream's words."""
    try:
        return _number(text)
    except ValueError as e:
        why = f"resourceVersion: Invalid value: {json.dumps(text, ensure_ascii=False)}: {e}"
        raise BadRequest(f"invalid resource version: {why}") from None


def written_revision(text: str) -> int:
    """As `revision`, of an object that shall be written. Upstream's answer is a bare 500 in these words."""
    try:
        return _number(text)
    except ValueError as e:
        raise BadRequest(str(e)) from None


def _number(text: str) -> int:
    if not text:
        return 0
    why = "value out of range"
    if not text.isdecimal() or not text.isascii():
        why = "invalid syntax"
    elif len(text) < 30 and (number := int(text)) < 2**64:
        return number
    raise ValueError(f"strconv.ParseUint: parsing {json.dumps(text, ensure_ascii=False)}: {why}")
