"""The ports of the node that its pods ask for → the elements of the table's maps. Pure.

A pod is reached there from when it has an address until it has ended, ready or not, as with upstream's portmap plug-in.
"""

from collections.abc import Iterator

from api.addresses import decimal
from api.types import ContainerPort, Pod
from kube_proxy.rules import Element, Elements
from kube_proxy.services import is_ipv4

ANYWHERE = ("", "0.0.0.0", "::")  # noqa: S104  what a pod may say for: every address of the node


def published(pod: Pod) -> Elements:
    """What the table must hold for the pod."""
    address = decimal(pod.status.podIP)
    found: Elements = {}
    if pod.spec.hostNetwork or not is_ipv4(address) or pod.status.phase in ("Succeeded", "Failed"):
        return found
    for port in _ports(pod):
        protocol = (port.protocol or "TCP").lower()
        number = f"{protocol} . {port.hostPort}"
        where = port.hostIP or ""
        if where in ANYWHERE:
            element = Element(f"host-ports-anywhere-{protocol}", number)
        elif is_ipv4(where):
            element = Element(f"host-ports-{protocol}", f"{decimal(where)} . {number}")
        else:
            continue
        found.setdefault(element, f"{address} . {port.containerPort}")
    if found:
        found[Element("hairpins", f"{address} . {address}")] = ""
    return found


def _ports(pod: Pod) -> Iterator[ContainerPort]:
    sidecars = [c for c in pod.spec.initContainers if c.restartPolicy == "Always"]
    for container in (*pod.spec.containers, *sidecars):
        yield from (p for p in container.ports if p.hostPort)
