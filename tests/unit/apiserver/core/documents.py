"""Small objects to store."""

from api import kinds
from api.types import ConfigMap, Namespace, Node, Pod

PODS, CONFIG_MAPS = kinds.of(Pod), kinds.of(ConfigMap)
NAMESPACES, NODES = kinds.of(Namespace), kinds.of(Node)


def pod(name: str, *, node: str = "", namespace: str = "default", labels: str = "{}") -> bytes:
    """A stored pod, as small as the storage lets it be."""
    return (
        f'{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{name}","namespace":"{namespace}","labels":{labels}}},'
        f'"spec":{{"nodeName":"{node}"}},"status":{{}}}}'
    ).encode()
