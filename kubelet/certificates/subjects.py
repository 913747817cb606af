"""Whose certificates a node's are.  Pure.

https://kubernetes.io/docs/reference/access-authn-authz/kubelet-tls-bootstrapping/
"""

import ipaddress
from collections.abc import Iterable

from api.types import NodeAddress
from machinery.certificates import Subject

GROUP, PREFIX = "system:nodes", "system:node:"
NAMES, ADDRESSES = ("Hostname", "InternalDNS", "ExternalDNS"), ("InternalIP", "ExternalIP")


def of_client(node: str) -> Subject:
    return Subject(PREFIX + node, (GROUP,))


def of_server(node: str, addresses: Iterable[NodeAddress]) -> Subject | None:
    """With all that it may be called by.  None without an IP address, as upstream asks for nothing then."""
    names, ips = set(), set()
    for each in addresses:
        if _is_ip(each.address) and each.type in ("Hostname", *ADDRESSES):
            ips.add(each.address)
        elif each.address and each.type in NAMES:
            names.add(each.address)
    return Subject(PREFIX + node, (GROUP,), (*sorted(names), *sorted(ips))) if ips else None


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
