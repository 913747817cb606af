"""Nobody grants what they do not have: a rule of admission that asks the authorizer.

https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping
"""

from typing import Any

from api import errors, kinds
from api.kinds import Kind
from api.types import ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding
from apiserver.authorization.deciding import EVERYTHING, Authorizer
from apiserver.authorization.rbac import Rbac
from apiserver.authorization.rights import compact, described, missing, quoted
from apiserver.requests import Request

ROLES, CLUSTER_ROLES, ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS = (
    kinds.of(t) for t in (Role, ClusterRole, RoleBinding, ClusterRoleBinding)
)


class Escalation:
    """For roles the verb `escalate`, for bindings the verb `bind` allows what is otherwise refused."""

    def __init__(self, authorizer: Authorizer, rbac: Rbac) -> None:
        self._authorizer = authorizer
        self._rbac = rbac

    async def admit(self, request: Request, obj: Any, old: Any) -> None:
        """Raises Forbidden, NotFound."""
        kind = request.kind
        if obj is None or request.subresource:
            return
        if kind is ROLES or kind is CLUSTER_ROLES:
            self._role(request, obj, old)
        elif kind is ROLE_BINDINGS or kind is CLUSTER_ROLE_BINDINGS:
            self._binding(request, obj, old)

    def _role(self, request: Request, role: Any, old: Any) -> None:
        if old is not None and role.rules == old.rules and _aggregation(role) == _aggregation(old):
            return
        name = role.metadata.name
        if self._may(request, "escalate", request.kind, name):
            return
        if _aggregation(role) is not None and missing(self._held(request), EVERYTHING):
            why = "must have cluster-admin privileges to use the aggregationRule"
            raise errors.forbidden(request.kind.group_resource, name, why)
        self._confirm(request, name, role.rules)

    def _binding(self, request: Request, binding: Any, old: Any) -> None:
        if old is not None and (binding.roleRef, binding.subjects) == (old.roleRef, old.subjects):
            return
        ref = binding.roleRef
        kind = ROLES if ref.kind == "Role" else CLUSTER_ROLES
        if self._may(request, "bind", kind, ref.name):
            return
        self._confirm(request, binding.metadata.name, self._rbac.role_rules(ref, request.namespace))

    def _may(self, request: Request, verb: str, kind: Kind, name: str) -> bool:
        return self._authorizer.decide(Request(request.user, verb, kind, request.namespace, name)).allowed

    def _held(self, request: Request) -> list[PolicyRule]:
        return self._authorizer.rules(request.user, request.namespace)[0]

    def _confirm(self, request: Request, name: str, wanted: list[PolicyRule]) -> None:
        user = request.user
        held, faults = self._authorizer.rules(user, request.namespace)
        if lacking := missing(held, wanted):
            rules = "\n".join(sorted({described(rule) for rule in compact(lacking)}))
            why = (
                f'user "{user.name}" (groups={quoted(user.groups)}) is attempting to grant RBAC permissions not '
                f"currently held:\n{rules}"
            )
            if faults:
                why += f"; resolution errors: [{', '.join(faults)}]"
            raise errors.forbidden(request.kind.group_resource, name, why)


def _aggregation(role: Any) -> Any:
    return getattr(role, "aggregationRule", None)
