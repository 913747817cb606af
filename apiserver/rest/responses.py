"""Documents → HTTP responses."""

import asyncio
import random
from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec
import yaml
from aiohttp import web

from api.errors import ApiError, TooManyRequests
from apiserver import wire
from apiserver.rest import auditing, packing
from apiserver.rest.negotiation import JSON, PLAIN, PROTOBUF, YAML, Representation, prefers_protobuf

Answer = TypeVar("Answer", bound=web.StreamResponse)

BEGUN = web.RequestKey("begun", bool)
"""Whether a part of the answer may have been sent, so that it can be no other one any more."""
GZIP_ABOVE = 128 * 1024
"""Smaller bodies are sent as they are, as upstream does: compressing costs more than it saves."""
_WARNING_RUNES = 4096
_ONE_WARNING_RUNES = 256
_OFF_THREAD = 512 * 1024
_CACHE_CONTROL = "no-cache, private"


def audit_id(http: web.BaseRequest) -> str:
    """The id under which this request is logged; the client may choose it."""
    return http.headers.get("Audit-Id") or _new_id()


def _new_id() -> str:
    """A version 4 UUID, for a tenth of what the standard library's costs: nothing here has to be a secret."""
    digits = f"{random.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


async def send(
    http: web.BaseRequest,
    body: bytes,
    audit: str,
    *,
    status: int = 200,
    how: Representation = PLAIN,
    warnings: Sequence[str] = (),
) -> web.Response:
    """A JSON document in the representation asked for, compressed where it is large and the client can read it."""
    auditing.answered(body)
    dressed = await encoded(body, how)
    packed = await compressed(dressed) if takes_gzip(http) else dressed
    headers = headers_of(audit, how.media, gzip=packed is not dressed)
    return warned(web.Response(status=status, body=packed, headers=headers), warnings)


def takes_gzip(http: web.BaseRequest) -> bool:
    return "gzip" in http.headers.get("Accept-Encoding", "")


async def encoded(document: bytes, how: Representation) -> bytes:
    if how is PLAIN:
        return document
    return await asyncio.to_thread(dress, document, how) if len(document) > _OFF_THREAD else dress(document, how)


async def compressed(body: bytes) -> bytes:
    """The body itself, if it is small."""
    if len(body) <= GZIP_ABOVE:
        return body
    return await asyncio.to_thread(packing.gzip, body) if len(body) > _OFF_THREAD else packing.gzip(body)


async def in_pieces(
    http: web.BaseRequest, response: web.StreamResponse, pieces: Iterable[bytes | memoryview], seconds: float
) -> None:
    """Send an answer of this content. A client that has not read it after so many seconds is cut off."""
    http[BEGUN] = True
    await response.prepare(http)
    try:
        async with asyncio.timeout(seconds):
            for piece in pieces:
                await response.write(piece)
    except TimeoutError:
        if http.transport is not None:
            http.transport.abort()


def headers_of(audit: str, media: str, *, gzip: bool = False) -> dict[str, str]:
    headers = {"Audit-Id": audit, "Cache-Control": _CACHE_CONTROL, "Content-Type": media}
    return headers | ({"Content-Encoding": "gzip", "Vary": "Accept-Encoding"} if gzip else {})


def warned(response: Answer, warnings: Sequence[str]) -> Answer:
    """The response, with these warnings in its head."""
    if not warnings:
        return response
    for warning in _bounded(list(dict.fromkeys(warnings))):
        response.headers.add("Warning", warning_header(warning))
    return response


def _bounded(warnings: list[str]) -> list[str]:
    """As many as upstream says: all in full, or each shortened and of those the first ones."""
    if sum(map(len, warnings)) <= _WARNING_RUNES:
        return warnings
    found: list[str] = []
    written = 0
    for warning in warnings:
        if written >= _WARNING_RUNES:
            break
        found.append(warning[:_ONE_WARNING_RUNES])
        written += len(found[-1])
    return found


def dress(document: bytes, how: Representation) -> bytes:
    """A JSON document as YAML, as protobuf, or indented, if that is how it shall be shown."""
    if how.media == PROTOBUF:
        return wire.encode(document)
    if how.media == YAML:
        return yaml.dump(msgspec.json.decode(document), Dumper=yaml.CSafeDumper, allow_unicode=True).encode()
    return msgspec.json.format(document, indent=2) + b"\n" if how.pretty else document


def failure(
    error: ApiError, audit: str, accept: str = "", warnings: Sequence[str] = (), *, pretty: bool = False
) -> web.Response:
    """The Status document of a refusal: JSON, which also those can read who do not name what they accept, except for
    those who prefer protobuf."""
    status = error.to_status()
    auditing.refused(status)
    body = msgspec.json.encode(status)
    binary = prefers_protobuf(accept)
    headers = {"Audit-Id": audit, "Cache-Control": _CACHE_CONTROL, "Content-Type": PROTOBUF if binary else JSON}
    if isinstance(error, TooManyRequests):
        headers["Retry-After"] = str(error.details.get("retryAfterSeconds", 1))
    content = wire.encode(body) if binary else (msgspec.json.format(body, indent=2) if pretty else body) + b"\n"
    return warned(web.Response(status=error.code, body=content, headers=headers), warnings)


def page(media: str, body: bytes, audit: str) -> web.Response:
    """What is no object, as it is."""
    headers = {"Audit-Id": audit, "Cache-Control": _CACHE_CONTROL, "Content-Type": media}
    return web.Response(body=body, headers=headers)


def text(body: str, audit: str, status: int = 200) -> web.Response:
    headers = {
        "Audit-Id": audit, "Cache-Control": _CACHE_CONTROL, "Content-Type": "text/plain; charset=utf-8",
        "X-Content-Type-Options": "nosniff",
    }  # fmt: skip
    return web.Response(status=status, body=body.encode(), headers=headers)


def page_not_found(audit: str) -> web.Response:
    return text("404 page not found\n", audit, 404)


def warning_header(message: str) -> str:
    """RFC 7234 section 5.5, code 299: what kubectl prints as `Warning: MESSAGE`."""
    quoted = message.replace("\\", "\\\\").replace('"', '\\"')
    return '299 - "' + "".join(c if c.isprintable() else " " for c in quoted) + '"'
