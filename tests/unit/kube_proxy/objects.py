"""Services and slices for the tests of the proxy."""

from typing import Any

from api.types import (
    DiscoveryV1EndpointPort,
    Endpoint,
    EndpointConditions,
    EndpointHints,
    EndpointSlice,
    ForNode,
    ForZone,
    ObjectMeta,
    Service,
    ServicePort,
    ServiceSpec,
)
from kube_proxy.rules import Elements, elements
from kube_proxy.services import Balanced, Place, balanced

NODE = "node1"


def service(name: str = "web", ip: str = "10.96.0.10", **spec: Any) -> Service:
    ports = spec.pop("ports", [ServicePort(port=80, protocol="TCP")])
    return Service(
        metadata=ObjectMeta(name=name, namespace="default"),
        spec=ServiceSpec(**{"type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip], "ports": ports, **spec}),
    )


def endpoint(
    address: str,
    node: str = NODE,
    *,
    ready: bool | None = True,
    serving: bool | None = None,
    terminating: bool | None = None,
    zones: str = "",
    nodes: str = "",
) -> Endpoint:
    """`zones` and `nodes`: for whose clients it is meant, by its hints."""
    conditions = EndpointConditions(ready=ready, serving=serving, terminating=terminating)
    for_zones, for_nodes = [ForZone(name=z) for z in zones.split()], [ForNode(name=n) for n in nodes.split()]
    hints = EndpointHints(forZones=for_zones, forNodes=for_nodes) if zones or nodes else None
    return Endpoint(addresses=[address], nodeName=node, conditions=conditions, hints=hints)


def slice_of(*endpoints: Endpoint, port: int = 8080, protocol: str = "TCP", name: str = "") -> EndpointSlice:
    return EndpointSlice(
        metadata=ObjectMeta(name="web-1", namespace="default", labels={"kubernetes.io/service-name": "web"}),
        addressType="IPv4",
        endpoints=list(endpoints),
        ports=[DiscoveryV1EndpointPort(name=name, port=port, protocol=protocol)],
    )


def ports(of: Service, *slices: EndpointSlice, node: str = NODE, zone: str = "") -> list[Balanced]:
    return balanced(of, slices, Place(node, zone))


def wanted(of: Service, *slices: EndpointSlice, node: str = NODE, address: str = "") -> Elements:
    found: Elements = {}
    for port in balanced(of, slices, Place(node, address=address)):
        found |= elements(port)
    return found


def by_map(found: Elements) -> dict[str, dict[str, str]]:
    grouped: dict[str, dict[str, str]] = {}
    for element, value in found.items():
        grouped.setdefault(element.map, {})[element.key] = value
    return grouped
