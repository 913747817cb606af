"""A node, its pods and a machine outside the cluster as network namespaces on this machine.

Pods are plumbed as the kubelet does it: point-to-point, gateway 169.254.1.1, no bridge. In every namespace the pod and
service ranges are unreachable before anything is sent.
"""

import contextlib
import ctypes
import itertools
import os
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator

NODE_IP, OUTSIDE_IP = "192.168.77.1", "192.168.77.2"
SERVICE_RANGE, POD_RANGE = "10.96.0.0/16", "10.244.0.0/16"
_GATEWAY = "169.254.1.1"
_LAST = "4096"
_FIRST_FRESH = 20_000  # below those that the kernel gives
_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def inside(name: str) -> Iterator[None]:
    """Sockets that this thread makes in the block, and threads that it starts, belong to the namespace."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    other = os.open(f"/run/netns/{name}", os.O_RDONLY)
    try:
        _enter(other)
        yield
    finally:
        _enter(own)
        os.close(own)
        os.close(other)


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, 0x40000000):
        raise OSError(ctypes.get_errno(), "setns")


def ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


class Network:
    """`node`, `outside` and pods by their addresses; `close` removes all of it."""

    def __init__(self, prefix: str = "kpt") -> None:
        self._prefix = f"{prefix}{os.getpid()}"
        self._sockets: list[socket.socket] = []
        self._pods: list[str] = []
        self._fresh = itertools.count(_FIRST_FRESH)
        self.node, self.outside = self._namespace("node"), self._namespace("out")
        self._set("ip_forward", "1")
        # A pod that reaches itself through a service would be told of a better way, and the kernel counts that
        # against the ICMP messages with which it refuses.
        for interfaces in ("all", "default"):
            self._set(f"conf/{interfaces}/send_redirects", "0")
        ip("-n", self.node, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", self.outside)
        for name, address in ((self.node, NODE_IP), (self.outside, OUTSIDE_IP)):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")

    def _namespace(self, name: str) -> str:
        name = f"{self._prefix}-{name}"
        ip("netns", "add", name)
        for network in (SERVICE_RANGE, POD_RANGE):
            # The metric 0 of the node's must not be in the proxy's way; elsewhere a better route comes before it.
            metric = "0" if name.endswith("node") and network == SERVICE_RANGE else _LAST
            ip("-n", name, "route", "add", "unreachable", network, "metric", metric)
        ip("-n", name, "link", "set", "lo", "up")
        return name

    def _set(self, name: str, value: str) -> None:
        with inside(self.node), open(f"/proc/sys/net/ipv4/{name}", "w") as setting:
            setting.write(value)

    def pod(self, address: str) -> str:
        """The namespace of a pod with this address."""
        number = address.rpartition(".")[2]
        name, link = self._namespace(f"pod{number}"), f"veth{number}"
        self._pods.append(name)
        ip("-n", self.node, "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("-n", self.node, "addr", "add", f"{_GATEWAY}/32", "dev", link)
        ip("-n", self.node, "link", "set", link, "up")
        ip("-n", self.node, "route", "add", f"{address}/32", "dev", link)
        ip("-n", name, "addr", "add", f"{address}/32", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        ip("-n", name, "route", "add", _GATEWAY, "dev", "eth0", "scope", "link")
        for network in ("default", SERVICE_RANGE, POD_RANGE):
            ip("-n", name, "route", "add", network, "via", _GATEWAY, "src", address)
        return name

    def serve(self, namespace: str, name: str, port: int = 8080, kind: int = socket.SOCK_STREAM) -> None:
        """Answer every client with `name` and the address it came from."""
        with inside(namespace):
            server = socket.socket(socket.AF_INET, kind)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(("", port))
        self._sockets.append(server)
        work = _answer_connections if kind == socket.SOCK_STREAM else _answer_datagrams
        if kind == socket.SOCK_STREAM:
            server.listen(64)
        threading.Thread(target=work, args=(server, name), daemon=True).start()

    def client(self, namespace: str, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """Its flows are new: of UDP the kernel gives a port again while it still knows what came from it, and lets
        pass what belongs to that."""
        with inside(namespace):
            client = socket.socket(socket.AF_INET, kind)
        if kind == socket.SOCK_DGRAM:
            client.bind(("", next(self._fresh)))
        return client

    def close(self) -> None:
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for name in (*self._pods, self.outside, self.node):
            ip("netns", "del", name)


def _answer_connections(server: socket.socket, name: str) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, address = server.accept()
            with connection:
                connection.sendall(f"{name} {address[0]}".encode())


def _answer_datagrams(server: socket.socket, name: str) -> None:
    with contextlib.suppress(OSError):
        while True:
            _, address = server.recvfrom(2048)
            if address is None:
                return  # shut
            server.sendto(f"{name} {address[0]}".encode(), address)


def ask(namespace: str, address: str, port: int, source: str = "", patience: float = 3) -> tuple[str, str]:
    """Who answers a TCP connection, and whom it saw asking.  Raises OSError."""
    with inside(namespace):
        client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with client:
        client.settimeout(patience)
        if source:
            client.bind((source, 0))
        client.connect((address, port))
        server, _, seen = client.recv(2048).decode().partition(" ")
        return server, seen


def tally(namespace: str, address: str, port: int, times: int = 60) -> Counter[str]:
    """How often which server answers."""
    return Counter(ask(namespace, address, port)[0] for _ in range(times))


class Datagrams:
    """A UDP client that keeps its port, and so its flow."""

    def __init__(self, network: Network, namespace: str) -> None:
        self.socket = network.client(namespace, socket.SOCK_DGRAM)
        self.socket.settimeout(3)

    def __enter__(self) -> "Datagrams":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def ask(self, address: str, port: int) -> str:
        self.socket.connect((address, port))
        self.socket.send(b"?")
        return self.socket.recv(2048).decode().partition(" ")[0]
