"""The objects of rtnetlink that a pod's network is made of: links, addresses, routes, neighbours."""

import errno
import socket
import struct
from dataclasses import dataclass

from kubelet.network import netlink
from kubelet.network.netlink import ACK, CREATE, EXCL, REPLACE, Netlink, attribute, attributes, link_message, text, u32

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINKINFO, IFLA_NET_NS_FD = 1, 3, 4, 18, 28
INFO_KIND, INFO_DATA, VETH_PEER = 1, 2, 1
VXLAN_ID, VXLAN_LOCAL, VXLAN_LEARNING, VXLAN_PORT = 1, 4, 7, 15
IFA_ADDRESS, IFA_LOCAL = 1, 2
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC = 1, 4, 5, 6, 7
NDA_DST, NDA_LLADDR = 1, 2
NUD_PERMANENT = 0x80
NTF_SELF = 0x02
RT_TABLE_MAIN = 254
RTN_UNICAST, RTN_UNREACHABLE = 1, 7
SCOPE_GLOBAL, SCOPE_LINK = 0, 253
ONLINK = 4
ANYWHERE = "0.0.0.0"  # noqa: S104


@dataclass(frozen=True, slots=True)
class Route:
    """An IPv4 route of the main table. `protocol` tells whose it is; `kind` is RTN_UNICAST or RTN_UNREACHABLE."""

    destination: str  # 10.244.1.0/24
    gateway: str = ""
    link: int = 0
    metric: int = 0
    protocol: int = 4
    kind: int = RTN_UNICAST
    source: str = ""


