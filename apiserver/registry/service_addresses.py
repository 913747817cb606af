"""The IPAddress object that tells whose a cluster IP is.

https://kubernetes.io/docs/reference/networking/virtual-ips/#ip-address-objects
"""

import uuid

from api.types import IPAddress, IPAddressSpec, ObjectMeta, ParentReference, Service


def address_of(service: Service, ip: str, now: str) -> IPAddress:
    """What tells that `ip` is the service's."""
    labels = {
        "ipaddress.kubernetes.io/ip-family": "IPv6" if ":" in ip else "IPv4",
        "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
    }
    parent = ParentReference(resource="services", namespace=service.metadata.namespace, name=service.metadata.name)
    return IPAddress(
        metadata=ObjectMeta(name=ip, uid=str(uuid.uuid4()), creationTimestamp=now, labels=labels),
        spec=IPAddressSpec(parentRef=parent),
    )
