"""What an object travels in: four bytes of magic, then a message with its apiVersion, its kind and its own bytes.

https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding
"""

from functools import lru_cache
from typing import Any

import msgspec

from apiserver.wire import decoding, encoding
from apiserver.wire.messages import table
from apiserver.wire.values import Malformed, pieces, sized

MAGIC = b"k8s\x00"
_NO_ENCODING = b"\x1a\x00\x22\x00"
"""An empty content encoding and type: protobuf, as it is. Upstream says both always."""


class NotKnown(Malformed):
    """There is no message for this kind of object."""


def decode(body: bytes) -> bytes:
    """An object as a JSON document.  Raises Malformed."""
    if not body.startswith(MAGIC):
        expected = " ".join(map(str, MAGIC))
        raise Malformed(f"provided data does not appear to be a protobuf message, expected prefix [{expected}]")
    api_version, kind, raw = _open(body)
    if not kind:
        raise Malformed("Object 'Kind' is missing")
    message = decoding.read(_name(api_version, kind), raw)
    return msgspec.json.encode({"apiVersion": api_version, "kind": kind, **message})


def _open(body: bytes) -> tuple[str, str, bytes]:
    """apiVersion, kind, the bytes of the message."""
    try:
        said = pieces(body, len(MAGIC), len(body))
        typed = pieces(said.get(1, b""), 0, len(said.get(1, b"")))
        return typed.get(1, b"").decode(), typed.get(2, b"").decode(), said.get(2, b"")
    except IndexError:
        raise Malformed("unexpected EOF") from None
    except UnicodeDecodeError as e:
        raise Malformed("proto: invalid UTF-8 in an envelope") from e
    except (AttributeError, TypeError) as e:
        raise Malformed("proto: wrong wireType in an envelope") from e


def encode(document: bytes) -> bytes:
    """A JSON document of a known kind.  Raises NotKnown."""
    value: dict[str, Any] = msgspec.json.decode(document)
    api_version, kind = value.pop("apiVersion", ""), value.pop("kind", "")
    raw = encoding.write(_name(api_version, kind), value)
    typed = b"\x0a" + sized(api_version.encode()) + b"\x12" + sized(kind.encode())
    return b"".join((MAGIC, b"\x0a", sized(typed), b"\x12", sized(raw), _NO_ENCODING))


@lru_cache(maxsize=256)
def frame(type_: str, document: bytes) -> bytes:
    """One event of a watch: its length in four bytes, then a WatchEvent that holds the object in its envelope.
    Made once for those who watch at the same time.  Raises NotKnown."""
    event = b"\x0a" + sized(type_.encode()) + b"\x12" + sized(b"\x0a" + sized(encode(document)))
    return len(event).to_bytes(4, "big") + event


def _name(api_version: str, kind: str) -> str:
    if (name := table().message(api_version, kind)) is None:
        raise NotKnown(f'no kind "{kind}" is registered for version "{api_version}"')
    return name
