"""Who may do what.

An Authorizer raises Forbidden or returns.  `Groups` is the coarse one: administrators and the cluster's own components
may do everything, nobody else anything.  Rules in objects (RBAC) are another Authorizer in the same place.
"""

from typing import Protocol

from api import errors
from apiserver.requests import Request


class Authorizer(Protocol):
    def authorize(self, request: Request) -> None:
        """Called first for every verb, before anything is read or decoded.  Raises Forbidden."""
        ...


TRUSTED_GROUPS = frozenset({"system:masters", "system:nodes"})
TRUSTED_PREFIX = "system:kube-"
SELF = "system:apiserver"


class Groups:
    def authorize(self, request: Request) -> None:
        user = request.user
        if not TRUSTED_GROUPS.isdisjoint(user.groups) or user.name == SELF or user.name.startswith(TRUSTED_PREFIX):
            return
        raise refusal(request)


def refusal(request: Request) -> errors.Forbidden:
    """`pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "default"`."""
    kind = request.kind
    resource = f"{kind.plural}/{request.subresource}" if request.subresource else kind.plural
    where = f'in the namespace "{request.namespace}"' if request.namespace else "at the cluster scope"
    why = f'User "{request.user.name}" cannot {request.verb} resource "{resource}" in API group "{kind.group}" {where}'
    plural = f"{resource}.{kind.group}" if kind.group else resource
    if request.name:
        return errors.forbidden(plural, request.name, why)
    refused = errors.forbidden(plural, "", why)
    return errors.Forbidden(f"{plural} is forbidden: {why}", {k: v for k, v in refused.details.items() if v})
