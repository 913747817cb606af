"""What a container may know of its own pod.
https://kubernetes.io/docs/concepts/workloads/pods/downward-api/
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING

from api import quantities
from api.types import Container, Pod, ResourceFieldSelector

_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['(.*)'\]")


class ConfigError(Exception):
    """The container cannot be configured as its spec says: reason CreateContainerConfigError."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pod is: what its object says late or not at all."""

    node: str = ""
    host_ip: str = ""
    pod_ip: str = ""
    allocatable: Mapping[str, str] = None  # type: ignore[assignment]


def pod_field(pod: Pod, path: str, place: Place) -> str:
    """The value of a fieldRef.  Raises ConfigError for a path that there is not."""
    metadata = pod.metadata
    if found := _SUBSCRIPT.fullmatch(path):
        return (metadata.labels if found[1] == "labels" else metadata.annotations).get(found[2], "")
    match path:
        case "metadata.name":
            return metadata.name
        case "metadata.namespace":
            return metadata.namespace
        case "metadata.uid":
            return metadata.uid
        case "metadata.labels":
            return lines(metadata.labels)
        case "metadata.annotations":
            return lines(metadata.annotations)
        case "spec.nodeName":
            return pod.spec.nodeName or place.node
        case "spec.serviceAccountName":
            return pod.spec.serviceAccountName
        case "status.hostIP" | "status.hostIPs":
            return place.host_ip
        case "status.podIP" | "status.podIPs":
            return place.host_ip if pod.spec.hostNetwork else place.pod_ip
    raise ConfigError(f"unsupported fieldPath: {path}")


def lines(values: Mapping[str, str]) -> str:
    """key="value", sorted, the values quoted as Go's %q does."""
    return "\n".join(f'{k}="{_escaped(v)}"' for k, v in sorted(values.items()))


def _escaped(text: str) -> str:
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return "".join(escapes.get(c, c) for c in text)


def resource_field(pod: Pod, container: Container, selector: ResourceFieldSelector, place: Place) -> str:
    """The value of a resourceFieldRef in units of its divisor, rounded up.

    A limit that is not set is what the node has to give.
    """
    if selector.containerName:
        everyone = [*pod.spec.containers, *pod.spec.initContainers]
        named = next((c for c in everyone if c.name == selector.containerName), None)
        if named is None:
            raise ConfigError(f"container {selector.containerName} not found")
        container = named
    kind, _, resource = (selector.resource or "").partition(".")
    if kind not in ("limits", "requests") or not resource:
        raise ConfigError(f"unsupported container resource : {selector.resource}")
    resources = container.resources
    amount = (resources.limits if kind == "limits" else resources.requests).get(resource)
    if amount is None and kind == "requests":
        amount = resources.limits.get(resource, "0")
    if amount is None:
        amount = (place.allocatable or {}).get(resource, "0")
    divisor = quantities.parse(selector.divisor or "1") or 1
    return str(int((quantities.parse(amount) / divisor).to_integral_value(ROUND_CEILING)))
