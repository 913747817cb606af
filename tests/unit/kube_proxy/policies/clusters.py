"""Upstream's model of policies: namespaces x, y and z with pods a, b and c in each, which serve TCP and UDP on two ports.

https://github.com/kubernetes/kubernetes/tree/master/test/e2e/network/netpol
"""

import errno
import select
import socket
from collections.abc import Iterable
from typing import Any

import yaml

from api import meta
from api.types import NetworkPolicy, Node, NodeSpec, ObjectMeta
from kube_proxy.policies.enforcer import NAMESPACE, Enforcer
from kube_proxy.policies.members import PolicyPod
from kube_proxy.policies.table import PolicyTable
from tests.unit.kube_proxy.networks import Network
from tests.unit.kube_proxy.worlds import World

NODE = "node1"
PODS = {f"{ns}/{pod}": f"10.244.0.{20 + 3 * i + j}" for i, ns in enumerate("xyz") for j, pod in enumerate("abc")}
PORTS = (80, 81)
TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
Pairs = set[tuple[str, str]]
EVERY = {(a, b) for a in PODS for b in PODS}


def named(ports: dict[str, int], protocol: str) -> list[dict[str, Any]]:
    return [{"name": k, "containerPort": v, "protocol": protocol.upper()} for k, v in ports.items()]


NAMED = [p for protocol in ("tcp", "udp") for p in named({f"serve-{n}-{protocol}": n for n in PORTS}, protocol)]


class Cluster:
    """What informers tell, and the enforcer of the node that has all the pods."""

    def __init__(self, network: Network, table: PolicyTable) -> None:
        self.network = network
        self.policies, self.namespaces, self.pods, self.nodes = World(), World(), World(), World()
        worlds: Any = (self.policies, self.namespaces, self.pods, self.nodes)
        self.enforcer = Enforcer(*worlds, table, node=NODE)
        self.nodes.put(Node(metadata=ObjectMeta(name=NODE), spec=NodeSpec(podCIDR="10.244.0.0/24")))
        for ns in "xyz":
            self.put_namespace(ns)
        for name in PODS:
            self.put_pod(name)

    def put_namespace(self, name: str, **labels: str) -> None:
        told = {"ns": name, "kubernetes.io/metadata.name": name} | labels
        self.namespaces.put(NAMESPACE(metadata=ObjectMeta(name=name, labels=told)))

    def put_pod(self, name: str, *, ports: dict[str, int] | None = None, phase: str = "Running", **labels: str) -> None:
        """`ports`: its TCP ports by name, if they are not those of all pods."""
        namespace, _, pod = name.partition("/")
        document = {
            "metadata": {"name": pod, "namespace": namespace, "labels": {"pod": pod} | labels},
            "spec": {"nodeName": NODE, "containers": [{"ports": NAMED if ports is None else named(ports, "tcp")}]},
            "status": {"podIP": PODS[name], "phase": phase},
        }
        self.pods.put(meta.decode(meta.encode(document), PolicyPod))

    def put(self, *policies: NetworkPolicy) -> None:
        for each in policies:
            self.policies.put(each)

    async def reached(
        self, expected: Pairs, port: int = 80, kind: int = TCP, *, among: Iterable[tuple[str, str]] | None = None,
    ) -> Pairs:  # fmt: skip
        """Who of `among` (all pods) reaches whom, once the kernel knows the policies."""
        assert await self.enforcer.sync()
        return self._probe(expected, port, kind, EVERY if among is None else set(among))

    def _probe(self, expected: Pairs, port: int, kind: int, pairs: Pairs) -> Pairs:
        """Whoever is expected gets five seconds; the others, who began at the same time, a twentieth more."""
        waiting: dict[int, tuple[socket.socket, tuple[str, str]]] = {}
        poll = select.poll()
        for source in {a for a, _ in pairs}:
            for pair in sorted(p for p in pairs if p[0] == source):
                client = self.network.client(namespace(self.network, source), kind)
                client.setblocking(False)
                assert client.connect_ex((PODS[pair[1]], port)) in (0, errno.EINPROGRESS)
                if kind == UDP:
                    client.send(b"?")
                waiting[client.fileno()] = client, pair
                poll.register(client, select.POLLOUT if kind == TCP else select.POLLIN)
        found: Pairs = set()
        while events := poll.poll(50 if expected <= found else 5000):
            for descriptor, event in events:
                client, pair = waiting[descriptor]
                if not event & (select.POLLERR | select.POLLHUP):
                    found.add(pair)
                poll.unregister(client)
        for client, _ in waiting.values():
            client.close()
        return found


def namespace(network: Network, pod: str) -> str:
    return network.node.replace("node", f"pod{PODS[pod].rpartition('.')[2]}")


def policy(where: str, spec: str, name: str = "policy") -> NetworkPolicy:
    """A policy in namespace `where`, its spec as YAML."""
    document = {"metadata": {"name": name, "namespace": where}, "spec": yaml.safe_load(spec)}
    return meta.decode(meta.encode(document), NetworkPolicy)


def to(*targets: str, of: Iterable[str] = PODS) -> Pairs:
    return {(source, target) for source in of for target in targets}


def but(forbidden: Pairs) -> Pairs:
    """Everybody reaches everybody, but for these; nobody is kept from itself."""
    return EVERY - {(a, b) for a, b in forbidden if a != b}


def in_(namespace_: str) -> list[str]:
    return [pod for pod in PODS if pod.startswith(namespace_)]
