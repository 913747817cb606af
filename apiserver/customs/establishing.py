"""The conditions of CustomResourceDefinitions, and their end: names are accepted, kinds established, and when a
definition is deleted its objects go before it does.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#deleting-a-customresourcedefinition
"""

import asyncio
import logging
from typing import Any, NoReturn

import msgspec

from api import kinds, meta, times
from api.errors import ApiError, Conflict, NotFound
from api.types import (
    CustomResourceDefinition,
    CustomResourceDefinitionCondition,
    CustomResourceDefinitionNames,
)
from apiserver.authorization import SELF
from apiserver.customs import definitions, versions
from apiserver.customs.keeping import Keeper
from apiserver.registry import Registry
from apiserver.requests import DeleteOptions, ListOptions, Request, User
from apiserver.storage.tables import EVERYTHING
from apiserver.storage.worlds import World
from machinery.clocks import Clock

CRDS = kinds.of(CustomResourceDefinition)
FINALIZER = definitions.CLEANUP
USER = User(SELF, groups=("system:masters",))
AGAIN_SECONDS = 1.0
PAUSE_SECONDS = 0.5
log = logging.getLogger(__name__)


class Establisher:
    """Several API servers may do this at once: whoever comes second finds nothing to do."""

    def __init__(self, world: World, registry: Registry, keeper: Keeper, clock: Clock) -> None:
        self._world = world
        self._registry = registry
        self._keeper = keeper
        self._clock = clock
        self._finishing: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> NoReturn:
        async with asyncio.TaskGroup() as group:
            while True:
                with self._world.watcher(CRDS, "", EVERYTHING, bookmarks=False) as watcher:
                    try:
                        await self._all(group)
                        while await watcher.take():
                            await self._all(group)
                    except ApiError as e:
                        log.warning("conditions of definitions: %s", e)
                        await self._clock.sleep(AGAIN_SECONDS)

    async def _all(self, group: asyncio.TaskGroup) -> None:
        crds = list(self._registry.objects.list_cached(CRDS))
        for crd in crds:
            if crd.metadata.deletionTimestamp:
                self._finish(group, crd)
            elif wanted := named(crd, crds, times.format(self._clock.now())):
                await self._write(wanted)

    async def _write(self, crd: Any) -> None:
        """Who lost against another writer is told of that write, and comes again."""
        request = Request(USER, "update", CRDS, "", crd.metadata.name, "status", field_manager="apiserver")
        try:
            await self._registry.update(request, meta.encode(crd))
        except (Conflict, NotFound):
            return

    # --- the end

    def _finish(self, group: asyncio.TaskGroup, crd: Any) -> None:
        uid = crd.metadata.uid
        if FINALIZER in crd.metadata.finalizers and uid not in self._finishing:
            task = self._finishing[uid] = group.create_task(self._end(crd.metadata.name, uid))
            task.add_done_callback(lambda _: self._finishing.pop(uid, None))

    async def _end(self, name: str, uid: str) -> None:
        while True:
            try:
                crd = await self._registry.objects.get_fresh(CRDS, "", name)
                if crd is None or crd.metadata.uid != uid or FINALIZER not in crd.metadata.finalizers:
                    return None
                await self._keeper.refresh()
                left = await self._empty(name)
                if not left:
                    return await self._release(crd)
                await self._say(crd, "True", "InstanceDeletionInProgress", "CustomResource deletion is in progress")
            except ApiError as e:
                log.warning("deleting the objects of %s: %s", name, e)
            await self._clock.sleep(PAUSE_SECONDS)

    async def _empty(self, name: str) -> bool:
        """Delete every object; True if some are still there, held by their finalizers."""
        definition = self._keeper.definition(name)
        if definition is None:  # its names were never accepted: whatever there is belongs to another one
            return False
        kind = definition.stored
        request = Request(USER, "deletecollection", kind, field_manager="apiserver")
        await self._registry.delete_collection(request, ListOptions(), DeleteOptions())
        found = await self._registry.list(request.at(verb="list"), ListOptions())
        return bool(found.items)

    async def _say(self, crd: Any, status: str, reason: str, message: str) -> None:
        changed = meta.clone(crd)
        new = _condition("Terminating", status, reason, message, times.format(self._clock.now()))
        if meta.set_condition(changed.status.conditions, new):
            await self._write(changed)

    async def _release(self, crd: Any) -> None:
        left = [f for f in crd.metadata.finalizers if f != FINALIZER]
        patch = [
            {"op": "test", "path": "/metadata/uid", "value": crd.metadata.uid},
            {"op": "test", "path": "/metadata/resourceVersion", "value": crd.metadata.resourceVersion},
            {"op": "replace", "path": "/metadata/finalizers", "value": left},
        ]
        request = Request(USER, "patch", CRDS, "", crd.metadata.name, field_manager="apiserver")
        await self._registry.patch(request, msgspec.json.encode(patch), "json")


