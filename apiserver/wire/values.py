"""Messages and scalars that are one value in JSON: times, quantities, numbers or strings, base64.

https://protobuf.dev/programming-guides/encoding/
"""

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import msgspec

from api import times

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
SIZES = {FIXED64: 8, FIXED32: 4}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ALL_64 = (1 << 64) - 1


class Malformed(ValueError):
    """These bytes are not what they should be; its text says why, in words like upstream's."""


def varint(value: int) -> bytes:
    """A number from 0 to 2**64 - 1."""
    if value < len(_SHORT):
        return _SHORT[value]
    return _varint(value)


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)


_SHORT = tuple(_varint(n) for n in range(4096))


def read_varint(body: bytes, at: int) -> tuple[int, int]:
    """(value, where it ends).  Raises Malformed; IndexError where the body ends before it."""
    value = shift = 0
    while shift < 70:
        byte = body[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & _ALL_64, at
        shift += 7
    raise Malformed("proto: integer overflow")


def signed(value: int) -> int:
    """What a varint means in a field of type int32 or int64."""
    return value - (1 << 64) if value >> 63 else value


def unsigned(value: int) -> bytes:
    """The varint of an int32 or int64."""
    return varint(value & _ALL_64)


def tag(number: int, wire: int) -> bytes:
    return varint(number << 3 | wire)


def sized(body: bytes) -> bytes:
    return varint(len(body)) + body


def pieces(body: bytes, at: int, end: int) -> dict[int, Any]:
    """The fields of a small message: number → integer or bytes; the last of those with one number counts."""
    found: dict[int, Any] = {}
    while at < end:
        key, at = read_varint(body, at)
        wire = key & 7
        value, at = read_varint(body, at) if wire in (VARINT, LENGTH) else (SIZES.get(wire, 0), at)
        if wire == VARINT:
            found[key >> 3] = value
            continue
        at = skip_to(body, at + value, end, wire)
        found[key >> 3] = body[at - value : at]
    return found


def skip_to(body: bytes, stop: int, end: int, wire: int) -> int:
    """`stop`, the end of a field that lies within what ends at `end`.  Raises Malformed."""
    if wire not in (FIXED64, LENGTH, FIXED32):
        raise Malformed(f"proto: illegal wireType {wire}")
    if stop > end:
        raise Malformed("unexpected EOF")
    return stop


def _text(body: bytes, at: int, end: int) -> str:
    return body[at:end].decode()


def _base64(body: bytes, at: int, end: int) -> str:
    return base64.b64encode(body[at:end]).decode()


def _time(body: bytes, at: int, end: int) -> str | None:
    """Zero is no time, as in Go."""
    said = pieces(body, at, end)
    seconds = signed(said.get(1, 0))
    return times.format(seconds) if seconds or said.get(2) else None


def _micro(body: bytes, at: int, end: int) -> str | None:
    said = pieces(body, at, end)
    seconds, nanos = signed(said.get(1, 0)), signed(said.get(2, 0))
    if not seconds and not nanos:
        return None
    return (_EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1000)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _duration(body: bytes, at: int, end: int) -> str:
    """Nanoseconds, which JSON has as seconds."""
    return f"{signed(pieces(body, at, end).get(1, 0)) / 1e9:.9f}".rstrip("0").rstrip(".") + "s"


def _quantity(body: bytes, at: int, end: int) -> str:
    if end - at > 1 and body[at] == 0x0A and at + 2 + body[at + 1] == end:
        return body[at + 2 : end].decode()  # nearly all of them, and there are many
    return pieces(body, at, end).get(1, b"").decode()  # type: ignore[no-any-return]


def _int_or_string(body: bytes, at: int, end: int) -> int | str:
    said = pieces(body, at, end)
    return said.get(3, b"").decode() if said.get(1) else signed(said.get(2, 0))


def _strings(body: bytes, at: int, end: int) -> list[str]:
    """A message of nothing but a list of strings: Verbs, ExtraValue."""
    found = []
    while at < end:
        key, at = read_varint(body, at)
        size, at = read_varint(body, at)
        at = skip_to(body, at + size, end, key & 7)
        found.append(body[at - size : at].decode())
    return found


def _raw(body: bytes, at: int, end: int) -> Any:
    """Any JSON. It is decoded here: what is not JSON must not become part of a document."""
    raw = pieces(body, at, end).get(1, b"")
    return msgspec.json.decode(raw) if raw else None


READERS: dict[str, Callable[[bytes, int, int], Any]] = {
    "string": _text, "bytes": _base64, "time": _time, "micro": _micro, "duration": _duration,
    "quantity": _quantity, "intorstring": _int_or_string, "strings": _strings, "raw": _raw,
}  # fmt: skip
"""(the body, where the value begins, where it ends) → what JSON has. They raise ValueError, TypeError, IndexError."""


@lru_cache(maxsize=4096)
def _timestamp(text: str) -> bytes:
    since = datetime.fromisoformat(text) - _EPOCH
    nanos = unsigned(since.microseconds * 1000)
    return b"\x08" + unsigned(since.days * 86400 + since.seconds) + b"\x10" + nanos


def _say_duration(value: str) -> bytes:
    return b"\x08" + unsigned(round(float(value.removesuffix("s")) * 1e9))


def _say_quantity(value: Any) -> bytes:
    return b"\x0a" + sized(str(value).encode())


def _say_int_or_string(value: int | str) -> bytes:
    if isinstance(value, str):
        return b"\x08\x01\x10\x00\x1a" + sized(value.encode())
    return b"\x08\x00\x10" + unsigned(value) + b"\x1a\x00"


def _say_strings(values: list[str]) -> bytes:
    return b"".join(b"\x0a" + sized(value.encode()) for value in values)


def _say_raw(value: Any) -> bytes:
    return b"\x0a" + sized(msgspec.json.encode(value))


WRITERS: dict[str, Callable[[Any], bytes]] = {
    "string": str.encode, "bytes": base64.b64decode, "time": _timestamp, "micro": _timestamp,
    "duration": _say_duration, "quantity": _say_quantity, "intorstring": _say_int_or_string, "strings": _say_strings,
    "raw": _say_raw,
}  # fmt: skip
"""What JSON has → the bytes of the value, without its length."""
