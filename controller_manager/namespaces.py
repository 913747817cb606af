"""Namespaces that are deleted: first everything in them, then they themselves.

https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/ . Pods go before everything else, so that
no pod runs without the policies and secrets around it. What is there is asked of the server and not of an informer:
an informer that is late by one object would leave it behind for ever. Informers only say when to ask again.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from api import errors, kinds, meta, times
from api.kinds import Kind
from api.meta import Key
from api.types import CustomResourceDefinition, Namespace, NamespaceCondition
from controller_manager.contexts import Context
from controller_manager.custom_kinds import kinds_of
from controller_manager.gathering import all_of
from machinery.controllers import Controller
from machinery.informers import Informer

FINALIZER = "kubernetes"
FALLBACK = 15.0
"""Seconds after which to look again if no informer said anything."""

LONGEST_RETRY = 60.0
"""Seconds, as upstream: whoever has mended what was in the way of a deletion waits for it."""


def new(context: Context) -> Controller:
    return NamespaceController(context).controller


def contents(served: Iterable[Kind] = kinds.BUILT_IN) -> list[Kind]:
    """Every kind that a namespace can hold, each in one version only; pods first."""
    by_resource: dict[tuple[str, str], Kind] = {}
    for kind in served:
        # Events are stored once and served under two groups.
        if kind.namespaced and "deletecollection" in kind.verbs and kind.group != "events.k8s.io":
            by_resource.setdefault((kind.group, kind.plural), kind)
    return sorted(by_resource.values(), key=lambda k: k.plural != "pods")


@dataclass
class Remains:
    """What is still in a namespace, and what went wrong in deleting it."""

    counts: dict[str, int] = field(default_factory=dict)
    finalizers: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    longest_grace: int = 0


class NamespaceController:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._kinds = contents(kinds.served(context.config.gates))
        self._namespaces = context.informers(Namespace)
        self.controller = Controller(
            "namespace-controller", self.reconcile, workers=10, informers=(self._namespaces,),
            longest_retry=LONGEST_RETRY,
        )  # fmt: skip
        self._namespaces.on_change(lambda old, new: self.controller.queue.add(meta.key(new or old)))
        for kind in self._kinds:
            self._follow(kind, context.informers.metadata(kind))
        context.custom_kinds.on_change(self._follow, lambda kind, informer: None)

    def _follow(self, kind: Kind, informer: Informer[Any]) -> None:
        if kind.namespaced:
            informer.on_change(partial(self._content_changed, informer))

    def _content_changed(self, informer: Any, old: Any | None, new: Any | None) -> None:
        if new is not None or old is None:
            return
        key = Key("", old.metadata.namespace)
        namespace = self._namespaces.get(*key)
        going = namespace is not None and namespace.metadata.deletionTimestamp
        if going and not informer.list(key.name):
            self.controller.queue.add(key)

    async def reconcile(self, key: Key) -> float | None:
        namespace = self._namespaces.get(*key)
        if namespace is None or not namespace.metadata.deletionTimestamp or FINALIZER not in namespace.spec.finalizers:
            return None
        if namespace.status.phase != "Terminating":
            changed = meta.clone(namespace)
            changed.status.phase = "Terminating"
            namespace = await self._client.update_status(changed)
        remains = await self._empty(namespace.metadata.name)
        if remains.counts or remains.failures:
            await self._write_conditions(namespace, remains)
            if remains.failures:
                raise errors.InternalError("; ".join(remains.failures))
            return remains.longest_grace / 2 + 1 if remains.longest_grace else FALLBACK
        await self._finalize(namespace)
        return None

    async def _empty(self, name: str) -> Remains:
        """Delete what is there; pods alone while there are any."""
        remains = Remains()
        pods, *others = self._kinds
        definitions = await self._client.list(CustomResourceDefinition)
        others += [kind for kind in kinds_of(definitions.items) if kind.namespaced]
        await self._delete_all(pods, name, remains)
        if not remains.counts:
            await all_of(self._delete_all(kind, name, remains) for kind in others)
        return remains

    async def _delete_all(self, kind: Kind, namespace: str, remains: Remains) -> None:
        what = meta.partial(kind)
        try:
            if not (await self._client.list(what, namespace)).items:
                return
            await self._client.delete_collection(what, namespace, propagation="Background")
            left = (await self._client.list(what, namespace)).items
        except errors.NotFound:
            return  # a kind that has just gone, with all its objects
        except errors.ApiError as e:
            remains.failures.append(e.message)
            return
        if left:
            resource = f"{kind.plural}.{kind.group}"
            remains.counts[resource] = len(left)
            for finalizer in (f for o in left for f in o.metadata.finalizers):
                remains.finalizers[finalizer] = remains.finalizers.get(finalizer, 0) + 1
            if kind.plural == "pods":
                graces = (o.metadata.deletionGracePeriodSeconds or 0 for o in left)
                remains.longest_grace = max(graces, default=0)

    async def _write_conditions(self, namespace: Namespace, remains: Remains) -> None:
        changed = meta.clone(namespace)
        at = times.format(self._clock.now())
        for kind, status, reason, message in conditions(remains):
            new = NamespaceCondition(type=kind, status=status, reason=reason, message=message, lastTransitionTime=at)
            meta.set_condition(changed.status.conditions, new)
        if changed.status != namespace.status:
            await self._client.update_status(changed)

    async def _finalize(self, namespace: Namespace) -> None:
        changed = meta.clone(namespace)
        changed.spec.finalizers = [f for f in changed.spec.finalizers if f != FINALIZER]
        try:
            await self._client.update(changed, subresource="finalize")
        except errors.NotFound:
            return


def conditions(remains: Remains) -> Iterable[tuple[str, str, str, str]]:
    """(type, status, reason, message) of every condition that a namespace in deletion has."""
    yield "NamespaceDeletionDiscoveryFailure", "False", "ResourcesDiscovered", "All resources successfully discovered"
    yield (
        "NamespaceDeletionGroupVersionParsingFailure", "False", "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    )  # fmt: skip
    if remains.failures:
        failed = (
            f"Failed to delete all resource types, {len(remains.failures)} remaining: {', '.join(remains.failures)}"
        )
        yield "NamespaceDeletionContentFailure", "True", "ContentDeletionFailed", failed
    else:
        deleted = "All content successfully deleted, may be waiting on finalization"
        yield "NamespaceDeletionContentFailure", "False", "ContentDeleted", deleted
    if remains.counts:
        parts = [f"{r} has {n} resource instances" for r, n in sorted(remains.counts.items())]
        message = f"Some resources are remaining: {', '.join(parts)}"
        yield "NamespaceContentRemaining", "True", "SomeResourcesRemain", message
    else:
        yield "NamespaceContentRemaining", "False", "ContentRemoved", "All content successfully removed"
    if remains.finalizers:
        parts = [f"{f} in {n} resource instances" for f, n in sorted(remains.finalizers.items())]
        message = f"Some content in the namespace has finalizers remaining: {', '.join(parts)}"
        yield "NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain", message
    else:
        finished = "All content-preserving finalizers finished"
        yield "NamespaceFinalizersRemaining", "False", "ContentHasNoFinalizers", finished
