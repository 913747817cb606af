"""What policies know of a pod: a decoding of the Pod's document that keeps a twentieth of it.

Every node keeps all pods of the cluster in mind, as soon as there is a policy.
"""

from collections.abc import Iterator
from typing import ClassVar, NamedTuple

import msgspec

from api import kinds
from api.addresses import decimal
from api.types import Pod
from kube_proxy.services import is_ipv4


class Ports(msgspec.Struct, gc=False):
    name: str = ""
    containerPort: int = 0
    protocol: str = "TCP"


class Ported(msgspec.Struct, gc=False):
    ports: list[Ports] = []
    restartPolicy: str = ""


class Spec(msgspec.Struct, gc=False):
    nodeName: str = ""
    hostNetwork: bool = False
    containers: list[Ported] = []
    initContainers: list[Ported] = []


class Status(msgspec.Struct, gc=False):
    podIP: str = ""
    phase: str = ""


class Meta(msgspec.Struct, gc=False):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    labels: dict[str, str] = {}
    resourceVersion: str = ""


class PolicyPod(msgspec.Struct, gc=False):
    """A Pod, as informers can follow it."""

    KIND: ClassVar[kinds.Kind] = kinds.of(Pod)
    metadata: Meta = msgspec.field(default_factory=Meta)
    spec: Spec = msgspec.field(default_factory=Spec)
    status: Status = msgspec.field(default_factory=Status)


class NamedPort(NamedTuple):
    name: str
    protocol: str  # as nft spells it


class Member(NamedTuple):
    """A pod with an address of its own."""

    namespace: str
    labels: dict[str, str]
    address: str
    node: str
    ports: tuple[tuple[NamedPort, int], ...] = ()


def member(pod: PolicyPod | None) -> Member | None:
    """None of a pod that policies do not touch: it shares its node's network, or has no address yet or any more."""
    if pod is None or pod.spec.hostNetwork or not is_ipv4(pod.status.podIP):
        return None
    if pod.status.phase in ("Succeeded", "Failed"):
        return None
    m = pod.metadata
    return Member(m.namespace, m.labels, decimal(pod.status.podIP), pod.spec.nodeName, tuple(_ports(pod.spec)))


def _ports(spec: Spec) -> Iterator[tuple[NamedPort, int]]:
    sidecars = [c for c in spec.initContainers if c.restartPolicy == "Always"]
    for container in (*spec.containers, *sidecars):
        for port in container.ports:
            if port.name:
                yield NamedPort(port.name, (port.protocol or "TCP").lower()), port.containerPort
