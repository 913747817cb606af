"""Request bodies → JSON documents.

A JSON body is passed on as it came: the registry decodes it once, into the type of its kind. YAML and protobuf become
JSON first.
"""

from aiohttp import web

from api.errors import BadRequest, TooLarge, UnsupportedMediaType
from apiserver import wire, yamls
from apiserver.rest.negotiation import JSON, PROTOBUF, SERVED, YAML

LIMIT = 3 * 2**20
"""Bytes of a body; upstream's limit too."""
PATCHES = {
    "application/json-patch+json": "json",
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
    "application/apply-patch+yaml": "apply",
}
_UNKNOWN = "the body of the request was in an unknown format - accepted media types include: "


async def read(http: web.BaseRequest) -> bytes:
    """The whole body.  Raises TooLarge, before reading it where its length is announced."""
    too_large = TooLarge(f"Request entity too large: limit is {LIMIT}")
    if (http.content_length or 0) > LIMIT:
        raise too_large
    try:
        return await http.read()
    except web.HTTPRequestEntityTooLarge:
        raise too_large from None


async def document(http: web.BaseRequest, kind: str) -> bytes:
    """The body as JSON. `kind` is what upstream's messages call the object expected.

    Raises TooLarge, UnsupportedMediaType, or BadRequest for a body that cannot be read.
    """
    media = media_type(http)
    if media in ("", JSON):
        return await read(http)
    if media == PROTOBUF:
        return from_protobuf(await read(http), kind)
    if media not in (YAML, "text/yaml"):
        raise UnsupportedMediaType(_UNKNOWN + ", ".join(SERVED))
    return await yamls.as_json(await read(http), kind)


async def patch(http: web.BaseRequest, kind: str) -> tuple[bytes, str]:
    """The body of a PATCH as JSON, and which sort of patch it is: json, merge, strategic or apply."""
    sort = PATCHES.get(media_type(http))
    if sort is None:
        raise UnsupportedMediaType(_UNKNOWN + ", ".join(PATCHES))
    body = await read(http)
    if sort == "apply" and not body.lstrip().startswith(b"{"):
        body = await yamls.as_json(body, kind)
    return body, sort


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
