"""Request bodies → JSON documents.

A JSON body is passed on as it came: the registry decodes it once, into the type of its kind. YAML and protobuf become
JSON first.
"""

import asyncio

import msgspec
from aiohttp import web

from api.errors import BadRequest, Timeout, TooLarge, UnsupportedMediaType
from apiserver import wire, yamls
from apiserver.rest import auditing
from apiserver.rest.negotiation import JSON, PROTOBUF, SERVED, YAML
from apiserver.rules import strictness

SLOWEST = 60.0
"""Seconds that a body may take; upstream gives as many to a whole request."""
LIMIT = 3 * 2**20
"""Bytes of a body; upstream's limit too."""
TOO_LATE = "Timeout: request did not complete within the allotted timeout"
TOO_LARGE = f"Request entity too large: limit is {LIMIT}"
PATCHES = {
    "application/json-patch+json": "json",
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
    "application/apply-patch+yaml": "apply",
}
_UNKNOWN = "the body of the request was in an unknown format - accepted media types include: "


async def read(http: web.BaseRequest) -> bytes:
    """The whole body.  Raises TooLarge, before reading it where its length is announced, and Timeout."""
    if (http.content_length or 0) > LIMIT:
        raise TooLarge(TOO_LARGE)
    try:
        if http.content.is_eof():  # all of it came with the head, as most do: nothing to wait for
            return await http.read()
        async with asyncio.timeout(SLOWEST):
            return await http.read()
    except web.HTTPRequestEntityTooLarge:
        raise TooLarge(TOO_LARGE) from None
    except TimeoutError:
        raise Timeout(TOO_LATE) from None


async def document(http: web.BaseRequest, kind: str, repeated: list[str] | None = None) -> bytes:
    """The body as JSON. `kind` is what upstream's messages call the object expected; `repeated` is told of the keys
    that a YAML document has twice, which JSON made of it has no more.

    Raises TooLarge, UnsupportedMediaType, or BadRequest for a body that cannot be read.
    """
    media = media_type(http)
    if media in ("", JSON):
        body = await read(http)
    elif media == PROTOBUF:
        body = from_protobuf(await read(http), kind)
    elif media in (YAML, "text/yaml"):
        body = await yamls.as_json(await read(http), kind, repeated)
    else:
        raise UnsupportedMediaType(_UNKNOWN + ", ".join(SERVED))
    auditing.read(body)
    return body


async def patch(http: web.BaseRequest, kind: str, repeated: list[str]) -> tuple[bytes, str]:
    """The body of a PATCH as JSON, and which sort of patch it is: json, merge, strategic or apply.

    `repeated` is told of the keys that a configuration to apply has twice.
    """
    sort = PATCHES.get(media_type(http))
    if sort is None:
        raise UnsupportedMediaType(_UNKNOWN + ", ".join(PATCHES))
    body = text = await read(http)
    if sort == "apply" and not _is_plain_json(text):
        body = await yamls.as_json(text, kind, repeated)
    auditing.read(body)
    return body, sort


def _is_plain_json(text: bytes) -> bool:
    """Whether a configuration to apply can be passed on as it came: JSON, and no key twice, of which YAML tells."""
    if not text.lstrip().startswith(b"{"):
        return False
    try:
        return strictness.says_once(text, msgspec.json.decode(text))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False


def media_type(http: web.BaseRequest) -> str:
    return http.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def from_protobuf(body: bytes, kind: str) -> bytes:
    """An object in its protobuf envelope as JSON; nothing stays nothing.  Raises BadRequest in upstream's words."""
    if not body:
        return body
    try:
        return wire.decode(body)
    except wire.Malformed as e:
        about = f" (must be of type {kind})" if kind else ""
        raise BadRequest(f"the object provided is unrecognized{about}: {e}") from e
