"""SPDY/3.1 framing, the server's side, without any input or output.

    feed(bytes) → what the client did;   reply, data, reset, pong → bytes to send

Kubernetes' clients multiplex streams with it (docs of the protocol: https://www.chromium.org/spdy/spdy-protocol/).
They neither use nor keep to flow control windows, settings or priorities, so these are read over.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

SYN_STREAM, SYN_REPLY, RST_STREAM, PING, GOAWAY = 1, 2, 3, 6, 7
FIN = 1
VERSION = 3
CANCEL = 5
LARGEST_FRAME = 256 * 1024
"""Bytes; clients copy through buffers of an eighth of it. The protocol would allow sixteen megabytes, and a client that
sends a stream nobody reads leaves several frames of it here."""

_LISTED = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status"
)
_MORE = ("200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin")
_TAIL = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
    "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,"
    "publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY = b"".join(struct.pack(">I", len(w)) + w.encode() for w in (*_LISTED.split(), *_MORE)) + _TAIL.encode()
"""What both sides' compressors of headers know beforehand; its Adler-32 is e3c6a7c2."""


class ProtocolError(Exception):
    """The client does not speak SPDY/3.1; the connection is of no further use."""


class Opened(NamedTuple):
    stream: int
    headers: dict[str, str]
    """Names in lower case."""
    ended: bool


class Received(NamedTuple):
    stream: int
    data: bytes
    ended: bool


class Reset(NamedTuple):
    stream: int


class Pinged(NamedTuple):
    number: int


class GoneAway(NamedTuple):
    """The client will open no more streams."""


Happening = Opened | Received | Reset | Pinged | GoneAway


class Framing:
    """One connection's state: the bytes of an unfinished frame, and the header compressors of both directions."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._unpack = zlib.decompressobj(zdict=DICTIONARY)
        self._pack = zlib.compressobj(zdict=DICTIONARY)

    def feed(self, received: bytes) -> list[Happening]:
        """Raises ProtocolError."""
        self._pending += received
        return list(self._frames())

    def reply(self, stream: int) -> bytes:
        """Accept a stream that the client opened."""
        block = self._pack.compress(struct.pack(">I", 0)) + self._pack.flush(zlib.Z_SYNC_FLUSH)
        return _control(SYN_REPLY, struct.pack(">I", stream) + block)

    def data(self, stream: int, payload: bytes, *, end: bool = False) -> bytes:
        return struct.pack(">II", stream, (FIN << 24 if end else 0) | len(payload)) + payload

    def reset(self, stream: int) -> bytes:
        return _control(RST_STREAM, struct.pack(">II", stream, CANCEL))

    def pong(self, number: int) -> bytes:
        return _control(PING, struct.pack(">I", number))

    def _frames(self) -> Iterator[Happening]:
        while len(self._pending) >= 8:
            first, second = struct.unpack_from(">II", self._pending)
            flags, length = second >> 24, second & 0xFFFFFF
            if length > LARGEST_FRAME:
                raise ProtocolError(f"a frame of {length} bytes is too large")
            if len(self._pending) < 8 + length:
                return
            payload = bytes(self._pending[8 : 8 + length])
            del self._pending[: 8 + length]
            if not first >> 31:
                yield Received(first, payload, bool(flags & FIN))
            elif (first >> 16) & 0x7FFF != VERSION:
                raise ProtocolError(f"SPDY version {(first >> 16) & 0x7FFF} is not spoken here")
            elif happening := self._happening(first & 0xFFFF, flags, payload):
                yield happening

    def _happening(self, type_: int, flags: int, payload: bytes) -> Happening | None:
        try:
            match type_:
                case 1:
                    (stream,) = struct.unpack_from(">I", payload)
                    return Opened(stream & 0x7FFFFFFF, self._headers(payload[10:]), bool(flags & FIN))
                case 3:
                    return Reset(struct.unpack_from(">I", payload)[0] & 0x7FFFFFFF)
                case 6:
                    return Pinged(struct.unpack_from(">I", payload)[0])
                case 7:
                    return GoneAway()
                case 2 | 8:  # headers of which nothing is wanted, but the decompressor must see them
                    self._headers(payload[4:])
        except (struct.error, zlib.error, UnicodeDecodeError) as e:
            raise ProtocolError(f"a frame of type {type_} cannot be read: {e}") from e
        return None

    def _headers(self, block: bytes) -> dict[str, str]:
        text = self._unpack.decompress(block, 64 * 1024)
        (count,), at = struct.unpack_from(">I", text), 4
        words = []
        for _ in range(2 * count):
            (length,) = struct.unpack_from(">I", text, at)
            words.append(text[at + 4 : at + 4 + length].decode())
            at += 4 + length
        return {name.lower(): value for name, value in zip(words[::2], words[1::2], strict=True)}


def _control(type_: int, payload: bytes) -> bytes:
    return struct.pack(">HHI", 0x8000 | VERSION, type_, len(payload)) + payload
