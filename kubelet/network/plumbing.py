"""Connects pods to the node and nodes to each other.

A pod's end of its veth pair, eth0, has the pod's address with 32 bits, a default route through 169.254.1.1, and a
static neighbour entry that says that this gateway is the other end.  The node has one host route for each pod.  So no
bridge, no ARP, no proxy_arp and no hairpin mode are needed, and every packet passes through the node's own routing,
where services are translated.
"""

import asyncio
import hashlib
import ipaddress
import logging
import os
import struct
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Protocol, TypeVar

from api.types import Pod
from kubelet.network import links
from kubelet.network.links import RTN_UNREACHABLE, Neighbour, Route
from kubelet.network.netlink import Netlink, netlink_in, open_namespace
from kubelet.network.ways import PROTOCOL, Routes, Way
from kubelet.runtime.interfaces import ADDRESS, Record

T = TypeVar("T")

GATEWAY = "169.254.1.1"
# Any fixed address will do: each pair is a network of two.
NODE_HARDWARE = "ee:ee:ee:ee:ee:ee"
PREFIX = "veth"
# The worst metric but for the routes that the pause program of a lab node sets; any other wins.
LAST_RESORT = 0x7FFFFFFF
LARGEST_MTU = 65535

log = logging.getLogger("network")


class NotReady(Exception):
    """Pods cannot be connected yet; the message says why, in upstream's words."""


class Network(Protocol):
    """The pod network as the workers see it."""

    async def problem(self) -> str:
        """Why pods cannot be connected now, in upstream's words; "" if they can."""
        ...

    async def prepare(self) -> None:
        """Before anything else.  Raises OSError."""
        ...

    def known(self, sandbox: Record) -> str:
        """The address that this network has given to a sandbox; "" if it has given it none."""
        ...

    async def attach(self, pod: Pod, sandbox: Record, address: str) -> str:
        """Give the sandbox of the pod the address; "" lets the network choose.  Returns the one that it has.

        Nothing happens if it has it already, and all is well with it.  Raises OSError, NotReady.
        """
        ...

    async def detach(self, uid: str) -> None:
        """Take the pod's connection away; it is no error if there is none.  Raises OSError."""
        ...

    async def sweep(self, uids: Callable[[], Iterable[str]]) -> None:
        """Take the connections of all pods away but of those that there are.  Raises OSError."""
        ...


def close(nl: Netlink, ranges: Iterable[str]) -> None:
    """Nothing for these leaves the node, unless there is a better route."""
    for cidr in ranges:
        links.put_route(nl, Route(cidr, metric=LAST_RESORT, protocol=PROTOCOL, kind=RTN_UNREACHABLE))


def interface(uid: str) -> str:
    """The name of the node's end: 15 characters at most, so a digest of the pod's uid."""
    return PREFIX + hashlib.sha256(uid.encode()).hexdigest()[:11]


def shares_network(pid: int) -> bool:
    """Whether that process lives in this one's network namespace. One that has ended lives nowhere."""
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino == os.stat("/proc/self/ns/net").st_ino
    except OSError:
        return False


