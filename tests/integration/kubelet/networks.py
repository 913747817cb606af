"""Two nodes with a pod each as network namespaces, on one network or on two that a router joins.

In the nodes and the router the pod and service ranges are unreachable before anything is sent, and the router keeps it
so: it knows nodes and no pods. A pod has no way but to its node.
"""

import errno
import os
import socket
import subprocess
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from api import types as objects
from kubelet.network import links
from kubelet.network.netlink import Netlink, netlink_in
from kubelet.network.plumbing import Plumbing
from kubelet.network.ways import Way
from kubelet.runtime.interfaces import Record, State
from tests.unit.kube_proxy.networks import inside, ip

UNREACHABLE = ("10.244.0.0/16", "10.96.0.0/16")
PREFIX = f"ktn{os.getpid()}"
PORT = 8080
HEADERS = 28  # of IPv4 and UDP
DISCOVER, DO = 10, 2  # IP_MTU_DISCOVER, IP_PMTUDISC_DO: Python has names for neither


@dataclass
class Place:
    """A network namespace."""

    name: str

    def ip(self, *arguments: str) -> str:
        return ip("-n", self.name, *arguments)

    def netlink(self) -> Netlink:
        handle = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            return netlink_in(handle)
        finally:
            os.close(handle)

    def links(self) -> dict[str, tuple[int, int]]:
        with self.netlink() as nl:
            return links.links(nl)


@dataclass
class Node(Place):
    address: str
    range: str
    plumbing: Plumbing = field(init=False)

    async def plumb(self, way: Way, others: dict[str, str]) -> None:
        """What its kubelet does when it starts; `others` are the ranges and addresses of other nodes."""
        self.plumbing = Plumbing(self.address, UNREACHABLE, self.netlink, way)
        await self.plumbing.prepare()
        await self.plumbing.reach(self.range, others)


@dataclass
class Pod(Place):
    node: Node
    address: str
    pid: int

    async def attach(self) -> None:
        pod = objects.Pod(metadata=objects.ObjectMeta(name=self.name, namespace="default", uid=self.name))
        sandbox = Record(id=self.name, state=State.RUNNING, pid=self.pid)
        await self.node.plumbing.attach(pod, sandbox, self.address)

    def mtu(self) -> int:
        return self.links()["eth0"][1]


class Networks:
    """`apart`: the two nodes are on different networks. `close` removes all of it."""

    def __init__(self, *, apart: bool) -> None:
        self._stack = ExitStack()
        self.router = Place(self._namespace("router"))
        subnets = ("192.168.81", "192.168.82") if apart else ("192.168.81", "192.168.81")
        if not apart:
            self.router.ip("link", "add", "bridge", "type", "bridge")
            self.router.ip("link", "set", "bridge", "up")
        self.nodes = [self._node(n, f"{subnet}.{n}", apart=apart) for n, subnet in enumerate(subnets, start=1)]
        self.pods = [self._pod(n, node) for n, node in enumerate(self.nodes, start=1)]

    def others(self, node: Node) -> dict[str, str]:
        return {other.range: other.address for other in self.nodes if other is not node}

    async def plumb(self, way: Way) -> None:
        """Start the kubelets of all nodes, or start them again."""
        for node, pod in zip(self.nodes, self.pods, strict=True):
            await node.plumb(way, self.others(node))
            await pod.attach()

    def close(self) -> None:
        self._stack.close()

    def _namespace(self, name: str) -> str:
        name = f"{PREFIX}-{name}"
        ip("netns", "add", name)
        self._stack.callback(ip, "netns", "delete", name)
        for cidr in () if name.startswith(f"{PREFIX}-pod") else UNREACHABLE:
            ip("-n", name, "route", "add", "unreachable", cidr, "metric", "4278198272")
        ip("-n", name, "link", "set", "lo", "up")
        settings = ("ip_forward=1", "conf.all.rp_filter=1", "conf.default.rp_filter=1")
        with inside(name):
            subprocess.run(["sysctl", "-qw", *(f"net.ipv4.{setting}" for setting in settings)], check=True)
        return name

    def _node(self, number: int, address: str, *, apart: bool) -> Node:
        node = Node(self._namespace(f"node{number}"), address, f"10.244.{number}.0/24")
        port = f"to{number}"
        self.router.ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", node.name)
        node.ip("address", "add", f"{address}/24", "dev", "eth0")
        node.ip("link", "set", "eth0", "up")
        if apart:
            gateway = address.rpartition(".")[0] + ".254"
            self.router.ip("address", "add", f"{gateway}/24", "dev", port)
            node.ip("route", "add", "192.168.80.0/20", "via", gateway)
        else:
            self.router.ip("link", "set", port, "master", "bridge")
        self.router.ip("link", "set", port, "up")
        return node

    def _pod(self, number: int, node: Node) -> Pod:
        name = self._namespace(f"pod{number}")
        process = subprocess.Popen(["nsenter", f"--net=/run/netns/{name}", "sleep", "infinity"])
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        # The namespace of the file is entered before `sleep` takes the place of `nsenter`.
        while b"sleep" not in _command(process.pid):
            assert process.poll() is None
        return Pod(name, node, f"10.244.{number}.7", process.pid)


def _command(pid: int) -> bytes:
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read().split(b"\0")[0]


class Echo:
    """Sends every datagram back to where it came from, from inside of a place."""

    def __init__(self, place: Place) -> None:
        with inside(place.name):
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._socket.setsockopt(socket.IPPROTO_IP, DISCOVER, DO)
        self._socket.bind(("", PORT))
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Echo":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        while True:
            data, client = self._socket.recvfrom(1 << 16)
            if client is None or not data:
                return  # shut
            self._socket.sendto(data + client[0].encode() if len(data) < 100 else data, client)


class Sender:
    """A client that keeps its port, and sends nothing that would have to be cut on the way."""

    def __init__(self, place: Place, address: str) -> None:
        with inside(place.name):
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.IPPROTO_IP, DISCOVER, DO)
        self._socket.settimeout(3)
        self._socket.connect((address, PORT))

    def __enter__(self) -> "Sender":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def seen(self) -> str:
        """The address that the other side saw.  Raises OSError."""
        self._socket.send(b"?")
        return self._socket.recv(200).decode().removeprefix("?")

    def passes(self, size: int) -> bool:
        """Whether an IP packet of that size arrives and comes back whole; False if it is refused as too large."""
        data = b"x" * (size - HEADERS)
        try:
            self._socket.send(data)
        except OSError as e:
            if e.errno == errno.EMSGSIZE:
                return False
            raise
        return self._socket.recv(1 << 16) == data
