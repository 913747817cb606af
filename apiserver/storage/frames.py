"""HTTP/2's frames and gRPC's messages, as far as a client of etcd meets them. Pure.

    https://www.rfc-editor.org/rfc/rfc9113#section-6
    https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md

The server is asked to compress headers without a table (SETTINGS_HEADER_TABLE_SIZE 0).  A block of headers then means
the same whenever it comes, so that of all calls that go well is decoded once.
"""

import struct
from collections.abc import Iterator, Mapping
from functools import lru_cache

from hpack import Decoder, Encoder, HPACKError, NeverIndexedHeaderTuple

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 5, 6, 7, 8, 9
END_STREAM = ACK = 1
END_HEADERS, PADDED, PRIORITY = 4, 8, 32
TABLE_SIZE, PUSH, MOST_STREAMS, STREAM_WINDOW, LARGEST_FRAME = 1, 2, 3, 4, 5
REFUSED_STREAM, CANCEL = 7, 8
FIRST_WINDOW, OPEN_WINDOW = 2**16 - 1, 2**31 - 1
LAST_STREAM = 2**31 - 1
"""A connection lasts for a thousand million calls, at a thousand a second for twelve days."""
OUR_LARGEST_FRAME = 2**14
"""What a server may send in one frame, since we ask for no more."""
REMEMBERED = 64
"""Blocks of headers; those of refusals differ in their words."""
_HEAD = struct.Struct(">BHBBL")
_MESSAGE = struct.Struct(">BL")
_SETTING = struct.Struct(">HL")
_NUMBER = struct.Struct(">L")

Frame = tuple[int, int, int, bytes]
"""Type, flags, number of the stream, payload."""


class Malformed(Exception):
    """This is not HTTP/2, or more of it than we asked for."""


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    size = len(payload)
    return _HEAD.pack(size >> 16, size & 0xFFFF, kind, flags, stream) + payload


def number(value: int) -> bytes:
    return _NUMBER.pack(value)


def number_of(payload: bytes, at: int = 0) -> int:
    """A window's increment, a stream's number, the code of an error."""
    if len(payload) < at + _NUMBER.size:
        raise Malformed("a frame is too short")
    value: int = _NUMBER.unpack_from(payload, at)[0]
    return value


def settings(values: Mapping[int, int]) -> bytes:
    return b"".join(_SETTING.pack(*each) for each in values.items())


def settings_of(payload: bytes) -> dict[int, int]:
    if len(payload) % _SETTING.size:
        raise Malformed("a half setting")
    return dict(_SETTING.iter_unpack(payload))


class Frames:
    """What comes from a server, cut into frames; those of a block of headers are put together."""

    def __init__(self) -> None:
        self._rest = b""
        self._block: Frame | None = None

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Raises Malformed."""
        if self._rest:
            data = self._rest + data
        at, end, self._rest = 0, len(data), b""
        while end - at >= _HEAD.size:
            high, low, kind, flags, stream = _HEAD.unpack_from(data, at)
            size = high << 16 | low
            if size > OUR_LARGEST_FRAME:
                raise Malformed(f"a frame of {size} bytes")
            after = at + _HEAD.size + size
            if after > end:
                break
            payload, at = data[at + _HEAD.size : after], after
            found = (kind, flags, stream & OPEN_WINDOW, payload)
            if kind in (HEADERS, CONTINUATION) or self._block is not None:
                whole = self._joined(found)
                if whole is None:
                    continue
                found = whole
            yield found
        self._rest = data[at:]

    def _joined(self, found: Frame) -> Frame | None:
        """The whole block, or None if it is not over."""
        kind, flags, stream, payload = found
        if self._block is not None:
            _, first, begun, block = self._block
            if (kind, stream) != (CONTINUATION, begun):
                raise Malformed("something within a block of headers")
            found = HEADERS, first | flags & END_HEADERS, stream, block + payload
        elif kind == CONTINUATION:
            raise Malformed("the end of a block of headers that has not begun")
        else:
            payload = unpadded(flags, payload)
            found = HEADERS, flags & ~PADDED, stream, payload[5:] if flags & PRIORITY else payload
        self._block = None if found[1] & END_HEADERS else found
        return found if self._block is None else None


def unpadded(flags: int, payload: bytes) -> bytes:
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise Malformed("more padding than there is")
    return payload[1 : len(payload) - payload[0]]


class Headers:
    """Blocks of headers from one server."""

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._decoder.max_allowed_table_size = 0
        self._known: dict[bytes, dict[bytes, bytes]] = {}

    def of(self, block: bytes) -> Mapping[bytes, bytes]:
        """Raises Malformed."""
        if (known := self._known.get(block)) is not None:
            return known
        try:
            found = {bytes(name): bytes(value) for name, value in self._decoder.decode(block, raw=True)}
        except HPACKError as e:
            raise Malformed(f"headers: {e}") from e
        if len(self._known) < REMEMBERED:
            self._known[block] = found
        return found


@lru_cache(REMEMBERED)
def request(authority: str, path: str) -> bytes:
    """The block of headers of a call."""
    fields = {
        ":method": "POST", ":scheme": "https", ":path": path, ":authority": authority, "te": "trailers",
        "content-type": "application/grpc",
    }  # fmt: skip
    return Encoder().encode([NeverIndexedHeaderTuple(name, value) for name, value in fields.items()])


def message(content: bytes) -> bytes:
    """As it goes into DATA."""
    return _MESSAGE.pack(0, len(content)) + content


def first(received: bytes | bytearray) -> bytes | None:
    """The first message of what was received, if all of it is there; `size` says how far it goes.  Raises Malformed."""
    if len(received) < _MESSAGE.size:
        return None
    compressed, length = _MESSAGE.unpack_from(received)
    if compressed:
        raise Malformed("a compressed message, which nobody has asked for")
    end = _MESSAGE.size + length
    return bytes(received[_MESSAGE.size : end]) if len(received) >= end else None


def size(content: bytes) -> int:
    """Of a message in DATA."""
    return _MESSAGE.size + len(content)
