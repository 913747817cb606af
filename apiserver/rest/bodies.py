"""Request bodies → JSON documents.

A JSON body is passed on as it came: the registry decodes it once, into the type of its kind. YAML and protobuf become
JSON first.
"""

import asyncio
from typing import Any

import msgspec
import yaml
from aiohttp import web

from api.errors import BadRequest, TooLarge, UnsupportedMediaType
from apiserver import wire
from apiserver.rest.negotiation import JSON, PROTOBUF, SERVED, YAML

LIMIT = 3 * 2**20
"""Bytes of a body; upstream's limit too."""
PATCHES = {
    "application/json-patch+json": "json",
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
    "application/apply-patch+yaml": "apply",
}
_OFF_THREAD = 64 * 1024
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
    return await as_json(await read(http), kind)


async def patch(http: web.BaseRequest, kind: str) -> tuple[bytes, str]:
    """The body of a PATCH as JSON, and which sort of patch it is: json, merge, strategic or apply."""
    sort = PATCHES.get(media_type(http))
    if sort is None:
        raise UnsupportedMediaType(_UNKNOWN + ", ".join(PATCHES))
    body = await read(http)
    if sort == "apply" and not body.lstrip().startswith(b"{"):
        body = await as_json(body, kind)
    return body, sort


def media_type(http: web.BaseRequest) -> str:
    return http.headers.get("Content-Type", "").partition(";")[0].strip().lower()


async def as_json(text: bytes, kind: str) -> bytes:
    """A YAML document as JSON.  Raises BadRequest in upstream's words."""
    try:
        if len(text) > _OFF_THREAD:
            return await asyncio.to_thread(_convert, text)
        return _convert(text)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError, TypeError) as e:
        about = f" (must be of type {kind})" if kind else ""
        raise BadRequest(f"the object provided is unrecognized{about}: error converting YAML to JSON: {_say(e)}") from e


def from_protobuf(body: bytes, kind: str) -> bytes:
    """An object in its protobuf envelope as JSON; nothing stays nothing.  Raises BadRequest in upstream's words."""
    if not body:
        return body
    try:
        return wire.decode(body)
    except wire.Malformed as e:
        about = f" (must be of type {kind})" if kind else ""
        raise BadRequest(f"the object provided is unrecognized{about}: {e}") from e


class _Loader(yaml.CSafeLoader):
    """Times stay strings, as Go's YAML leaves them when it does not decode into a time."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def _convert(text: bytes) -> bytes:
    loaded = yaml.load(text, _Loader)  # noqa: S506 - a subclass of the safe loader
    return msgspec.json.encode(_Plain(10 * len(text) + 100_000).plain(loaded))


class _Plain:
    """Copies YAML values into JSON ones. Aliases can blow a small text up beyond any memory, so there is a budget."""

    def __init__(self, budget: int) -> None:
        self.left = budget

    def plain(self, value: Any) -> Any:
        self.left -= 1 + (len(value) if isinstance(value, str | bytes) else 0)
        if self.left < 0:
            raise ValueError("yaml: document contains excessive aliasing")
        if isinstance(value, dict):
            return {self._key(k): self.plain(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self.plain(v) for v in value]
        return value

    def _key(self, key: Any) -> str:
        if isinstance(key, str):
            return key
        if isinstance(key, bool | int | float):
            return msgspec.json.encode(key).decode()
        raise TypeError(f"yaml: invalid map key: {key!r}")


def _say(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        return f"yaml: line {mark.line + 1}: {getattr(error, 'problem', None) or error}"
    return str(error)
