"""Objects as tables: what `kubectl get` prints is computed here, not by kubectl.

https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from api import meta, types
from api.errors import BadRequest
from api.kinds import Kind
from api.meta import PartialObject
from apiserver.requests import Event, Listing
from apiserver.rest import documents
from apiserver.rest.options import Query
from apiserver.rest.tables import clusters, extensions, networks, pods, volumes, workloads
from apiserver.rest.tables.columns import CUSTOM, NAME_AND_AGE, Printer, name_and_age
from machinery.clocks import Clock

PRINTERS: dict[tuple[str, str], Printer] = {
    **pods.PRINTERS, **workloads.PRINTERS, **networks.PRINTERS, **clusters.PRINTERS, **volumes.PRINTERS,
    **extensions.PRINTERS,
}  # fmt: skip
DEFAULT = Printer("", NAME_AND_AGE, name_and_age)
_AT_ONCE = 200
"""Rows made before others get their turn: 5,000 pods take a fifth of a second."""


def include_object(query: Query) -> str:
    """None, Metadata or Object: what comes with each row.  Raises BadRequest."""
    value = query.get("includeObject", "") or "Metadata"
    if value not in ("None", "Metadata", "Object"):
        raise BadRequest(f'unrecognized includeObject value: "{value}"')
    return value


def printer_of(document: bytes, kind: Kind | None = None) -> Printer:
    """The table of whatever a document is that was answered to a request about `kind`."""
    found = documents.kind_of(document)
    if kind is not None and kind.custom and (found.apiVersion, found.kind) == (kind.api_version, kind.name):
        return for_kind(kind)
    return PRINTERS.get((found.apiVersion, found.kind), DEFAULT)


def for_kind(kind: Kind) -> Printer:
    if kind.custom:
        return kind.shape.columns.printer  # type: ignore[no-any-return]
    return PRINTERS.get((kind.api_version, kind.name), DEFAULT)


async def of_listing(listing: Listing, printer: Printer, now: float, include: str, version: str = "v1") -> bytes:
    rows: list[bytes] = []
    for at, item in enumerate(listing.items, 1):
        rows.append(_row(printer, item.document, now, include, version))
        if at % _AT_ONCE == 0:
            await asyncio.sleep(0)
    return _table(printer, documents.list_metadata(listing), rows, version)


def of_object(document: bytes, printer: Printer, now: float, include: str, version: str = "v1") -> bytes:
    return _table(printer, _revision(document), [_row(printer, document, now, include, version)], version)


def watch_renderer(printer: Printer, clock: Clock, include: str, version: str) -> Callable[[Event], bytes]:
    """Events → lines with one-row tables; only the first says the columns, as upstream does."""
    headed = False

    def render(event: Event) -> bytes:
        nonlocal headed
        if event.type == "ERROR":
            return event.line()
        rows = [] if event.type == "BOOKMARK" else [_row(printer, event.document, clock.now(), include, version)]
        table = _table(printer, _revision(event.document), rows, version, headed)
        headed = True
        return b'{"type":"%s","object":%s}\n' % (event.type.encode(), table)

    return render


def _row(printer: Printer, document: bytes, now: float, include: str, version: str) -> bytes:
    obj: Any = meta.decode(document, _type(printer))
    row: dict[str, Any] = {"cells": printer.cells(obj, now)}
    if conditions := printer.conditions(obj):
        row["conditions"] = conditions
    if include == "Metadata":
        row["object"] = msgspec.Raw(documents.partial(document, version))
    elif include == "Object":
        row["object"] = msgspec.Raw(document)
    return meta.encode(row)


def _type(printer: Printer) -> Any:
    """As what objects are decoded for their cells."""
    if printer.type == CUSTOM:
        return dict
    return getattr(types, printer.type) if printer.type else PartialObject


def _table(printer: Printer, metadata: bytes, rows: Iterable[bytes], version: str, headless: bool = False) -> bytes:
    columns = b"null" if headless else meta.encode([c.definition() for c in printer.columns])
    return b'{"kind":"Table","apiVersion":"meta.k8s.io/%s","metadata":%s,"columnDefinitions":%s,"rows":[%s]}' % (
        version.encode(), metadata, columns, b",".join(rows),
    )  # fmt: skip


def _revision(document: bytes) -> bytes:
    revision = meta.decode(documents.metadata_of(document), types.ObjectMeta).resourceVersion
    return b'{"resourceVersion":"%s"}' % revision.encode()
