"""What the kernel says of addresses, on loopback."""

import socket
import struct

from machinery import addresses


def message(kind: int, address: str, *, local: int = 2) -> bytes:
    attributes = struct.pack("=HH", 8, 1) + bytes(4) + struct.pack("=HH", 8, local) + socket.inet_aton(address)
    label = struct.pack("=HH", 7, 3) + b"lo\0\0"
    body = struct.pack("=BBBBi", socket.AF_INET, 24, 0, 0, 1) + label + attributes
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def test_only_deleted_addresses_are_gone() -> None:
    told = message(20, "10.0.0.1") + message(21, "10.0.0.2") + message(21, "10.0.0.3", local=1)
    assert list(addresses.gone(told)) == ["10.0.0.2"]


def test_half_a_message_says_nothing() -> None:
    told = message(21, "10.0.0.2")
    assert list(addresses.gone(told[:10])) == []
    assert list(addresses.gone(bytes(40))) == []


def test_loopback_is_here_and_documentation_is_not() -> None:
    assert addresses.is_here("127.0.0.1")
    assert not addresses.is_here("192.0.2.1")
