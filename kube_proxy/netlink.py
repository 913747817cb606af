"""Just enough raw netlink for routes and connection tracking.

https://docs.kernel.org/userspace-api/netlink/intro.html ; pyroute2 does the same in five times the time and memory.
"""

import os
import socket
import struct
from collections.abc import Iterable, Iterator

ROUTE, NETFILTER = 0, 12  # families
REQUEST, ACK, DUMP, REPLACE, CREATE = 0x1, 0x4, 0x300, 0x100, 0x400
_NESTED, _TYPE_MASK = 0x8000, 0x3FFF
_ERROR, _DONE = 2, 3
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")

Attributes = dict[int, bytes]


class Netlink:
    """One socket, in the network namespace of the thread that made it; for one thread at a time."""

    def __init__(self, family: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
        self._socket.bind((0, 0))
        self._socket.settimeout(5)  # the kernel answers at once or has lost the answer for want of memory
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def do(self, kind: int, flags: int, payload: bytes) -> None:
        """One request that changes something.  Raises OSError with the kernel's number."""
        for _ in self._exchange(kind, REQUEST | ACK | flags, payload):
            pass

    def dump(self, kind: int, payload: bytes) -> Iterator[bytes]:
        """The payload of every message of a listing.  Raises OSError."""
        return self._exchange(kind, REQUEST | DUMP, payload)

    def _exchange(self, kind: int, flags: int, payload: bytes) -> Iterator[bytes]:
        self._sequence += 1
        sequence = self._sequence
        self._socket.send(_HEADER.pack(_HEADER.size + len(payload), kind, flags, sequence, 0) + payload)
        while True:
            data = self._socket.recv(1 << 18)
            at = 0
            while at < len(data):
                length, answer, _, answered, _ = _HEADER.unpack_from(data, at)
                body = data[at + _HEADER.size : at + length]
                at += _aligned(length)
                if answered != sequence:
                    continue  # of a listing that its reader gave up
                if answer == _DONE:
                    return
                if answer == _ERROR:
                    number = -struct.unpack_from("=i", body)[0]
                    if number:
                        raise OSError(number, os.strerror(number))
                    return
                yield body


def attribute(kind: int, value: bytes) -> bytes:
    padding = b"\0" * (_aligned(len(value)) - len(value))
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + padding


def nested(kind: int, values: Iterable[bytes]) -> bytes:
    return attribute(kind | _NESTED, b"".join(values))


def attributes(data: bytes) -> Attributes:
    found: Attributes = {}
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            break
        found[kind & _TYPE_MASK] = data[at + _ATTRIBUTE.size : at + length]
        at += _aligned(length)
    return found


def _aligned(length: int) -> int:
    return (length + 3) & ~3
