"""Requests about a kind that is stored as another one: asked, read and answered in the form that the client speaks."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import msgspec

from api.kinds import Kind
from api.paths import refusal
from apiserver import rules
from apiserver.customs.viewing import Views
from apiserver.registry import conversion_selecting
from apiserver.registry.reading import Batches, Events, Reading
from apiserver.requests import Event, Listing, ListOptions, Request, WatchOptions
from apiserver.rules import conversions


def stored(request: Request) -> Request:
    """The same request about the kind that is stored."""
    kind = conversions.stored_kind(request.kind)
    return request if kind is request.kind else request.at(kind=kind, asked=request.asked or request.kind)


def converted(request: Request, obj: Any) -> Any:
    """A decoded and defaulted object as the one to be stored, defaulted again.

    Raises Invalid for what the version asks of a new object beyond the stored one; metadata is judged there.
    """
    kind = request.kind
    target = conversions.stored_kind(kind)
    if target is kind:
        return obj
    faults = (
        []
        if request.verb != "create"
        else [fault for fault in rules.validate(kind, obj) if not fault.path.startswith("metadata")]
    )
    if faults:
        raise refusal(kind.group, kind.name, obj.metadata.name, faults)
    found = conversions.to_stored(kind, obj)
    rules.default(target, found)
    return found


async def list(reading: Reading, views: Views, request: Request, options: ListOptions) -> Listing:  # noqa: A001 - the verb
    kind, about = request.kind, stored(request)
    if kind.custom:
        early, late = conversion_selecting.split(kind, options.field_selector)
        found = await _viewed(views, kind, await reading.list(request, replace(options, field_selector=early)))
        if not late:
            return found
        chosen = [item for item in found.items if conversion_selecting.matches(kind, late, item.document)]
        return replace(found, items=chosen, remaining=None)
    if about is request:
        return await reading.list(request, options)
    selector = conversions.field_selector(kind, options.field_selector)
    found = await reading.list(about, replace(options, field_selector=selector))
    items = [msgspec.structs.replace(i, document=conversions.document(kind, i.document)) for i in found.items]
    return replace(found, items=items)


async def watch(reading: Reading, views: Views, request: Request, options: WatchOptions) -> Batches:
    kind, about = request.kind, stored(request)
    if kind.custom:
        early, late = conversion_selecting.split(kind, options.field_selector)
        options = replace(options, field_selector=early, sink=None)
        before = await conversion_selecting.known(reading, views, request, options, late) if late else []
        events = _followed(views, kind, await reading.watch(request, options))
        return conversion_selecting.seen_through(kind, late, events, before) if late else events
    if about is request:
        return await reading.watch(request, options)
    selector = conversions.field_selector(kind, options.field_selector)
    return _converted(kind, await reading.watch(about, replace(options, field_selector=selector, sink=None)))


async def _converted(kind: Kind, batches: Batches) -> AsyncIterator[Events]:
    async for batch in batches:
        yield [Event(event.type, conversions.document(kind, event.document)) for event in batch]


async def _viewed(views: Views, kind: Kind, found: Listing) -> Listing:
    """A list of custom objects in the version that was asked for."""
    documents = await views.documents(kind, [item.document for item in found.items])
    items = [
        item if document is item.document else msgspec.structs.replace(item, document=document)
        for item, document in zip(found.items, documents, strict=True)
    ]
    return replace(found, items=items)


async def _followed(views: Views, kind: Kind, batches: Batches) -> AsyncIterator[Events]:
    async for batch in batches:
        yield await views.events(kind, batch)
