"""DefaultTolerationSeconds: how long a pod stays on a node that stopped answering."""

from typing import Any

from api import kinds
from api.types import Pod, Toleration
from apiserver.requests import Request

PODS = kinds.of(Pod)
NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
SECONDS = 300


class DefaultTolerationSeconds:
    """https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#defaulttolerationseconds"""

    async def admit(self, request: Request, obj: Any, old: Any) -> None:
        if request.kind is not PODS or request.subresource or obj is None:
            return
        tolerations = obj.spec.tolerations
        missing = [key for key in (NOT_READY, UNREACHABLE) if not _tolerated(key, tolerations)]
        # A pod that exists already has both, so that this adds none on update: tolerations may only be added to.
        obj.spec.tolerations = tolerations + [
            Toleration(key=key, operator="Exists", effect="NoExecute", tolerationSeconds=SECONDS) for key in missing
        ]


def _tolerated(key: str, tolerations: list[Toleration]) -> bool:
    return any(t.key in (key, "") and t.effect in ("NoExecute", "") for t in tolerations)
