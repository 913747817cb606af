"""Stored documents → lists and partial objects, by joining bytes: nothing is decoded but what is asked for."""

from collections.abc import Iterable

import msgspec

from api.kinds import Kind
from apiserver.requests import Listing


class Outline(msgspec.Struct):
    """The metadata of any object, undecoded."""

    metadata: msgspec.Raw = msgspec.Raw(b"{}")


_outline = msgspec.json.Decoder(Outline)


def metadata_of(document: bytes) -> bytes:
    """The JSON of an object's metadata."""
    return bytes(_outline.decode(document).metadata)


def list_metadata(listing: Listing) -> bytes:
    parts = [b'{"resourceVersion":"', listing.resource_version.encode(), b'"']
    if listing.continue_:
        parts += [b',"continue":', msgspec.json.encode(listing.continue_)]
    if listing.remaining:
        parts += [b',"remainingItemCount":', str(listing.remaining).encode()]
    return b"".join((*parts, b"}"))


def whole_list(kind: Kind, listing: Listing) -> bytes:
    """The list object of a kind: `PodList` with its items."""
    return _list(f"{kind.name}List", kind.api_version, listing, (item.document for item in listing.items))


def partial(document: bytes, version: str = "v1") -> bytes:
    """A PartialObjectMetadata."""
    return b"".join(
        (
            b'{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/', version.encode(), b'","metadata":',
            _outline.decode(document).metadata, b"}",
        )
    )  # fmt: skip


def partial_list(listing: Listing, version: str = "v1") -> bytes:
    items = (partial(item.document, version) for item in listing.items)
    return _list("PartialObjectMetadataList", f"meta.k8s.io/{version}", listing, items)


def list_head(kind: str, api_version: str, listing: Listing) -> bytes:
    """A list up to its first item."""
    head = f'{{"kind":"{kind}","apiVersion":"{api_version}","metadata":'.encode()
    return b"".join((head, list_metadata(listing), b',"items":['))


def _list(kind: str, api_version: str, listing: Listing, items: Iterable[bytes]) -> bytes:
    return b"".join((list_head(kind, api_version, listing), b",".join(items), b"]}\n"))


class Identity(msgspec.Struct):
    """What a document says it is."""

    apiVersion: str = ""
    kind: str = ""


_identity = msgspec.json.Decoder(Identity)


def kind_of(document: bytes) -> Identity:
    return _identity.decode(document)
