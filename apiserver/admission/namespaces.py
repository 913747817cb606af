"""NamespaceLifecycle: nothing is made in a namespace that is not there or is on its way out."""

from collections import OrderedDict
from typing import Any

from api import errors, kinds
from api.types import Namespace
from apiserver.admission.reading import Reader, find
from apiserver.requests import Request

IMMORTAL = {"default", "kube-system", "kube-public"}
NAMESPACES = kinds.of(Namespace)
REMEMBERED = 1024
# These are created while a namespace ends, so that the ending itself can be followed and authorised.
ALWAYS_ALLOWED = {("authorization.k8s.io", "localsubjectaccessreviews")}


class NamespaceLifecycle:
    """https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#namespacelifecycle"""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        # Namespaces whose deletion passed here: the cache may not show it yet, so they are read fresh.
        self.ending: OrderedDict[str, None] = OrderedDict()

    async def admit(self, request: Request, obj: Any, old: Any) -> None:
        kind = request.kind
        if request.verb == "delete" and kind is NAMESPACES:
            if request.name in IMMORTAL:
                raise errors.forbidden("namespaces", request.name, "this namespace may not be deleted")
            self._remember(request.name)
        # An update of what exists needs no look: its namespace cannot be gone before it is.
        if request.verb not in ("create", "update", "patch") or old is not None or not kind.namespaced:
            return
        if (kind.group, kind.plural) in ALWAYS_ALLOWED:
            return
        if request.namespace in self.ending:
            namespace = await self.reader.get_fresh(NAMESPACES, "", request.namespace)
        else:
            namespace = await find(self.reader, NAMESPACES, "", request.namespace)
        if namespace is None:
            raise errors.not_found("namespaces", request.namespace)
        if namespace.status.phase == "Terminating" or namespace.metadata.deletionTimestamp:
            raise _terminating(request, obj)

    def _remember(self, name: str) -> None:
        self.ending[name] = None
        self.ending.move_to_end(name)
        if len(self.ending) > REMEMBERED:
            self.ending.popitem(last=False)


def _terminating(request: Request, obj: Any) -> errors.Forbidden:
    namespace = request.namespace
    name = obj.metadata.name if obj is not None else request.name
    because = f"unable to create new content in namespace {namespace} because it is being terminated"
    refusal = errors.forbidden(request.kind.group_resource, name, because)
    refusal.details["causes"] = [
        {
            "reason": "NamespaceTerminating",
            "message": f"namespace {namespace} is being terminated",
            "field": "metadata.namespace",
        }
    ]
    return refusal
