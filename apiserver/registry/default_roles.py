"""The default roles and bindings in the store: what is missing is made, and what others took away comes back, unless
the annotation rbac.authorization.kubernetes.io/autoupdate says "false".

https://kubernetes.io/docs/reference/access-authn-authz/rbac/#auto-reconciliation
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from api import meta
from api.errors import AlreadyExists, Conflict
from api.types import AggregationRule
from apiserver.authorization import SELF, defaults
from apiserver.authorization.rights import missing
from apiserver.registry.registries import Registry
from apiserver.requests import DeleteOptions, Request, User

USER = User(SELF, groups=("system:masters",))
AT_ONCE = 32


async def ensure(registry: Registry) -> None:
    """Safe to call from several API servers at once."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(wanted: Any) -> None:
        async with room:
            await _ensure(registry, wanted)

    for objects in (
        (*defaults.cluster_roles(), *defaults.roles()),
        (*defaults.cluster_role_bindings(), *defaults.role_bindings()),
    ):
        async with asyncio.TaskGroup() as group:
            for wanted in objects:
                group.create_task(one(wanted))


async def _ensure(registry: Registry, wanted: Any) -> None:
    metadata, kind = wanted.metadata, meta.kind_of(wanted)
    present = registry.objects.get_cached(kind, metadata.namespace, metadata.name)
    request = Request(USER, "create", kind, metadata.namespace, field_manager="apiserver")
    with suppress(AlreadyExists, Conflict):  # another API server starts beside this one
        if present is None:
            await registry.create(request, meta.encode(wanted))
        elif getattr(present, "roleRef", None) != getattr(wanted, "roleRef", None):
            if present.metadata.annotations.get(defaults.AUTOUPDATE) != "false":  # what a binding binds never changes
                await registry.delete(request.at(verb="delete", name=metadata.name), DeleteOptions())
                await registry.create(request, meta.encode(wanted))
        elif present.metadata.annotations.get(defaults.AUTOUPDATE) != "false":
            whole = meta.clone(present)
            if _complete(whole, wanted):
                await registry.update(request.at(verb="update", name=metadata.name), meta.encode(whole))


def _complete(present: Any, wanted: Any) -> bool:
    """Adds what is missing. True if anything was."""
    if hasattr(wanted, "rules"):
        field, lacking = "rules", [r for r in wanted.rules if missing(present.rules, [r])]
    else:
        known = [_subject(s) for s in present.subjects]
        field, lacking = "subjects", [s for s in wanted.subjects if _subject(s) not in known]
    setattr(present, field, [*getattr(present, field), *lacking])
    labels = present.metadata.labels | wanted.metadata.labels
    changed = bool(lacking) or labels != present.metadata.labels
    present.metadata.labels = labels
    if (sum_ := getattr(wanted, "aggregationRule", None)) is not None:
        parts = present.aggregationRule.clusterRoleSelectors if present.aggregationRule is not None else []
        more = [part for part in sum_.clusterRoleSelectors if part not in parts]
        present.aggregationRule = AggregationRule(clusterRoleSelectors=[*parts, *more])
        changed = changed or bool(more)
    return changed


def _subject(subject: Any) -> Iterable[str]:
    return (subject.kind, subject.name, subject.namespace)
