"""Custom objects selected by what a webhook makes of them.

The storage's index knows documents as they are stored, so fields of a definition with a conversion webhook are asked
for after conversion: of lists, and of each event of a watch, which then tells what starts and stops to match as the
storage does it for everything else.
"""

from collections.abc import AsyncIterator, Iterable
from typing import Any

import msgspec

from api import fields
from api.errors import Expired
from api.kinds import Kind
from api.meta import Key
from apiserver.customs import jsonpaths
from apiserver.customs.viewing import Views
from apiserver.registry.reading import Batches, Events, Reading
from apiserver.requests import Event, ListOptions, Request, WatchOptions
from apiserver.storage import documents


def split(kind: Kind, text: str) -> tuple[str, fields.Selector]:
    """A field selector as the part that stored documents answer, and the terms that need conversion.

    Raises BadRequest.
    """
    if not text or kind.shape.definition.webhook is None:
        return text, fields.EVERYTHING
    terms = fields.parse(text).terms
    late = fields.Selector(tuple(term for term in terms if term[0] in kind.shape.selectable))
    return str(fields.Selector(tuple(term for term in terms if term not in late.terms))), late


def matches(kind: Kind, selector: fields.Selector, document: bytes) -> bool:
    """Whether a converted document has what the selector demands."""
    tree = msgspec.json.decode(document)
    paths = kind.shape.selectable_paths
    return selector.matches({field: _text(jsonpaths.find(paths[field], tree)) for field, _, _ in selector.terms})


def _text(found: list[Any]) -> str:
    value = found[0] if found else ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


async def known(
    reading: Reading, views: Views, request: Request, options: WatchOptions, selector: fields.Selector
) -> list[bytes]:
    """What matched at the revision at which a watch begins; nothing, where it begins with all there is.

    A revision that is too old is for the watch to tell of.
    """
    if options.send_initial_events or options.resource_version in ("", "0"):
        return []
    field_selector = options.field_selector
    if request.name:
        field_selector = ",".join(filter(None, (f"metadata.name={request.name}", field_selector)))
    wanted = ListOptions(options.label_selector, field_selector, options.resource_version, "Exact")
    try:
        found = await reading.list(request.at(name=""), wanted)
    except Expired:
        return []
    converted = await views.documents(request.kind, [item.document for item in found.items])
    return [document for document in converted if matches(request.kind, selector, document)]


async def seen_through(
    kind: Kind, selector: fields.Selector, batches: Batches, before: Iterable[bytes]
) -> AsyncIterator[Events]:
    """The converted events of a watch of everything, as a watch with this selector has them."""
    matching = {_key(document): document for document in before}
    async for batch in batches:
        told = [event for each in batch if (event := _seen(kind, selector, matching, each))]
        if told:
            yield told


def _seen(kind: Kind, selector: fields.Selector, matching: dict[Key, bytes], event: Event) -> Event | None:
    if event.type in ("BOOKMARK", "ERROR"):
        return event
    key = _key(event.document)
    last = matching.pop(key, None)
    if event.type == "DELETED":
        return event if last is not None else None
    if matches(kind, selector, event.document):
        matching[key] = event.document
        return Event("MODIFIED" if last is not None else "ADDED", event.document)
    if last is None:
        return None
    return Event("DELETED", documents.moved(last, _revision(event.document)))


class _Metadata(msgspec.Struct):
    name: str = ""
    namespace: str = ""
    resourceVersion: str = "0"


class _Document(msgspec.Struct):
    metadata: _Metadata


_decode = msgspec.json.Decoder(_Document).decode


def _key(document: bytes) -> Key:
    metadata = _decode(document).metadata
    return Key(metadata.namespace, metadata.name)


def _revision(document: bytes) -> int:
    return int(_decode(document).metadata.resourceVersion)