@dataclass(frozen=True, slots=True)
class VxlanDevice:
    """One that learns nothing by itself. `local` is this node's address, `hardware` the device's own."""

    vni: int
    port: int
    local: str
    hardware: str


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A permanent entry: behind `address` is `hardware`; with `bridging`, frames for `hardware` go to `address`."""

    address: str
    hardware: str
    bridging: bool = False

    @property
    def key(self) -> str:
        """What there is one entry for."""
        return self.hardware if self.bridging else self.address


def packed(address: str) -> bytes:
    return socket.inet_aton(address)


def mac(address: str) -> bytes:
    return bytes.fromhex(address.replace(":", ""))


def make_veth(
    nl: Netlink, name: str, hardware: str, peer: str, peer_hardware: str, namespace: int, mtu: int
) -> None:  # fmt: skip
    """A pair whose one end is here, up, and whose other end is at once inside `namespace` (a file descriptor)."""
    common = [u32(IFLA_MTU, mtu)]
    inside = link_message(
        0,
        [text(IFLA_IFNAME, peer), attribute(IFLA_ADDRESS, mac(peer_hardware)), *common, u32(IFLA_NET_NS_FD, namespace)],
    )
    info = attribute(INFO_KIND, b"veth") + attribute(INFO_DATA, attribute(VETH_PEER, inside))
    attrs = [text(IFLA_IFNAME, name), attribute(IFLA_ADDRESS, mac(hardware)), *common, attribute(IFLA_LINKINFO, info)]
    nl.request(netlink.RTM_NEWLINK, CREATE | EXCL, link_message(0, attrs, up=True))


def make_vxlan(nl: Netlink, name: str, device: VxlanDevice) -> None:
    """Raises OSError (EEXIST) if there is a link of the name, or another of the network and port."""
    data = b"".join((
        u32(VXLAN_ID, device.vni),
        attribute(VXLAN_LOCAL, packed(device.local)),
        attribute(VXLAN_LEARNING, b"\0"),
        attribute(VXLAN_PORT, device.port.to_bytes(2, "big")),
    ))  # fmt: skip
    info = attribute(INFO_KIND, b"vxlan") + attribute(INFO_DATA, data)
    attrs = [text(IFLA_IFNAME, name), attribute(IFLA_ADDRESS, mac(device.hardware)), attribute(IFLA_LINKINFO, info)]
    nl.request(netlink.RTM_NEWLINK, CREATE | EXCL, link_message(0, attrs, up=True))


def vxlan_device(nl: Netlink, name: str) -> VxlanDevice | None:
    """None if there is no link of the name, or one of another kind."""
    try:
        attrs = attributes(nl.get(netlink.RTM_GETLINK, link_message(0, [text(IFLA_IFNAME, name)]))[16:])
    except OSError as e:
        if e.errno == errno.ENODEV:
            return None
        raise
    info = attributes(attrs.get(IFLA_LINKINFO, b""))
    if info.get(INFO_KIND, b"").rstrip(b"\0") != b"vxlan":
        return None
    data = attributes(info[INFO_DATA])
    local = data.get(VXLAN_LOCAL)
    return VxlanDevice(
        vni=int.from_bytes(data[VXLAN_ID], "little"),
        port=int.from_bytes(data[VXLAN_PORT], "big"),
        local=socket.inet_ntoa(local) if local else "",
        hardware=attrs[IFLA_ADDRESS].hex(":"),
    )


def set_mtu(nl: Netlink, index: int, mtu: int) -> None:
    nl.request(netlink.RTM_NEWLINK, 0, link_message(index, [u32(IFLA_MTU, mtu)]))


def delete_link(nl: Netlink, name: str) -> None:
    nl.request(netlink.RTM_DELLINK, 0, link_message(0, [text(IFLA_IFNAME, name)]), missing_ok=True)


def link_index(nl: Netlink, name: str) -> int:
    """Raises OSError (ENODEV) if there is none."""
    data = nl.get(netlink.RTM_GETLINK, link_message(0, [text(IFLA_IFNAME, name)]))
    return int(struct.unpack_from("=BxHi", data)[2])


def links(nl: Netlink) -> dict[str, tuple[int, int]]:
    """Every link here by name: (index, MTU)."""
    found = {}
    for _, data in nl.dump(netlink.RTM_GETLINK, link_message(0)):
        attrs = attributes(data[16:])
        name = attrs[IFLA_IFNAME].rstrip(b"\0").decode()
        found[name] = (int(struct.unpack_from("=BxHi", data)[2]), int.from_bytes(attrs.get(IFLA_MTU, b""), "little"))
    return found


def set_up(nl: Netlink, index: int) -> None:
    nl.request(netlink.RTM_NEWLINK, 0, link_message(index, up=True))


def add_address(nl: Netlink, index: int, address: str, prefix: int) -> None:
    body = struct.pack("=BBBBi", socket.AF_INET, prefix, 0, SCOPE_GLOBAL, index)
    body += attribute(IFA_LOCAL, packed(address)) + attribute(IFA_ADDRESS, packed(address))
    nl.request(netlink.RTM_NEWADDR, CREATE | REPLACE, body)


def addresses(nl: Netlink) -> dict[str, int]:
    """Every IPv4 address here → the index of its link."""
    found = {}
    for _, data in nl.dump(netlink.RTM_GETADDR, struct.pack("=BBBBi", socket.AF_INET, 0, 0, 0, 0)):
        attrs = attributes(data[8:])
        if local := attrs.get(IFA_LOCAL, attrs.get(IFA_ADDRESS)):
            found[socket.inet_ntoa(local)] = int(struct.unpack_from("=BBBBi", data)[4])
    return found


def put_neighbour(nl: Netlink, index: int, neighbour: Neighbour) -> None:
    """Add it, or take the place of the one with its key."""
    nl.request(netlink.RTM_NEWNEIGH, CREATE | REPLACE, _neighbour(index, neighbour))


def delete_neighbour(nl: Netlink, index: int, neighbour: Neighbour) -> None:
    nl.request(netlink.RTM_DELNEIGH, 0, _neighbour(index, neighbour), missing_ok=True)


def _neighbour(index: int, neighbour: Neighbour) -> bytes:
    family, flags = (socket.AF_BRIDGE, NTF_SELF) if neighbour.bridging else (socket.AF_INET, 0)
    body = struct.pack("=BxHiHBB", family, 0, index, NUD_PERMANENT, flags, 0)
    return body + attribute(NDA_DST, packed(neighbour.address)) + attribute(NDA_LLADDR, mac(neighbour.hardware))


def neighbours(nl: Netlink, index: int) -> set[Neighbour]:
    """The permanent entries of a link, of both kinds."""
    found = set()
    for family in (socket.AF_INET, socket.AF_BRIDGE):
        for _, data in nl.dump(netlink.RTM_GETNEIGH, struct.pack("=BxHiHBB", family, 0, index, 0, 0, 0)):
            _, _, link, state, _, _ = struct.unpack_from("=BxHiHBB", data)
            attrs = attributes(data[12:])
            if link == index and state & NUD_PERMANENT and NDA_DST in attrs and NDA_LLADDR in attrs:
                address, hardware = socket.inet_ntoa(attrs[NDA_DST]), attrs[NDA_LLADDR].hex(":")
                found.add(Neighbour(address, hardware, bridging=family == socket.AF_BRIDGE))
    return found


def put_route(nl: Netlink, route: Route) -> None:
    """Add it, or take the place of the one with its destination and metric."""
    nl.request(netlink.RTM_NEWROUTE, CREATE | REPLACE | ACK, _route(route))


def delete_route(nl: Netlink, route: Route) -> None:
    nl.request(netlink.RTM_DELROUTE, 0, _route(route), missing_ok=True)


def _route(route: Route) -> bytes:
    network, _, length = route.destination.partition("/")
    scope = SCOPE_LINK if route.kind == RTN_UNICAST and not route.gateway else SCOPE_GLOBAL
    flags = ONLINK if route.gateway and route.link else 0
    body = struct.pack(
        "=BBBBBBBBI", socket.AF_INET, int(length or 32), 0, 0, RT_TABLE_MAIN, route.protocol, scope, route.kind, flags
    )
    if int(length or 32):
        body += attribute(RTA_DST, packed(network))
    if route.gateway:
        body += attribute(RTA_GATEWAY, packed(route.gateway))
    if route.link:
        body += u32(RTA_OIF, route.link)
    if route.metric:
        body += u32(RTA_PRIORITY, route.metric)
    if route.source:
        body += attribute(RTA_PREFSRC, packed(route.source))
    return body


def routes(nl: Netlink) -> list[Route]:
    """The main table."""
    found = []
    for _, data in nl.dump(netlink.RTM_GETROUTE, struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)):
        _, length, _, _, table, protocol, _, kind, _ = struct.unpack_from("=BBBBBBBBI", data)
        if table != RT_TABLE_MAIN:
            continue
        attrs = attributes(data[12:])

        def address(kind: int, attrs: dict[int, bytes] = attrs) -> str:
            return socket.inet_ntoa(attrs[kind]) if kind in attrs else ""

        found.append(
            Route(
                destination=f"{address(RTA_DST) or ANYWHERE}/{length}",
                gateway=address(RTA_GATEWAY),
                link=int.from_bytes(attrs.get(RTA_OIF, b""), "little"),
                metric=int.from_bytes(attrs.get(RTA_PRIORITY, b""), "little"),
                protocol=protocol,
                kind=kind,
                source=address(RTA_PREFSRC),
            )
        )
    return found