class Plumbing:
    """The pod network of one node, in the namespace that `opened` talks to: this process's own unless said otherwise.

    Implements `Network`. `way` is how packets come to other nodes' pods.
    """

    def __init__(
        self, node_address: str, unreachable: Iterable[str], opened: Callable[[], Netlink] = Netlink,
        way: Way | None = None,
    ) -> None:  # fmt: skip
        self._opened = opened
        self._way = way or Routes()
        self._node_address = node_address
        self._unreachable = tuple(unreachable)
        self._mtu = 1500
        self._lock = asyncio.Lock()

    async def prepare(self) -> None:
        """Routes that keep what nobody claims inside this node: a packet to a pod or service that does not exist must
        get an answer here, not a way out of the machine."""
        await self._work(self._prepare)

    def _prepare(self, nl: Netlink) -> None:
        close(nl, self._unreachable)
        self._mtu = _uplink_mtu(nl, self._node_address) - self._way.overhead
        self._way.prepare(nl, self._node_address, self._mtu)

    async def problem(self) -> str:
        return ""

    def known(self, sandbox: Record) -> str:
        return sandbox.labels.get(ADDRESS, "")

    async def attach(self, pod: Pod, sandbox: Record, address: str) -> str:
        await self._work(lambda nl: self._attach(nl, pod.metadata.uid, sandbox.pid, address))
        return address

    def _attach(self, nl: Netlink, uid: str, pid: int, address: str) -> None:
        name = interface(uid)
        hardware = "0a:58:" + packed_hex(address)
        namespace = open_namespace(pid)
        try:
            with netlink_in(namespace) as inside:
                known = links.links(inside)
                # The other end may be in a namespace that this node had before, and that is not quite gone yet.
                whole = "eth0" in known and name in links.links(nl)
                if not whole or address not in links.addresses(inside):
                    links.delete_link(inside, "eth0")
                    links.delete_link(nl, name)
                    links.make_veth(nl, name, NODE_HARDWARE, "eth0", hardware, namespace, self._mtu)
                    _configure(inside, known["lo"][0], address)
                elif known["eth0"][1] != self._mtu:
                    # Made when packets went another way.
                    links.set_mtu(inside, known["eth0"][0], self._mtu)
                    links.set_mtu(nl, links.link_index(nl, name), self._mtu)
        finally:
            os.close(namespace)
        outside = links.link_index(nl, name)
        links.put_neighbour(nl, outside, Neighbour(address, hardware))
        links.put_route(nl, Route(f"{address}/32", link=outside, protocol=PROTOCOL, source=self._node_address))

    async def detach(self, uid: str) -> None:
        # The host route and the neighbour go with the link, and the pod's end with this one.
        await self._work(lambda nl: links.delete_link(nl, interface(uid)))

    async def sweep(self, uids: Callable[[], Iterable[str]]) -> None:
        async with self._lock:
            # Asked for now, when nobody can be connecting another one.
            wanted = {interface(uid) for uid in uids()}
            await asyncio.to_thread(self._with_netlink, lambda nl: _sweep(nl, wanted))

    async def reach(self, own: str, ranges: Mapping[str, str]) -> None:
        """Lead to exactly these pod ranges → node addresses; `own` is this node's range.

        All that can be reached are; raises OSError if some cannot.
        """
        await self._work(lambda nl: self._way.reach(nl, own, ranges))

    async def _work(self, function: Callable[[Netlink], T]) -> T:
        # One at a time: each takes a millisecond, and two that touch one link would only disturb each other.
        async with self._lock:
            return await asyncio.to_thread(self._with_netlink, function)

    def _with_netlink(self, function: Callable[[Netlink], T]) -> T:
        with self._opened() as nl:
            return function(nl)


def _configure(inside: Netlink, loopback: int, address: str) -> None:
    index = links.link_index(inside, "eth0")
    links.set_up(inside, loopback)
    links.add_address(inside, index, address, 32)
    links.set_up(inside, index)
    links.put_neighbour(inside, index, Neighbour(GATEWAY, NODE_HARDWARE))
    links.put_route(inside, Route(f"{GATEWAY}/32", link=index))
    links.put_route(inside, Route(f"{links.ANYWHERE}/0", gateway=GATEWAY, link=index))


def _sweep(nl: Netlink, wanted: Container[str]) -> None:
    for name in links.links(nl):
        if name.startswith(PREFIX) and len(name) == 15 and name not in wanted:
            log.info("removing %s, which no pod of this node has", name)
            links.delete_link(nl, name)


def _uplink_mtu(nl: Netlink, node_address: str) -> int:
    index = links.addresses(nl).get(node_address, 0)
    mtu = next((mtu for number, mtu in links.links(nl).values() if number == index and mtu), 1500)
    return min(mtu, LARGEST_MTU)  # a node whose address is on the loopback device has 65536 there


def packed_hex(address: str) -> str:
    return ":".join(f"{b:02x}" for b in struct.pack("!I", int(ipaddress.IPv4Address(address))))
