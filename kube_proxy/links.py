"""The load balancers' addresses on the node's interface, and what neighbours are told of them.

An address is marked by its label, so that whoever comes later knows which ones a proxy has put there.
"""

import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import NamedTuple

from kube_proxy.netlink import CREATE, REPLACE, ROUTE, Netlink, attribute, attributes

_NEWADDR, _DELADDR, _GETADDR = 20, 21, 22
_ADDRESS, _LOCAL, _LABEL = 1, 2, 3
_HEADER = "=BBBBI"
# Never chosen as the source of a packet to somewhere else.
_HOST = 254
LABEL = ":lb"
_LONGEST = 15
_ARP = 0x0806
_EVERYBODY, _NOBODY = b"\xff" * 6, b"\0" * 6
_REQUEST, _REPLY = 1, 2


class Assigned(NamedTuple):
    address: str
    length: int
    link: int
    label: str

    @property
    def is_ours(self) -> bool:
        return self.label.endswith(LABEL)


def hold(node_address: str, wanted: set[str]) -> set[str]:
    """Make these the load balancers' addresses of the link that has the node's; returns those that are new.

    Raises OSError: this machine has no such address, or the process no right.
    """
    netlink = Netlink(ROUTE)
    try:
        found = list(_assigned(netlink))
        link = next((a.link for a in found if a.address == node_address and not a.is_ours), 0)
        if wanted and not link:
            raise OSError(f"no link has the node's address {node_address}")
        for each in found:
            if each.is_ours and (each.address not in wanted or each.link != link):
                netlink.do(_DELADDR, 0, _message(each))
        new = wanted - {a.address for a in found if a.link == link}
        for address in sorted(new):
            label = socket.if_indextoname(link)[: _LONGEST - len(LABEL)] + LABEL
            netlink.do(_NEWADDR, CREATE | REPLACE, _message(Assigned(address, 32, link, label)))
        return new
    finally:
        netlink.close()


def tell(node_address: str, addresses: set[str]) -> None:
    """Gratuitous ARP: neighbours that know another owner of these addresses learn of this one.  Raises OSError."""
    netlink = Netlink(ROUTE)
    try:
        link = next((a.link for a in _assigned(netlink) if a.address == node_address and not a.is_ours), 0)
    finally:
        netlink.close()
    if not link:
        return
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ARP)) as wire:
        wire.bind((socket.if_indextoname(link), 0))
        hardware = wire.getsockname()[4]
        if len(hardware) != 6 or hardware == _NOBODY:
            return
        for address in sorted(addresses):
            for operation in (_REQUEST, _REPLY):
                wire.send(announcement(hardware, address, operation))


def announcement(hardware: bytes, address: str, operation: int) -> bytes:
    """An Ethernet frame of ARP (RFC 826) that says of itself to everybody: this address is here (RFC 5227)."""
    packed = IPv4Address(address).packed
    ethernet = struct.pack("!6s6sH", _EVERYBODY, hardware, _ARP)
    target = _NOBODY if operation == _REQUEST else hardware
    return ethernet + struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, operation, hardware, packed, target, packed)


def _assigned(netlink: Netlink) -> Iterator[Assigned]:
    for body in netlink.dump(_GETADDR, struct.pack(_HEADER, socket.AF_INET, 0, 0, 0, 0)):
        _, length, _, _, link = struct.unpack_from(_HEADER, body)
        attrs = attributes(body[8:])
        if local := attrs.get(_LOCAL, attrs.get(_ADDRESS)):
            label = attrs.get(_LABEL, b"").rstrip(b"\0").decode()
            yield Assigned(socket.inet_ntoa(local), length, link, label)


def _message(it: Assigned) -> bytes:
    packed = IPv4Address(it.address).packed
    header = struct.pack(_HEADER, socket.AF_INET, it.length, 0, _HOST, it.link)
    return (
        header + attribute(_LOCAL, packed) + attribute(_ADDRESS, packed) + attribute(_LABEL, it.label.encode() + b"\0")
    )
