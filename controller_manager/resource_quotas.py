"""What quotas say is used, counted anew from what is there.

https://kubernetes.io/docs/concepts/policy/resource-quotas/ . The API server charges for what it admits, before it is
stored; this controller counts at first, gives back what was deleted, and corrects what was charged for nothing.

A charge may be ahead of the object that it is for.  A count that would lower what is used is therefore believed only
when the quota's account has been quiet for a moment: else it would give away what somebody is about to take.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from api import kinds, meta, times
from api.kinds import Kind
from api.meta import Key
from api.quotas import amounts, evaluators
from api.quotas.amounts import ZERO, Usage
from api.quotas.evaluators import Evaluator
from api.types import PersistentVolumeClaim, Pod, ResourceQuota, ResourceQuotaStatus, ResourceV1ResourceClaim, Service
from controller_manager.contexts import Context
from controller_manager.informing import Written
from machinery.controllers import Controller
from machinery.informers import Informer

QUIET_SECONDS = 1.0
"""Longer than any charge is ahead of its object."""
WHOLE = Pod, Service, PersistentVolumeClaim, ResourceV1ResourceClaim
"""Kinds of which more than the number counts."""


def new(context: Context) -> Controller:
    return ResourceQuotas(context).controller


def counted() -> dict[Kind, Evaluator]:
    """The kinds that quotas can be about, each in one version."""
    by_resource: dict[str, Kind] = {}
    for kind in kinds.BUILT_IN:
        if {"list", "watch"} <= set(kind.verbs) and evaluators.of(kind) is not None:
            by_resource.setdefault(kind.group_resource, kind)
    return {kind: evaluator for kind in by_resource.values() if (evaluator := evaluators.of(kind)) is not None}


class ResourceQuotas:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._quotas = context.informers(ResourceQuota)
        self._written = Written(self._quotas)
        self._charged: dict[Key, float] = {}
        """When each account was last changed by somebody else."""
        self._ours: dict[Key, str] = {}
        """The revision that our last write made."""
        self._evaluators = counted()
        whole = {kinds.of(each): context.informers(each) for each in WHOLE}
        self._informers: dict[Kind, Informer[Any]] = {
            kind: whole[kind] if kind in whole else context.informers.metadata(kind) for kind in self._evaluators
        }
        self.controller = Controller(
            "resourcequota-controller", self.reconcile, workers=context.config.concurrent_syncs,
            informers=(self._quotas, *self._informers.values()),
        )  # fmt: skip
        self._quotas.on_change(self._quota_changed)
        for kind, informer in self._informers.items():
            informer.on_change(partial(self._object_changed, self._evaluators[kind]))
        context.custom_kinds.on_change(self._kind_came, self._kind_went)

    # Which kinds there are

    def _kind_came(self, kind: Kind, informer: Informer[Any]) -> None:
        evaluator = evaluators.of(kind)
        if evaluator is None:
            return
        self._evaluators[kind], self._informers[kind] = evaluator, informer
        informer.on_change(partial(self._object_changed, evaluator))
        self._recount(evaluator)

    def _kind_went(self, kind: Kind, informer: Informer[Any]) -> None:
        self._informers.pop(kind, None)
        if (evaluator := self._evaluators.pop(kind, None)) is not None:
            self._recount(evaluator)

    def _recount(self, evaluator: Evaluator) -> None:
        for quota in self._quotas.list():
            if evaluator.matching(quota.spec.hard):
                self.controller.queue.add(meta.key(quota))

    # What happens → which quotas

    def _quota_changed(self, old: ResourceQuota | None, new: ResourceQuota | None) -> None:
        key = meta.key(new or old)
        if new is None:
            self._charged.pop(key, None)
            self._ours.pop(key, None)
            return
        if old is None or old.spec != new.spec:
            self.controller.queue.add(key)
        ours = self._ours.get(key) == new.metadata.resourceVersion
        if old is not None and old.status != new.status and not ours:
            self._charged[key] = self._clock.monotonic()
            self.controller.queue.add_after(key, QUIET_SECONDS)

    def _object_changed(self, evaluator: Evaluator, old: Any | None, new: Any | None) -> None:
        quotas = self._quotas.list(meta.key(new or old).namespace)
        if not quotas:
            return
        now = self._clock.now()
        for quota in quotas:
            if not evaluator.matching(quota.spec.hard):
                continue
            if new is None:
                self.controller.queue.add(meta.key(quota))
            elif old is None:  # charged for already, unless the quota is as new as the object
                self.controller.queue.add_after(meta.key(quota), QUIET_SECONDS)
            elif _share(evaluator, quota, old, now) != _share(evaluator, quota, new, now):
                self.controller.queue.add(meta.key(quota))

    # One count

    async def reconcile(self, key: Key) -> float | None:
        quota = self._quotas.get(*key)
        if quota is None:
            return None
        quota = self._written.newest(quota)
        if any(not self._informers[kind].has_synced for kind in self._concerned(quota)):
            return QUIET_SECONDS  # a kind that was just defined: its objects are being listed
        used = self._count(quota)
        before = amounts.read(quota.status.used)
        if quota.status.hard == quota.spec.hard and _equal(used, before):
            return self._next_expiry(key.namespace)
        if any(name in before and a.value < before[name].value for name, a in used.items()):
            quiet = self._clock.monotonic() - self._charged.get(key, -QUIET_SECONDS)
            if quiet < QUIET_SECONDS:
                return QUIET_SECONDS - quiet
        wanted = meta.clone(quota)
        wanted.status = ResourceQuotaStatus(hard=dict(quota.spec.hard), used=amounts.write(used))
        written = self._written.note(await self._client.update_status(wanted))
        self._ours[key] = written.metadata.resourceVersion
        return self._next_expiry(key.namespace)

    def _count(self, quota: ResourceQuota) -> Usage:
        """What is used of all that the quota limits. What nobody counts stays as it is said."""
        used = amounts.masked(amounts.read(quota.status.used), quota.spec.hard)
        now = self._clock.now()
        for kind, resources in self._concerned(quota).items():
            objects = self._informers[kind].list(quota.metadata.namespace)
            used |= total(self._evaluators[kind], quota, objects, resources, now)
        return used

    def _concerned(self, quota: ResourceQuota) -> dict[Kind, set[str]]:
        """The kinds that use something of what the quota limits, and what."""
        found = ((kind, e.matching(quota.spec.hard)) for kind, e in self._evaluators.items())
        return {kind: resources for kind, resources in found if resources}

    def _next_expiry(self, namespace: str) -> float | None:
        """Seconds until a pod that should have been gone counts no more, though it is still there."""
        now = self._clock.now()
        pods: Iterable[Pod] = self._informers[evaluators.PODS].list(namespace)
        ends = [
            times.parse(m.deletionTimestamp) + m.deletionGracePeriodSeconds
            for m in (pod.metadata for pod in pods)
            if m.deletionTimestamp and m.deletionGracePeriodSeconds is not None
        ]
        return min((end - now + 1 for end in ends if end >= now), default=None)


def total(evaluator: Evaluator, quota: ResourceQuota, objects: Iterable[Any], resources: set[str], now: float) -> Usage:
    """What these objects use of these resources of the quota. Pure."""
    used: Usage = dict.fromkeys(resources, ZERO)
    for obj in objects:
        if evaluators.covers(evaluator, quota, obj):
            used = amounts.add(used, amounts.masked(evaluator.usage(obj, now), resources))
    return used


def _share(evaluator: Evaluator, quota: ResourceQuota, obj: Any, now: float) -> Usage | None:
    return evaluator.usage(obj, now) if evaluators.covers(evaluator, quota, obj) else None


def _equal(a: Mapping[str, amounts.Amount], b: Mapping[str, amounts.Amount]) -> bool:
    return a.keys() == b.keys() and all(a[name].value == b[name].value for name in a)
