"""Compressing the same large list again and again, only once.

Many clients list what has not changed since another did.  Two such lists differ in nothing but their resourceVersion,
which stands before the items; gzip's data is a row of blocks, so the items' are kept and the head's are made anew.
"""

import struct
import zlib
from collections import OrderedDict
from typing import NamedTuple

KEPT = 4
"""Lists; the least recently used goes."""
LARGEST = 32 << 20
_HEAD = b"\x1f\x8b\x08\0\0\0\0\0\x04\xff"
_ITEMS = b'"items":['
_NEAR = 1024


class _Tail(NamedTuple):
    plain: bytes
    packed: bytes


def gzip(body: bytes) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()


class Packer:
    """`gzip` is safe to call from several threads."""

    def __init__(self) -> None:
        self._tails: OrderedDict[int, _Tail] = OrderedDict()

    def gzip(self, body: bytes) -> bytes:
        at = body.find(_ITEMS, 0, _NEAR)
        if at < 0 or len(body) > LARGEST:
            return gzip(body)
        tail = self._tail(body, at)
        head = zlib.compressobj(1, zlib.DEFLATED, -15)
        first = head.compress(body[:at]) + head.flush(zlib.Z_FULL_FLUSH)
        end = struct.pack("<LL", zlib.crc32(body), len(body) & 0xFFFFFFFF)
        return b"".join((_HEAD, first, tail.packed, end))

    def _tail(self, body: bytes, at: int) -> _Tail:
        length = len(body) - at
        known = self._tails.pop(length, None)
        if known is None or not body.endswith(known.plain):
            packer = zlib.compressobj(1, zlib.DEFLATED, -15)
            plain = body[at:]
            known = _Tail(plain, packer.compress(plain) + packer.flush())
        self._tails[length] = known
        while len(self._tails) > KEPT:
            self._tails.popitem(last=False)
        return known
