"""Admission policies and their bindings."""

from typing import Any

from api.types import LabelSelector, MatchResources


def policy(obj: Any) -> None:
    obj.spec.failurePolicy = obj.spec.failurePolicy or "Fail"
    _match_resources(obj.spec.matchConstraints)


def binding(obj: Any) -> None:
    _match_resources(obj.spec.matchResources)
    if obj.spec.paramRef is not None:
        obj.spec.paramRef.parameterNotFoundAction = obj.spec.paramRef.parameterNotFoundAction or "Deny"


def _match_resources(it: MatchResources | None) -> None:
    if it is None:
        return
    it.matchPolicy = it.matchPolicy or "Equivalent"
    it.namespaceSelector = it.namespaceSelector or LabelSelector()
    it.objectSelector = it.objectSelector or LabelSelector()
    for rule in (*it.resourceRules, *it.excludeResourceRules):
        rule.scope = rule.scope or "*"
