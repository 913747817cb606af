"""The keys that an object holds beside its own, so that what it was given is given to nobody else."""

from ipaddress import ip_address
from typing import Any

from api import kinds
from api.addresses import decimal
from api.kinds import Kind
from api.types import Service

SERVICES = kinds.of(Service)


def claims_of(kind: Kind, obj: Any | None) -> frozenset[str]:
    """`serviceips/10.96.0.7`, `nodeports/30001` … for what `obj` holds; empty for None and for most kinds.

    A property of the object alone: what a write takes and gives back is the difference between its two revisions.
    """
    if kind is not SERVICES or obj is None:
        return frozenset()
    return frozenset([f"serviceips/{ip}" for ip in addresses(obj)] + [f"nodeports/{port}" for port in node_ports(obj)])


def addresses(service: Service) -> list[str]:
    """The cluster IPs that the service holds."""
    if service.spec.type == "ExternalName":
        return []
    given = service.spec.clusterIPs or [service.spec.clusterIP]
    # One address has many spellings; a claim has one.
    return [str(ip_address(ip)) if ":" in ip else decimal(ip) for ip in given if ip not in ("", "None")]


def node_ports(service: Service) -> set[int]:
    """The ports that the service holds on every node. One number serves several protocols of one service."""
    if service.spec.type not in ("NodePort", "LoadBalancer"):
        return set()
    ports = {p.nodePort for p in service.spec.ports if p.nodePort}
    return ports | ({service.spec.healthCheckNodePort} if service.spec.healthCheckNodePort else set())