def _condition(type_: str, status: str, reason: str, message: str, now: str) -> Any:
    return CustomResourceDefinitionCondition(
        type=type_, status=status, reason=reason, message=message, lastTransitionTime=now
    )


def named(crd: Any, crds: list[Any], now: str) -> Any | None:
    """The definition with the names and conditions that it should have among the others; None if it has them."""
    accepted, conflict = accepted_names(crd, crds)
    new = meta.clone(crd)
    conditions = new.status.conditions
    changed = new.status.acceptedNames != accepted
    new.status.acceptedNames = accepted
    if conflict is None:
        found = _condition("NamesAccepted", "True", "NoConflicts", "no conflicts found", now)
    else:
        found = _condition("NamesAccepted", "False", *conflict, now)
    changed |= meta.set_condition(conditions, found)
    if not any(c.type == "Established" and c.status == "True" for c in conditions):
        changed |= meta.set_condition(conditions, _condition("Established", *_standing(crd, conflict), now))
    changed |= _approve(crd, conditions, now)
    return new if changed else None


def _standing(crd: Any, conflict: tuple[str, str] | None) -> tuple[str, str, str]:
    """(status, reason, message) of what is not established yet."""
    if conflict is not None:
        return "False", "NotAccepted", "not all names are accepted"
    if versions.bundle_fault(crd.spec.conversion):
        return "False", "InvalidCABundle", "The conversion webhook CABundle is invalid"
    return "True", "InitialNamesAccepted", "the initial names have been accepted"


_APPROVED = {
    "approved": ("True", "ApprovedAnnotation"), "bypassed": ("False", "UnapprovedAnnotation"),
    "invalid": ("False", "InvalidAnnotation"), "missing": ("False", "MissingAnnotation"),
}  # fmt: skip


def _approve(crd: Any, conditions: list[Any], now: str) -> bool:
    state, reason = definitions.approval_state(crd)
    if not state:
        return False
    status, short = _APPROVED[state]
    return meta.set_condition(
        conditions, _condition("KubernetesAPIApprovalPolicyConformant", status, short, reason, now)
    )


def accepted_names(crd: Any, crds: list[Any]) -> tuple[Any, tuple[str, str] | None]:
    """(the names that the definition may use, why not all that it asks for).

    A name is taken if another definition of the group has it accepted; what one has accepted oneself stays.
    """
    asked, before = crd.spec.names, crd.status.acceptedNames or CustomResourceDefinitionNames()
    others = [
        o.status.acceptedNames for o in crds
        if o.spec.group == crd.spec.group and o.metadata.uid != crd.metadata.uid and o.status.acceptedNames is not None
    ]  # fmt: skip
    resources = {n for o in others for n in (o.plural, o.singular, *o.shortNames) if n}
    taken = {n for o in others for n in (o.kind, o.listKind) if n}
    new = meta.clone(before)
    conflict: tuple[str, str] | None = None
    for field, names, reason in (
        ("plural", resources, "PluralConflict"), ("singular", resources, "SingularConflict"),
        ("shortNames", resources, "ShortNamesConflict"), ("kind", taken, "KindConflict"),
        ("listKind", taken, "ListKindConflict"),
    ):  # fmt: skip
        wanted = getattr(asked, field)
        clashing = [n for n in (wanted if field == "shortNames" else [wanted]) if n in names]
        if clashing:
            conflicts = [f"{json(name)} is already in use" for name in dict.fromkeys(clashing)]
            conflict = reason, conflicts[0] if len(conflicts) == 1 else f"[{', '.join(conflicts)}]"
        else:
            setattr(new, field, wanted)
    new.categories = asked.categories
    return new, conflict


def json(text: str) -> str:
    return msgspec.json.encode(text).decode()
