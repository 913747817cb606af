"""How packets come to the pods of other nodes: by routes where the nodes share a network, by VXLAN where they do not.

What leads there is computed from the Nodes' addresses and pod ranges alone. So VXLAN needs no annotations, and its
device learns and floods nothing: each entry is written here.
https://www.rfc-editor.org/rfc/rfc7348
"""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from kubelet.network import links
from kubelet.network.links import Neighbour, Route, VxlanDevice
from kubelet.network.netlink import Netlink

PROTOCOL = 0x57  # marks our routes, so that stale ones can be told from other people's
DEVICE = "wherry.vxlan"
# Flannel's defaults, the port being Linux's own choice before there was a standard one.
VNI, PORT = 1, 8472
OVERHEAD = 50  # Ethernet, IPv4, UDP and VXLAN around an Ethernet frame


class Way(Protocol):
    """For one thread at a time.  Every method raises OSError."""

    overhead: int
    """What of the nodes' MTU is not for pods."""

    def prepare(self, nl: Netlink, node_address: str, mtu: int) -> None:
        """Make what does not depend on other nodes, and remove what the other way has left behind."""
        ...

    def reach(self, nl: Netlink, own: str, ranges: Mapping[str, str]) -> None:
        """Make exactly these pod ranges → node addresses reachable, by writing what is not so already.

        `own` is this node's range, "" if it has none yet. All that can be made are made before it raises.
        """
        ...


class Routes:
    """Each node is the next hop to its pods."""

    overhead = 0

    def prepare(self, nl: Netlink, node_address: str, mtu: int) -> None:
        links.delete_link(nl, DEVICE)

    def reach(self, nl: Netlink, own: str, ranges: Mapping[str, str]) -> None:
        settle(nl, (Route(destination, gateway=gateway, protocol=PROTOCOL) for destination, gateway in ranges.items()))


@dataclass(slots=True)
class Vxlan:
    """Each node's end of the tunnel has the first address of its pod range, and packets of its own processes to pods
    have that as their source: the answers come back through the tunnel, where another network would drop them."""

    vni: int = VNI
    port: int = PORT
    overhead: int = OVERHEAD

    def prepare(self, nl: Netlink, node_address: str, mtu: int) -> None:
        wanted = VxlanDevice(self.vni, self.port, node_address, hardware(node_address))
        if links.vxlan_device(nl, DEVICE) != wanted:
            links.delete_link(nl, DEVICE)
            links.make_vxlan(nl, DEVICE, wanted)
        links.set_mtu(nl, links.link_index(nl, DEVICE), mtu)

    def reach(self, nl: Netlink, own: str, ranges: Mapping[str, str]) -> None:
        device = links.link_index(nl, DEVICE)
        if own and end_of(own) not in links.addresses(nl):
            links.add_address(nl, device, end_of(own), 32)
        wanted = {neighbour for range_, node in ranges.items() for neighbour in neighbours(range_, node)}
        present = links.neighbours(nl, device)
        # Who is to be replaced is not removed first: packets are under way.
        for neighbour in wanted - present:
            links.put_neighbour(nl, device, neighbour)
        settle(nl, (Route(r, gateway=end_of(r), link=device, protocol=PROTOCOL) for r in ranges))
        kept = {(n.bridging, n.key) for n in wanted}
        for neighbour in present:
            if (neighbour.bridging, neighbour.key) not in kept:
                links.delete_neighbour(nl, device, neighbour)


def neighbours(range_: str, node: str) -> tuple[Neighbour, Neighbour]:
    """What the tunnel must know of one node: its end's hardware address, and the node behind that."""
    return Neighbour(end_of(range_), hardware(node)), Neighbour(node, hardware(node), bridging=True)


def end_of(range_: str) -> str:
    return str(ipaddress.IPv4Network(range_).network_address)


def hardware(node: str) -> str:
    """Of a node's end of the tunnel: its address in other words, so that nobody has to be told it."""
    return "0a:59:" + ":".join(f"{b:02x}" for b in ipaddress.IPv4Address(node).packed)


def settle(nl: Netlink, routes: Iterable[Route]) -> None:
    """Exactly these of our routes through other nodes.  Raises OSError when all that can be made are made."""
    present = {r.destination: r for r in links.routes(nl) if r.protocol == PROTOCOL and r.gateway}
    failed = []
    for route in routes:
        stale = present.pop(route.destination, None)
        if stale is None or stale.gateway != route.gateway:
            try:
                links.put_route(nl, route)
            except OSError as e:
                failed.append(f"{route.destination} via {route.gateway}: {e.strerror}")
    for route in present.values():
        links.delete_route(nl, route)
    if failed:
        raise OSError("; ".join(failed))
