"""Cluster roles that are the sum of others: admin, edit, view, and whatever users add to them by a label.

https://kubernetes.io/docs/reference/access-authn-authz/rbac/#aggregated-clusterroles
"""

from api import labels, meta
from api.meta import Key
from api.types import ClusterRole, PolicyRule
from controller_manager.contexts import Context
from machinery.controllers import Controller


def new(context: Context) -> Controller:
    return RoleAggregationController(context).controller


class RoleAggregationController:
    """Its keys are cluster roles with an aggregation rule. Any role may be part of any of them, its own part too."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._roles = context.informers(ClusterRole)
        self.controller = Controller("clusterrole-aggregation-controller", self.reconcile, informers=(self._roles,))
        self._roles.on_change(self._changed)

    def _changed(self, old: ClusterRole | None, new: ClusterRole | None) -> None:
        if new is not None and new.aggregationRule is not None:
            self.controller.queue.add(meta.key(new))
        for role in self._roles.list():
            if any(part is not None and _is_part(role, part) for part in (old, new)):
                self.controller.queue.add(meta.key(role))

    async def reconcile(self, key: Key) -> None:
        role = self._roles.get(*key)
        if role is None or role.aggregationRule is None:
            return
        rules = total(role, self._roles.list())
        if rules != role.rules:
            change = {"apiVersion": role.apiVersion, "kind": role.kind, "metadata": {"name": key.name}, "rules": rules}
            await self._client.patch(ClusterRole, key.name, "", change)


def total(role: ClusterRole, roles: list[ClusterRole]) -> list[PolicyRule]:
    """The rules of every part, each once, in the order of the parts' names."""
    found: list[PolicyRule] = []
    for part in sorted(roles, key=lambda r: r.metadata.name):
        if part.metadata.name != role.metadata.name and _is_part(role, part):
            found += [rule for rule in part.rules if rule not in found]
    return found


def _is_part(whole: ClusterRole, part: ClusterRole) -> bool:
    rule = whole.aggregationRule
    selectors = rule.clusterRoleSelectors if rule is not None else []
    return any(labels.from_object(s).matches(part.metadata.labels) for s in selectors)
