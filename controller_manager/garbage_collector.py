"""Objects whose owners are gone go too.

https://kubernetes.io/docs/concepts/architecture/garbage-collection/ . Its keys are uids. Three ways to delete an owner:
- Background (usual): the owner goes at once, its dependents when this controller finds it gone;
- Foreground: the finalizer foregroundDeletion keeps the owner until all dependents that block it are gone;
- Orphan: the finalizer orphan keeps the owner until no dependent refers to it any more.

That an owner is there may be believed of an informer: the news of its end would come later and ask again. That it is
gone must be asked of the server: it may only not be seen yet, and what was deleted in error does not come back.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any, Literal

import msgspec

from api import errors, kinds, meta
from api.kinds import Kind
from api.meta import Key
from api.types import CustomResourceDefinition
from controller_manager.contexts import Context
from controller_manager.gathering import all_of
from controller_manager.ownership import (
    FOREGROUND,
    ORPHAN,
    Graph,
    Item,
    Owner,
    Verdict,
    is_orphaning,
    is_waiting,
    judge,
)
from machinery.controllers import Controller
from machinery.informers import Informer

ABSENT_REMEMBERED = 500


def new(context: Context) -> Controller:
    return GarbageCollector(context).controller


def collected(served: Iterable[Kind]) -> list[Kind]:
    """Every kind that may own or be owned, each in one version only. Events are too many and own nothing."""
    by_kind: dict[tuple[str, str], Kind] = {}
    for kind in served:
        if {"list", "watch", "delete"} <= set(kind.verbs) and kind.name != "Event":
            by_kind.setdefault((kind.group, kind.name), kind)
    return list(by_kind.values())


class GarbageCollector:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._events = context.recorder("garbage-collector-controller")
        self._graph = Graph()
        self._absent: OrderedDict[tuple[str, ...], None] = OrderedDict()
        self._went: set[tuple[str, str]] = set()
        self._kinds = {(k.group, k.name): k for k in collected(kinds.served(context.config.gates))}
        self._informers: dict[Kind, Informer[Any]] = {k: context.informers.metadata(k) for k in self._kinds.values()}
        self.controller = Controller(
            "garbage-collector-controller", self.reconcile, workers=20, informers=tuple(self._informers.values())
        )
        for kind, informer in self._informers.items():
            informer.on_change(partial(self._changed, kind))
        context.custom_kinds.on_change(self._kind_came, self._kind_went)

    # Which kinds there are

    def _kind_came(self, kind: Kind, informer: Informer[Any]) -> None:
        self._kinds[kind.group, kind.name] = kind
        self._informers[kind] = informer
        informer.on_change(partial(self._changed, kind))
        for uid in self._graph.uids():  # of some of these nobody could tell whether their owner is there
            self._add(uid)

    def _kind_went(self, kind: Kind, informer: Informer[Any]) -> None:
        self._kinds.pop((kind.group, kind.name), None)
        self._informers.pop(kind, None)
        self._went.add((kind.group, kind.name))
        for obj in informer.list():
            self._gone(obj)
        for uid in self._graph.uids():  # the end of some owners may have been too quick to be seen
            self._add(uid)

    # What happens → which uid

    def _changed(self, kind: Kind, old: Any | None, new: Any | None) -> None:
        if new is None:
            self._gone(old)
            return
        before = old.metadata if old is not None else None
        refers = before.ownerReferences if before is not None else []
        finalizers_alike = before is not None and before.finalizers == new.metadata.finalizers
        going_alike = before is not None and before.deletionTimestamp == new.metadata.deletionTimestamp
        if refers == new.metadata.ownerReferences and finalizers_alike and going_alike:
            return  # by far the most changes
        uid = new.metadata.uid
        self._graph.observe(kind, new)
        if self._graph.find(uid) is not None:
            self._add(uid)
        if refers != new.metadata.ownerReferences:
            for reference in refers:  # one that is being deleted may have waited for this one
                self._add(reference.uid)
        if is_waiting(new):
            self._add_dependents(uid)

    def _gone(self, obj: Any) -> None:
        self._graph.forget(obj.metadata.uid)
        self._add_dependents(obj.metadata.uid)
        for reference in obj.metadata.ownerReferences:
            self._add(reference.uid)

    def _add_dependents(self, uid: str) -> None:
        for dependent in self._graph.dependents(uid):
            self._add(dependent.uid)

    def _add(self, uid: str) -> None:
        # Most owners are not in the graph, and nothing has to be done about them.
        if self._graph.find(uid) is not None:
            self.controller.queue.add(Key("", uid))

    # One step

    async def reconcile(self, key: Key) -> None:
        item = self._graph.find(key.name)
        obj = self._seen(item) if item is not None else None
        if item is None or obj is None or obj.metadata.uid != item.uid:
            return
        with suppress(errors.NotFound):  # gone meanwhile; the informer will say so
            if is_orphaning(obj):
                await self._orphan(item)
            elif is_waiting(obj):
                await self._advance(item)
            elif not obj.metadata.deletionTimestamp:
                await self._attempt(item, obj)

    def _seen(self, item: Item) -> Any | None:
        informer = self._informers.get(item.kind)
        return informer.get(item.namespace, item.name) if informer is not None else None

    async def _orphan(self, item: Item) -> None:
        """Cut the references of the dependents, then let the owner go."""
        await all_of(self._detach(d, [item.uid]) for d in self._graph.dependents(item.uid))
        await self._remove_finalizer(item, ORPHAN)

    async def _advance(self, item: Item) -> None:
        """Let the owner go if nothing blocks it; what does was queued when the owner began to wait."""
        if not self._graph.is_blocked(item.uid):
            await self._remove_finalizer(item, FOREGROUND)

    async def _attempt(self, item: Item, obj: Any) -> None:
        references = obj.metadata.ownerReferences
        states = [await self._state(item, obj, r) for r in references]
        dependents = self._graph.dependents(item.uid)
        match judge(states, has_dependents=bool(dependents)):
            case Verdict.DETACH:
                useless = [r.uid for r, s in zip(references, states, strict=True) if s is not Owner.SOLID]
                await self._detach(item, useless)
            case Verdict.DELETE_FOREGROUND:
                if any(self._is_waiting(d) for d in dependents):
                    await self._unblock(item)
                await self._delete(item, obj, "Foreground")
            case Verdict.DELETE:
                finalizers = obj.metadata.finalizers
                orphans, waits = ORPHAN in finalizers, FOREGROUND in finalizers
                await self._delete(item, obj, "Orphan" if orphans else "Foreground" if waits else "Background")

    def _is_waiting(self, item: Item) -> bool:
        obj = self._seen(item)
        return obj is not None and obj.metadata.uid == item.uid and is_waiting(obj)

    async def _state(self, item: Item, obj: Any, reference: Any) -> Owner:
        kind = self._kinds.get((reference.apiVersion.rpartition("/")[0], reference.kind))
        if kind is None:
            return await self._state_of_unknown(reference)
        if kind.namespaced and not item.namespace:
            # A namespaced owner of a cluster-scoped object cannot be found: in which namespace?
            self._warn(obj, reference, "")
            return Owner.UNKNOWN
        namespace = item.namespace if kind.namespaced else ""
        seen = self._informers[kind].get(namespace, reference.name)
        if seen is not None and seen.metadata.uid == reference.uid:
            return Owner.WAITING if is_waiting(seen) else Owner.SOLID
        return await self._ask(obj, reference, kind, namespace)

    async def _state_of_unknown(self, reference: Any) -> Owner:
        """No object outlives its definition; but another definition may have come in its place."""
        group = reference.apiVersion.rpartition("/")[0]
        if (group, reference.kind) not in self._went:
            return Owner.UNKNOWN
        definitions = (await self._client.list(CustomResourceDefinition)).items
        again = any(
            crd.spec.group == group and crd.spec.names is not None and crd.spec.names.kind == reference.kind
            for crd in definitions
        )
        return Owner.UNKNOWN if again else Owner.ABSENT

    async def _ask(self, obj: Any, reference: Any, kind: Kind, namespace: str) -> Owner:
        coordinates = (kind.group, kind.name, namespace, reference.name, reference.uid)
        if coordinates in self._absent:
            return Owner.ABSENT  # a uid never comes back
        try:
            owner: Any = await self._client.get(meta.partial(kind), reference.name, namespace)
        except errors.NotFound:
            owner = None
        if owner is not None and owner.metadata.uid == reference.uid:
            return Owner.WAITING if is_waiting(owner) else Owner.SOLID
        if any(o.metadata.uid == reference.uid for o in self._informers[kind].list()):
            self._warn(obj, reference, namespace)
        self._absent[coordinates] = None
        if len(self._absent) > ABSENT_REMEMBERED:
            self._absent.popitem(last=False)
        return Owner.ABSENT

    def _warn(self, obj: Any, reference: Any, namespace: str) -> None:
        message = (
            f"ownerRef [{reference.apiVersion}/{reference.kind}, namespace: {obj.metadata.namespace}, "
            f'name: {reference.name}, uid: {reference.uid}] does not exist in namespace "{namespace}"'
        )
        self._events.event(obj, "Warning", "OwnerRefInvalidNamespace", message)

    # Writing

    async def _delete(self, item: Item, obj: Any, propagation: Literal["Background", "Foreground", "Orphan"]) -> None:
        # At this very revision: somebody may have given it another owner meanwhile.
        await self._client.delete(
            meta.partial(item.kind), item.name, item.namespace, uid=item.uid,
            resource_version=obj.metadata.resourceVersion, propagation=propagation,
        )  # fmt: skip

    async def _detach(self, item: Item, owners: list[str]) -> None:
        if item.kind.custom:
            await self._refer(item, lambda references: [r for r in references if r.uid not in owners])
            return
        references = [{"$patch": "delete", "uid": uid} for uid in owners]
        await self._patch(item, {"metadata": {"uid": item.uid, "ownerReferences": references}})

    async def _unblock(self, item: Item) -> None:
        """In a cycle each would wait for the other for ever: the one that is found second does not block."""
        references = [{"uid": o.uid, "blockOwnerDeletion": False} for o in item.owners if o.blocks]
        if references and item.kind.custom:
            await self._refer(item, _unblocking)
        elif references:
            await self._patch(item, {"metadata": {"uid": item.uid, "ownerReferences": references}})

    async def _patch(self, item: Item, patch: dict[str, Any]) -> None:
        with suppress(errors.NotFound):
            await self._client.patch(meta.partial(item.kind), item.name, item.namespace, patch, kind="strategic")

    async def _remove_finalizer(self, item: Item, finalizer: str) -> None:
        if item.kind.custom:
            await self._change(item, lambda m: {"finalizers": [f for f in m.finalizers if f != finalizer]})
            return
        # This one finalizer only, at whatever revision: the status of an owner changes while its dependents go.
        change = {"$deleteFromPrimitiveList/finalizers": [finalizer]}
        await self._patch(item, {"metadata": {"uid": item.uid, **change}})

    async def _refer(self, item: Item, change: Callable[[list[Any]], list[Any]]) -> None:
        await self._change(item, lambda m: {"ownerReferences": change(m.ownerReferences)})

    async def _change(self, item: Item, change: Callable[[Any], dict[str, Any]]) -> None:
        """Lists of custom objects cannot be patched item by item: replace them, unless somebody else has meanwhile."""
        what = meta.partial(item.kind)
        with suppress(errors.NotFound):
            metadata = (await self._client.get(what, item.name, item.namespace)).metadata
            if metadata.uid == item.uid:
                patch = {"uid": item.uid, "resourceVersion": metadata.resourceVersion, **change(metadata)}
                await self._client.patch(what, item.name, item.namespace, {"metadata": patch}, kind="merge")


def _unblocking(references: list[Any]) -> list[Any]:
    return [msgspec.structs.replace(r, blockOwnerDeletion=False) if r.blockOwnerDeletion else r for r in references]
