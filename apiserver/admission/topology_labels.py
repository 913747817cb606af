"""PodTopologyLabels: a pod says in its own labels where it runs, for those who may not read nodes.

https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#podtopologylabels
"""

from typing import Any

from apiserver.admission.new_nodes import NODES
from apiserver.admission.pod_security import PODS
from apiserver.admission.reading import Reader
from apiserver.requests import Request

TOPOLOGY = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")


class PodTopologyLabels:
    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def admit(self, request: Request, obj: Any, old: Any) -> None:
        if request.kind is not PODS or obj is None or old is not None:
            return
        name = ""
        if request.subresource == "binding":
            # Whoever binds gives a pod the labels of its binding.
            name = obj.target.name if obj.target.kind == "Node" else ""
        elif not request.subresource:
            name = obj.spec.nodeName
        node = self._reader.get_cached(NODES, "", name) if name else None
        if node is not None and (found := {k: v for k in TOPOLOGY if (v := node.metadata.labels.get(k)) is not None}):
            obj.metadata.labels = obj.metadata.labels | found
