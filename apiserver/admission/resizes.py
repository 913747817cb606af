"""PodResizeValidator: nobody asks for more than the pod's node can ever give.

https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#podresizevalidator
"""

from typing import Any

from api import errors, quantities
from api.quotas import pods
from api.quotas.amounts import ZERO
from api.types import Node, Pod
from apiserver.admission.new_nodes import NODES
from apiserver.admission.pod_security import PODS
from apiserver.admission.reading import Reader
from apiserver.requests import Request

OS = "kubernetes.io/os"


class PodResizeValidator:
    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def judge(self, request: Request, obj: Any, old: Any) -> None:
        if request.kind is not PODS or request.subresource != "resize" or obj is None or old is None:
            return
        name = obj.spec.nodeName
        if not name or obj.spec == old.spec:
            return
        node = self._reader.get_cached(NODES, "", name)
        if node is None:
            raise _refusal(obj, f'node "{name}" not found')
        if (system := node.metadata.labels.get(OS, "linux")) != "linux":
            why = f'pod resize is only supported on linux nodes, node "{name}" is "{system}"'
            raise _refusal(obj, why, "UnsupportedPlatform")
        if short := _short(obj, node):
            raise _refusal(obj, f"node didn't have enough allocatable resources: {'; '.join(short)}", "NodeCapacity")


def _short(pod: Pod, node: Node) -> list[str]:
    asked = pods.requests(pod)
    found = []
    for name, unit in (("cpu", quantities.milli), ("memory", quantities.value)):
        wanted, has = str(asked.get(name, ZERO)), node.status.allocatable.get(name, "0")
        if quantities.parse(wanted) > quantities.parse(has):
            found.append(f"{name}, requested: {unit(wanted)}, allocatable: {unit(has)}")
    return found


def _refusal(pod: Pod, why: str, reason: str = "") -> errors.Forbidden:
    refusal = errors.forbidden(PODS.group_resource, pod.metadata.name, why)
    if reason:
        refusal.details["causes"] = [{"reason": reason}]
    return refusal
