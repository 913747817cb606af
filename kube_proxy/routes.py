"""The routes to the service range.

Programs on the node itself need a usable route before the kernel looks at a packet of theirs: through the loopback
device, from the node's address, so that answers find back. An unreachable route of a worse metric stands behind it, so
that a packet for a service never follows the default route out of the machine, whatever happens to the first one.
"""

import socket
import struct
from ipaddress import IPv4Address, IPv4Network

from kube_proxy.netlink import CREATE, REPLACE, ROUTE, Netlink, attribute

_NEWROUTE = 24
_MAIN, _BOOT, _UNIVERSE, _LINK = 254, 3, 0, 253
_UNICAST, _UNREACHABLE = 1, 7
_DESTINATION, _DEVICE, _PRIORITY, _SOURCE = 1, 4, 6, 7
LAST_RESORT = 4294967294


def ensure(service_range: str, node_address: str) -> None:
    """Make both routes stand, in the place of any of the same metric.

    Raises OSError: this machine has no such address, or the process no right.
    """
    network = IPv4Network(service_range)
    netlink = Netlink(ROUTE)
    try:
        netlink.do(_NEWROUTE, CREATE | REPLACE, unreachable(network))
        loopback = socket.if_nametoindex("lo")
        netlink.do(_NEWROUTE, CREATE | REPLACE, local(network, loopback, IPv4Address(node_address)))
    finally:
        netlink.close()


def unreachable(network: IPv4Network) -> bytes:
    return _route(network, _UNREACHABLE, _UNIVERSE, attribute(_PRIORITY, struct.pack("=I", LAST_RESORT)))


def local(network: IPv4Network, device: int, source: IPv4Address) -> bytes:
    return _route(
        network,
        _UNICAST,
        _LINK,
        attribute(_DEVICE, struct.pack("=I", device)) + attribute(_SOURCE, source.packed),
    )


def _route(network: IPv4Network, kind: int, scope: int, rest: bytes) -> bytes:
    header = struct.pack("=BBBBBBBBI", socket.AF_INET, network.prefixlen, 0, 0, _MAIN, _BOOT, scope, kind, 0)
    return header + attribute(_DESTINATION, network.network_address.packed) + rest
