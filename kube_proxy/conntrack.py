"""UDP flows that still go to an endpoint which has left.

A TCP connection ends by itself; a UDP flow lasts as long as its client keeps sending, and keeps its translation.
https://github.com/kubernetes/kubernetes/issues/126130 (why upstream compares flows with endpoints)
"""

import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kube_proxy.netlink import NETFILTER, Netlink, attribute, attributes, nested

_GET, _DELETE = (1 << 8) | 1, (1 << 8) | 2
_ORIGINAL, _REPLY, _ID = 1, 2, 12
_IP, _PROTOCOL = 1, 2
_SOURCE, _TARGET = 1, 2  # within _IP
_NUMBER, _SOURCE_PORT, _TARGET_PORT = 1, 2, 3  # within _PROTOCOL
_UDP = 17


@dataclass(frozen=True, slots=True)
class Flow:
    """One tracked UDP flow: what the client asked for, and who answers."""

    address: str
    port: int
    backend: str
    backend_port: int
    original: bytes
    identity: bytes


def delete_flows(stale: Callable[[Flow], bool]) -> int:
    """Delete the UDP flows for which `stale` holds; returns how many.  Raises OSError."""
    netlink = Netlink(NETFILTER)
    try:
        doomed = [flow for flow in _udp(netlink) if stale(flow)]
        deleted = 0
        for flow in doomed:
            try:
                netlink.do(_DELETE, 0, deletion(flow))
                deleted += 1
            except FileNotFoundError:
                continue  # expired meanwhile
        return deleted
    finally:
        netlink.close()


def _udp(netlink: Netlink) -> Iterator[Flow]:
    for body in netlink.dump(_GET, _header()):
        if (flow := parse(body)) is not None:
            yield flow


def parse(body: bytes) -> Flow | None:
    """A message of a listing → the flow, or None if it is not one of UDP."""
    found = attributes(body[4:])
    original, reply = attributes(found[_ORIGINAL]), attributes(found[_REPLY])
    asked, answering = attributes(original[_PROTOCOL]), attributes(reply[_PROTOCOL])
    if asked[_NUMBER][0] != _UDP:
        return None
    return Flow(
        address=socket.inet_ntoa(attributes(original[_IP])[_TARGET]),
        port=struct.unpack("!H", asked[_TARGET_PORT])[0],
        backend=socket.inet_ntoa(attributes(reply[_IP])[_SOURCE]),
        backend_port=struct.unpack("!H", answering[_SOURCE_PORT])[0],
        original=found[_ORIGINAL],
        identity=found[_ID],
    )


def deletion(flow: Flow) -> bytes:
    """The identity goes along, so that a younger flow between the same ends is spared."""
    return _header() + nested(_ORIGINAL, [flow.original]) + attribute(_ID, flow.identity)


def _header() -> bytes:
    return struct.pack("=BBH", socket.AF_INET, 0, 0)
