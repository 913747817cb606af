"""TaintNodesByCondition: no pod comes to a node before it has said that it is ready."""

from typing import Any

from api import kinds
from api.types import Node, Taint
from apiserver.requests import Request

NODES = kinds.of(Node)
NOT_READY = "node.kubernetes.io/not-ready"
EFFECT = "NoSchedule"


class TaintNodesByCondition:
    """https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#taintnodesbycondition"""

    async def admit(self, request: Request, obj: Any, old: Any) -> None:
        if request.kind is not NODES or request.subresource or obj is None or old is not None:
            return
        if not any((t.key, t.effect) == (NOT_READY, EFFECT) for t in obj.spec.taints):
            obj.spec.taints = [*obj.spec.taints, Taint(key=NOT_READY, effect=EFFECT)]
