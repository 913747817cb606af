"""Documents → HTTP responses."""

import asyncio
import uuid
from collections.abc import Callable, Iterable

import msgspec
import yaml
from aiohttp import web

from api.errors import ApiError, TooManyRequests
from apiserver import wire
from apiserver.rest import packing
from apiserver.rest.negotiation import JSON, PLAIN, PROTOBUF, YAML, Representation, prefers_protobuf

GZIP_ABOVE = 128 * 1024
"""Smaller bodies are sent as they are, as upstream does: compressing costs more than it saves."""
_OFF_THREAD = 512 * 1024
_CACHE_CONTROL = "no-cache, private"


def audit_id(http: web.BaseRequest) -> str:
    """The id under which this request is logged; the client may choose it."""
    return http.headers.get("Audit-Id") or str(uuid.uuid4())


async def send(
    http: web.BaseRequest,
    body: bytes,
    audit: str,
    *,
    status: int = 200,
    how: Representation = PLAIN,
    warnings: Iterable[str] = (),
    pack: Callable[[bytes], bytes] = packing.gzip,
) -> web.Response:
    """A JSON document in the representation asked for, compressed where it is large and the client can read it."""
    if how is not PLAIN:
        body = await asyncio.to_thread(dress, body, how) if len(body) > _OFF_THREAD else dress(body, how)
    headers = {"Audit-Id": audit, "Cache-Control": _CACHE_CONTROL, "Content-Type": how.media}
    if len(body) > GZIP_ABOVE and "gzip" in http.headers.get("Accept-Encoding", ""):
        headers["Content-Encoding"] = "gzip"
        headers["Vary"] = "Accept-Encoding"
        body = await asyncio.to_thread(pack, body) if len(body) > _OFF_THREAD else pack(body)
    response = web.Response(status=status, body=body, headers=headers)
    for warning in warnings:
        response.headers.add("Warning", warning_header(warning))
    return response


def dress(document: bytes, how: Representation) -> bytes:
    """A JSON document as YAML, as protobuf, or indented, if that is how it shall be shown."""
    if how.media == PROTOBUF:
        return wire.encode(document)
    if how.media == YAML:
        return yaml.dump(msgspec.json.decode(document), Dumper=yaml.CSafeDumper, allow_unicode=True).encode()
    return msgspec.json.format(document, indent=2) + b"\n" if how.pretty else document


def failure(error: ApiError, audit: str, accept: str = "") -> web.Response:
    """The Status document of a refusal: JSON, which also those can read who do not name what they accept, except for
    those who prefer protobuf."""
    body = msgspec.json.encode(error.to_status())
    binary = prefers_protobuf(accept)
    headers = {"Audit-Id": audit, "Cache-Control": _CACHE_CONTROL, "Content-Type": PROTOBUF if binary else JSON}
    if isinstance(error, TooManyRequests):
        headers["Retry-After"] = str(error.details.get("retryAfterSeconds", 1))
    return web.Response(status=error.code, body=wire.encode(body) if binary else body + b"\n", headers=headers)


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
