"""The addresses of the network namespace that this process lives in.

A component of a lab node lives in the namespace of another container. When that one ends, its addresses go; the engine
starts it again with a new namespace, and this process would stay in the old one, cut off, for ever.
"""

import asyncio
import logging
import socket
import struct
from collections.abc import Callable, Iterator

from machinery.clocks import SYSTEM, Clock
from machinery.running import CannotGoOn

_ADDRESS_CHANGES, _GONE, _LOCAL = 1 << 4, 21, 2  # RTMGRP_IPV4_IFADDR, RTM_DELADDR, IFA_LOCAL
_HEADER, _BODY = 16, 8
_ENOUGH = 1 << 16
# A container that starts before the one whose network it joins fails, and the engine does not try again.
PATIENCE = 3.0

log = logging.getLogger(__name__)


async def stays(address: Callable[[], str], *, clock: Clock = SYSTEM) -> None:
    """Returns never; raises CannotGoOn a moment after `address()`, if it is known by then, was taken from here."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE) as told:
        told.bind((0, _ADDRESS_CHANGES))
        while True:
            data = await _received(told)
            wanted = address()
            if wanted in gone(data) and not is_here(wanted):
                log.warning("the address %s was taken from this network namespace", wanted)
                await clock.sleep(PATIENCE)
                if not is_here(wanted):
                    raise CannotGoOn(f"this network namespace has lost the node's address {wanted}")


def gone(data: bytes) -> Iterator[str]:
    """The IPv4 addresses that messages of rtnetlink(7) say were deleted."""
    while len(data) >= _HEADER:
        length, kind = struct.unpack_from("=IH", data)
        if length < _HEADER:
            return
        if kind == _GONE:
            yield from _local(data[_HEADER + _BODY : length])
        data = data[(length + 3) & ~3 :]


def is_here(address: str) -> bool:
    """Whether it is one of this namespace's own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as tried:
        try:
            tried.bind((address, 0))
        except OSError:
            return False
        return True


def _local(attributes: bytes) -> Iterator[str]:
    while len(attributes) >= 4:
        length, kind = struct.unpack_from("=HH", attributes)
        if kind == _LOCAL and length == 8:
            yield socket.inet_ntoa(attributes[4:8])
        attributes = attributes[max(4, (length + 3) & ~3) :]


async def _received(told: socket.socket) -> bytes:
    """asyncio's sock_recv asks for an internet or Unix socket on some loops; a reader does for any."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(told, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(told)
    try:
        return told.recv(_ENOUGH)
    except OSError:
        return b""  # more came than its buffer holds; what matters shows at the next change
