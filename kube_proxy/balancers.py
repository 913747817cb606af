"""Which node answers for which load balancer's address. Pure, so that every proxy comes to the same answer by itself.

An address belongs to the node with the highest hash of both, as long as that one is fit: when a node comes or goes,
only the addresses move that it takes or leaves (rendezvous hashing).
"""

import hashlib
from collections.abc import Callable, Iterable

from api import meta
from api.addresses import decimal
from api.types import EndpointSlice, Node, Service
from kube_proxy.services import is_ipv4, is_passed_over, nodes_with_endpoints

EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"


def addresses(service: Service) -> list[str]:
    """The addresses of its load balancer that nodes answer for."""
    if service.spec.type != "LoadBalancer" or is_passed_over(service):
        return []
    ingress = service.status.loadBalancer.ingress
    return [decimal(i.ip) for i in ingress if is_ipv4(i.ip) and i.ipMode != "Proxy"]


def is_fit(node: Node) -> bool:
    """Whether the node may answer for a load balancer."""
    m = node.metadata
    return meta.is_true(node, "Ready") and not m.deletionTimestamp and EXCLUDED not in m.labels


def owner(address: str, nodes: Iterable[str]) -> str:
    """The one of `nodes` that answers for the address; "" if there are none."""
    return max(nodes, key=lambda node: hashlib.sha256(f"{node} {address}".encode()).digest(), default="")


def owned(
    services: Iterable[Service],
    slices_of: Callable[[Service], Iterable[EndpointSlice]],
    nodes: Iterable[Node],
    own: str,
) -> set[str]:
    """The addresses that the node `own` answers for.

    With externalTrafficPolicy Local only nodes with endpoints do; where there are none, one node refuses. A node's own
    address (there are load balancers that use them) is never answered for.
    """
    nodes = list(nodes)
    taken = {decimal(a.address) for node in nodes for a in node.status.addresses}
    fit = sorted(node.metadata.name for node in nodes if is_fit(node))
    found: set[str] = set()
    for service in services:
        candidates = fit
        if service.spec.externalTrafficPolicy == "Local":
            candidates = nodes_with_endpoints(slices_of(service), fit) or fit
        found.update(a for a in addresses(service) if a not in taken and owner(a, candidates) == own)
    return found
