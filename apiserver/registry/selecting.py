"""Selectors and continue tokens: what of a resource a list or watch is about, read from the query's text."""

import base64
import binascii
from functools import lru_cache

import msgspec

from api import fields, labels
from api.errors import BadRequest
from api.kinds import Kind
from apiserver.storage.indexing import COMMON, Index
from apiserver.storage.tables import EVERYTHING, Filter


def filter_for(kind: Kind, index: Index, label_selector: str, field_selector: str) -> Filter:
    """Raises BadRequest for a selector that cannot be read, or a field that the kind cannot be selected by."""
    if not label_selector and not field_selector:
        return EVERYTHING
    found = _filter(label_selector, field_selector)
    for field, _, _ in found.fields.terms:
        if field not in index.selectable:
            if index.selectable == COMMON:
                known = '"metadata.name", "metadata.namespace"'
                raise BadRequest(f'"{field}" is not a known field selector: only {known}')
            raise BadRequest(f"field label not supported: {field}")
    return found


@lru_cache(maxsize=4096)
def _filter(label_selector: str, field_selector: str) -> Filter:
    return Filter(labels.parse(label_selector), fields.parse(field_selector))


class Token(msgspec.Struct, rename={"version": "v", "revision": "rv"}):
    """Where a list goes on: upstream's own form. `start` is the first key of the next page."""

    version: str
    revision: int
    start: str


def token(revision: int, last: str) -> str:
    """The token for what follows the object whose key within its resource is `last`."""
    document = msgspec.json.encode(Token("meta.k8s.io/v1", revision, last + "\0"))
    return base64.urlsafe_b64encode(document).rstrip(b"=").decode()


def read_token(text: str) -> tuple[int, str]:
    """(revision, key of the last object served).  Raises BadRequest."""
    try:
        found = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=Token)
    except (binascii.Error, msgspec.MsgspecError, ValueError) as e:
        raise BadRequest(f"continue key is not valid: {e}") from e
    if found.version != "meta.k8s.io/v1":
        raise BadRequest(f'continue key is not valid: server does not recognize this encoded version "{found.version}"')
    if found.revision <= 0 or not found.start.endswith("\0"):
        raise BadRequest("continue key is not valid: incorrect encoded start resourceVersion (version meta.k8s.io/v1)")
    return found.revision, found.start[:-1]


def revision(text: str) -> int:
    """A resourceVersion that was given; 0 for "" and "0".  Raises BadRequest in upstream's words."""
    if not text:
        return 0
    if not text.isdecimal() or not text.isascii():
        raise BadRequest(f'Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax')
    return int(text)
