"""The struct types in a Go executable, as `reflect` sees them: fields, their types and their tags.

Field numbers stand in struct tags, and every executable that encodes Kubernetes objects carries those. So the pinned
kubectl says exactly what its release reads and writes, without a copy of upstream's sources.

The layout is that of `internal/abi` of Go 1.26, on a little-endian 64-bit machine; an executable that was laid out
otherwise fails `Executable.types`, which looks for what must be there.
"""

import struct
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

BOOL, INT32, INT64, UINT8, FLOAT64 = 1, 5, 6, 8, 14
MAP, POINTER, SLICE, STRING, STRUCT = 21, 22, 23, 24, 25
_ARRAY, _CHAN, _FUNC, _INTERFACE = 17, 18, 19, 20
_UNCOMMON, _EXTRA_STAR, _NAMED = 1, 2, 4
_HEADER = struct.Struct("<QQIBBBBQQii")
_SIZES = {_ARRAY: 72, _CHAN: 64, _FUNC: 56, _INTERFACE: 80, MAP: 104, POINTER: 56, SLICE: 56, STRUCT: 80}
"""Bytes of a type's description before what says its package and methods; 48 for all others."""


class Field(NamedTuple):
    name: str
    tag: str
    embedded: bool
    type: int
    """The address of its type, for `Executable.type`."""


class Type(NamedTuple):
    kind: int
    name: str
    """Without its package; empty for a type literal such as []string."""
    package: str
    methods: int
    """How many are exported, of those that the linker kept."""
    element: int = 0
    """The address of the type that a pointer, slice or map leads to."""
    fields: tuple[Field, ...] = ()


class Executable:
    """An ELF file that Go's linker made."""

    def __init__(self, path: Path) -> None:
        self._bytes = path.read_bytes()
        self._known: dict[int, Type] = {}

    def types(self) -> Iterator[Type]:
        """Every type that can be reached.  Raises ValueError if the file is laid out in a way not known here."""
        address, offset, size = self._sections[".typelink"]
        base = self._types_at
        pending = [base + at for at in struct.unpack_from(f"<{size // 4}i", self._bytes, offset)]
        seen = {0}
        while pending:
            if (address := pending.pop()) in seen:
                continue
            seen.add(address)
            found = self.type(address)
            pending += [found.element, *(f.type for f in found.fields)]
            yield found

    def type(self, address: int) -> Type:
        if address not in self._known:
            self._known[address] = self._read(address)
        return self._known[address]

    @cached_property
    def _sections(self) -> dict[str, tuple[int, int, int]]:
        """Name → (address, offset in the file, size)."""
        if self._bytes[:6] != b"\x7fELF\x02\x01":
            raise ValueError("not a little-endian 64-bit ELF file")
        (headers,) = struct.unpack_from("<Q", self._bytes, 0x28)
        count, names = struct.unpack_from("<HH", self._bytes, 0x3C)
        rows = [struct.unpack_from("<IIQQQQ", self._bytes, headers + 64 * n) for n in range(count)]
        return {self._text(rows[names][4] + row[0]): row[3:6] for row in rows}

    def _text(self, offset: int) -> str:
        return self._bytes[offset : self._bytes.index(0, offset)].decode()

    @cached_property
    def _types_at(self) -> int:
        """What offsets of types are counted from: the start of the read-only data."""
        if ".typelink" not in self._sections or ".rodata" not in self._sections:
            raise ValueError("not an executable of Go 1.26")
        return self._sections[".rodata"][0]

    def _offset(self, address: int) -> int:
        start, offset, size = self._sections[".rodata"]
        if not start <= address < start + size:
            raise ValueError(f"no description of a type at {address:#x}")
        return address - start + offset

    def _read(self, address: int) -> Type:
        at = self._offset(address)
        _, _, _, flags, _, _, kind, _, _, name_at, _ = _HEADER.unpack_from(self._bytes, at)
        kind &= 31
        name = self._name(self._types_at + name_at)[0] if flags & _NAMED else ""
        element = 0
        if kind in (POINTER, SLICE, _ARRAY):
            (element,) = struct.unpack_from("<Q", self._bytes, at + 48)
        elif kind == MAP:
            (element,) = struct.unpack_from("<Q", self._bytes, at + 56)
        package, methods = "", 0
        if flags & _UNCOMMON:
            package_at, _, methods = struct.unpack_from("<iHH", self._bytes, at + _SIZES.get(kind, 48))
            package = self._name(self._types_at + package_at)[0] if package_at else ""
        name = name.removeprefix("*" if flags & _EXTRA_STAR else "").rpartition(".")[2]
        return Type(kind, name, package, methods, element, tuple(self._fields(at)) if kind == STRUCT else ())

    def _fields(self, at: int) -> Iterator[Field]:
        first, count = struct.unpack_from("<QQ", self._bytes, at + 56)
        for n in range(count):
            name_at, type_at, _ = struct.unpack_from("<QQQ", self._bytes, self._offset(first) + 24 * n)
            yield Field(*self._name(name_at), type_at)

    def _name(self, address: int) -> tuple[str, str, bool]:
        """A name, its tag, and whether it is that of an embedded field."""
        at = self._offset(address)
        flags = self._bytes[at]
        name, at = self._string(at + 1)
        tag = self._string(at)[0] if flags & 2 else ""
        return name, tag, bool(flags & 8)

    def _string(self, at: int) -> tuple[str, int]:
        size = shift = 0
        while True:
            byte = self._bytes[at]
            size |= (byte & 127) << shift
            at, shift = at + 1, shift + 7
            if byte < 128:
                return self._bytes[at : at + size].decode(), at + size
