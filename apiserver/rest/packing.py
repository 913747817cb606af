"""Compressing large lists, of which most was compressed before.

Many clients list what has hardly changed since another did.  gzip's data is a row of blocks that may be made one by
one, so the packed form of each run of items is kept, and a list is its head, made anew, and the runs.  Where a run ends
is decided by its last item alone: an object that comes or goes costs one run, not all that follow.
"""

import struct
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import lru_cache

LARGEST = 32 << 20
"""Bytes of documents whose packed form is kept; the least recently used go."""
MEAN_RUN = 32
LONGEST_RUN = 128
MAGIC = b"\x1f\x8b"
"""What every gzip begins with, and neither JSON, YAML nor protobuf's envelope does."""
_HEAD = MAGIC + b"\x08\0\0\0\0\0\x04\xff"
_POLYNOMIAL = 0xEDB88320

Matrix = tuple[int, ...]
"""32 columns over GF(2)."""


def gzip(body: bytes) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()


class Block:
    """Some bytes as a part of a deflated stream, and what they do to the stream's checksum."""

    __slots__ = ("checksum", "packed", "shift", "size")

    def __init__(self, plain: bytes) -> None:
        packer = zlib.compressobj(1, zlib.DEFLATED, -15)
        self.packed = packer.compress(plain) + packer.flush(zlib.Z_FULL_FLUSH)
        self.size = len(plain)
        self.checksum = zlib.crc32(plain)
        self.shift = _shift(self.size)


class Packer:
    """Safe to use from several threads."""

    def __init__(self) -> None:
        self._runs: OrderedDict[tuple[bytes, ...], Block] = OrderedDict()
        self._size = 0

    def is_ready(self, items: Sequence[bytes]) -> bool:
        """Whether most of it is packed already, so that the rest is quickly done."""
        runs = list(runs_of(items))
        return sum(run not in self._runs for run in runs) <= 2

    def gzip(self, head: bytes, items: Sequence[bytes], end: bytes) -> bytes:
        """`head`, the items with commas between them, and `end`."""
        parts, checksum, size = [_HEAD], 0, 0
        for block in self._blocks(head, items, end):
            parts.append(block.packed)
            checksum = _times(block.shift, checksum) ^ block.checksum
            size += block.size
        last = zlib.compressobj(1, zlib.DEFLATED, -15)
        return b"".join((*parts, last.flush(), struct.pack("<LL", checksum, size & 0xFFFFFFFF)))

    def _blocks(self, head: bytes, items: Sequence[bytes], end: bytes) -> Iterator[Block]:
        yield Block(head)
        for at, run in enumerate(runs_of(items)):
            if at:
                yield _COMMA
            yield self._run(run)
        yield Block(end)

    def _run(self, run: tuple[bytes, ...]) -> Block:
        found = self._runs.pop(run, None)
        if found is None:
            found = Block(b",".join(run))
            self._size += found.size
        self._runs[run] = found
        while self._size > LARGEST and len(self._runs) > 1:
            _, dropped = self._runs.popitem(last=False)
            self._size -= dropped.size
        return found


def runs_of(items: Sequence[bytes]) -> Iterator[tuple[bytes, ...]]:
    """The items in order, in runs that end where an item's hash says so."""
    first = 0
    for at, item in enumerate(items, 1):
        if hash(item) % MEAN_RUN == 0 or at - first == LONGEST_RUN:
            yield tuple(items[first:at])
            first = at
    if first < len(items):
        yield tuple(items[first:])


# --- the checksum of two things one after the other, from theirs (as zlib's crc32_combine has it)


def _times(matrix: Matrix, vector: int) -> int:
    total, column = 0, 0
    while vector:
        if vector & 1:
            total ^= matrix[column]
        vector >>= 1
        column += 1
    return total


@lru_cache(maxsize=64)
def _power(exponent: int) -> Matrix:
    """What 2**exponent zero bits do to a checksum."""
    if exponent == 0:
        return (_POLYNOMIAL, *(1 << n for n in range(31)))
    half = _power(exponent - 1)
    return tuple(_times(half, column) for column in half)


@lru_cache(maxsize=1024)
def _shift(size: int) -> Matrix:
    """What so many zero bytes do to a checksum."""
    found: Matrix = tuple(1 << n for n in range(32))
    bits, exponent = size, 3
    while bits:
        if bits & 1:
            power = _power(exponent)
            found = tuple(_times(power, column) for column in found)
        bits >>= 1
        exponent += 1
    return found


_COMMA = Block(b",")
