"""Tables of services and what carries their traffic."""

from typing import Any

from api.types import (
    Endpoints,
    EndpointSlice,
    Ingress,
    IngressClass,
    IPAddress,
    NetworkPolicy,
    Service,
    ServiceCIDR,
)
from apiserver.rest.tables.columns import Printer, age, columns, first, label_map, selector

_SHOWN = 3


def _service(obj: Service, now: float) -> list[Any]:
    spec = obj.spec
    address = spec.clusterIPs[0] if spec.clusterIPs else spec.clusterIP
    return [
        obj.metadata.name, spec.type, address or "<none>", _external(obj), _ports(obj), age(obj, now),
        label_map(spec.selector),
    ]  # fmt: skip


def _external(obj: Service) -> str:
    spec = obj.spec
    match spec.type:
        case "ExternalName":
            return spec.externalName
        case "LoadBalancer":
            given = [i.ip or i.hostname for i in obj.status.loadBalancer.ingress] + spec.externalIPs
            return ",".join(given) or "<pending>"
        case _:
            return ",".join(spec.externalIPs) or "<none>"


def _ports(obj: Service) -> str:
    shown = [f"{p.port}:{p.nodePort}/{p.protocol}" if p.nodePort else f"{p.port}/{p.protocol}" for p in obj.spec.ports]
    return ",".join(shown) or "<none>"


def _endpoints(obj: Endpoints, now: float) -> list[Any]:
    shown = []
    for subset in obj.subsets:
        if not subset.ports:
            shown += [a.ip or "" for a in subset.addresses]
        for port in subset.ports:
            shown += [_host_port(a.ip or "", port.port or 0) for a in subset.addresses]
    return [obj.metadata.name, first(shown, _SHOWN) if shown else "<none>", age(obj, now)]


def _host_port(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _endpoint_slice(obj: EndpointSlice, now: float) -> list[Any]:
    ports = ["*" if p.port is None and not p.name else str(p.port if p.port is not None else p.name) for p in obj.ports]
    addresses = [a for e in obj.endpoints for a in e.addresses]
    return [
        obj.metadata.name, obj.addressType, first(ports, _SHOWN) or "<unset>", first(addresses, _SHOWN) or "<unset>",
        age(obj, now),
    ]  # fmt: skip


def _ingress(obj: Ingress, now: float) -> list[Any]:
    hosts = [r.host for r in obj.spec.rules if r.host]
    balancer = obj.status.loadBalancer
    given = [i.ip or i.hostname for i in balancer.ingress] if balancer is not None else []
    return [
        obj.metadata.name, obj.spec.ingressClassName or "<none>", first(hosts, _SHOWN) or "*", ",".join(given),
        "80, 443" if obj.spec.tls else "80", age(obj, now),
    ]  # fmt: skip


def _ingress_class(obj: IngressClass, now: float) -> list[Any]:
    parameters = obj.spec.parameters
    shown = "<none>"
    if parameters is not None:
        group = f".{parameters.apiGroup}" if parameters.apiGroup else ""
        shown = f"{parameters.kind}{group}/{parameters.name}"
    return [obj.metadata.name, obj.spec.controller, shown, age(obj, now)]


def _network_policy(obj: NetworkPolicy, now: float) -> list[Any]:
    return [obj.metadata.name, selector(obj.spec.podSelector), age(obj, now)]


def _service_cidr(obj: ServiceCIDR, now: float) -> list[Any]:
    return [obj.metadata.name, ",".join(obj.spec.cidrs), age(obj, now)]


def _ip_address(obj: IPAddress, now: float) -> list[Any]:
    parent = obj.spec.parentRef
    if parent is None:
        return [obj.metadata.name, "<none>"]
    resource = f"{parent.resource}.{parent.group}" if parent.group else parent.resource or ""
    return [obj.metadata.name, "/".join(p for p in (resource, parent.namespace, parent.name) if p)]


PRINTERS = {
    ("v1", "Service"): Printer("Service", columns("Name Type Cluster-IP External-IP Port(s) Age Selector*"), _service),
    ("v1", "Endpoints"): Printer("Endpoints", columns("Name Endpoints Age"), _endpoints),
    ("discovery.k8s.io/v1", "EndpointSlice"): Printer(
        "EndpointSlice", columns("Name AddressType Ports Endpoints Age"), _endpoint_slice
    ),
    ("networking.k8s.io/v1", "Ingress"): Printer("Ingress", columns("Name Class Hosts Address Ports Age"), _ingress),
    ("networking.k8s.io/v1", "IngressClass"): Printer(
        "IngressClass", columns("Name Controller Parameters Age"), _ingress_class
    ),
    ("networking.k8s.io/v1", "NetworkPolicy"): Printer(
        "NetworkPolicy", columns("Name Pod-Selector Age"), _network_policy
    ),
    ("networking.k8s.io/v1", "ServiceCIDR"): Printer("ServiceCIDR", columns("Name CIDRs Age"), _service_cidr),
    ("networking.k8s.io/v1", "IPAddress"): Printer("IPAddress", columns("Name ParentRef"), _ip_address),
}
