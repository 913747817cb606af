"""How the cluster comes to be known: each change reaches the snapshot and the queue before the next decision.

What the informers say is late. Of a pod that was decided but that they do not show on its node yet, what is assumed
stands, until they show it on a node, or gone.
"""

from api import meta
from api.meta import Key
from api.resizes import is_resizing
from api.types import (
    CSINode,
    DeviceClass,
    Namespace,
    Node,
    PersistentVolume,
    PersistentVolumeClaim,
    Pod,
    PodDisruptionBudget,
    PodGroup,
    ResourceSlice,
    ResourceV1ResourceClaim,
    StorageClass,
)
from machinery.informers import Informer
from scheduler.budgets import budget
from scheduler.concerns import PodChange
from scheduler.hints import Event, changes_wish, node_events
from scheduler.scheduling import Scheduler
from scheduler.wishes import wish


class Following:
    """Handlers for informers: (old, new), where None stands for an object that was not there before, or is gone."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._snapshot = scheduler.snapshot
        self._queue = scheduler.queue
        self._assumed = scheduler.bindings.assumed
        self._preempting = scheduler.preempting

    def follow(self, nodes: Informer[Node], pods: Informer[Pod], namespaces: Informer[Namespace]) -> None:
        nodes.on_change(self.on_node)
        pods.on_change(self.on_pod)
        namespaces.on_change(self.on_namespace)

    def follow_storage(
        self, claims: Informer[PersistentVolumeClaim], volumes: Informer[PersistentVolume],
        classes: Informer[StorageClass], csi_nodes: Informer[CSINode],
    ) -> None:  # fmt: skip
        prebinding = self._scheduler.bindings.prebinding
        claims.on_change(prebinding.on_claim)
        volumes.on_change(prebinding.on_volume)
        classes.on_change(prebinding.on_class)
        csi_nodes.on_change(prebinding.on_csi_node)
        told = lambda old, new: self._queue.happened(Event.STORAGE)  # noqa: E731
        for informer in (claims, volumes, classes, csi_nodes):
            informer.on_change(told)

    def follow_devices(
        self, claims: Informer[ResourceV1ResourceClaim], classes: Informer[DeviceClass],
        slices: Informer[ResourceSlice],
    ) -> None:  # fmt: skip
        granting = self._scheduler.bindings.granting
        claims.on_change(granting.on_claim)
        classes.on_change(granting.on_class)
        slices.on_change(granting.on_slice)

    def follow_budgets(self, budgets: Informer[PodDisruptionBudget]) -> None:
        budgets.on_change(self.on_budget)

    def follow_groups(self, groups: Informer[PodGroup]) -> None:
        """Pods of a PodGroup are scheduled by its policy; without this, as if they had none."""
        groups.on_change(self._scheduler.form_gangs().on_group)

    def on_node(self, old: Node | None, new: Node | None) -> None:
        events = node_events(old, new)
        if new is not None:
            # A status that only tells of the node's health changes no column but its images'.
            if events or (old is not None and old.status.images != new.status.images):
                self._snapshot.set_node(new)
        elif old is not None:
            self._snapshot.remove_node(old.metadata.name)
        for event in events:
            self._queue.happened(event)

    def on_namespace(self, old: Namespace | None, new: Namespace | None) -> None:
        if new is None:
            if old is not None:
                self._snapshot.namespaces.pop(old.metadata.name, None)
            return
        self._snapshot.namespaces[new.metadata.name] = new.metadata.labels
        if old is None or old.metadata.labels != new.metadata.labels:
            self._queue.happened(Event.NAMESPACE)

    def on_budget(self, old: PodDisruptionBudget | None, new: PodDisruptionBudget | None) -> None:
        if new is not None:
            self._snapshot.budgets[meta.key(new)] = budget(new)
        elif old is not None:
            self._snapshot.budgets.pop(meta.key(old), None)

    def on_pod(self, old: Pod | None, new: Pod | None) -> None:
        pod = new or old
        assert pod is not None
        over = new is None or new.status.phase in ("Succeeded", "Failed")
        if new is None or _dying(new):
            self._preempting.seen(pod)
        if new is None or over:
            self._gone(meta.key(pod))
        elif new.spec.nodeName:
            self._placed(old, new)
        elif self._scheduler.profiles.serve(new):
            self._pending(old, new)
        if (gangs := self._scheduler.gangs) is not None:
            gangs.on_pod(pod, over or (_dying(pod) and not pod.spec.nodeName))

    def _gone(self, key: Key) -> None:
        self._assumed.pop(key, None)
        self._queue.remove(key)
        self._scheduler.bindings.granting.forget(key)
        self._preempting.renounce(key)
        node = self._snapshot.node_of(key)
        if (gone := self._snapshot.remove_pod(key)) is not None:
            self._queue.happened(Event.POD_REMOVED, PodChange(self._snapshot, node, gone).helps)

    def _placed(self, old: Pod | None, new: Pod) -> None:
        key = meta.key(new)
        assumed = self._assumed.pop(key, None)
        self._queue.remove(key)
        self._scheduler.bindings.granting.forget(key)
        self._preempting.renounce(key, new.spec.nodeName)
        known = self._snapshot.node_of(key)
        if known and old is not None and not _counts_otherwise(old, new):
            if old.status.startTime != new.status.startTime:  # preemption spares those that have run for long
                self._snapshot.refresh(key, new)
            return
        # Its group matters only while it looks for a place.
        now = wish(new)
        self._snapshot.set_pod(now, new.spec.nodeName)
        if not known or assumed is not None:
            self._queue.happened(Event.POD_PLACED, PodChange(self._snapshot, new.spec.nodeName, now).helps)
        elif old is not None:
            self._changed(old, new)

    def _changed(self, old: Pod, new: Pod) -> None:
        """A pod on a node was changed in place."""
        if old.metadata.labels != new.metadata.labels or _dying(old) != _dying(new):
            change = PodChange(self._snapshot, new.spec.nodeName, wish(old), wish(new))
            self._queue.happened(Event.POD_LABELS, change.helps)
        if old.spec != new.spec or is_resizing(old):
            self._queue.happened(Event.POD_REMOVED)  # a pod that was made smaller leaves room as well

    def _pending(self, old: Pod | None, new: Pod) -> None:
        key = meta.key(new)
        if key in self._assumed:
            self._queue.refresh(new, key)
            return
        if _dying(new):  # it will never run, so it needs no place
            self._queue.remove(key)
            self._preempting.renounce(key)
            return
        # Otherwise what is known here stands: it is newer, and being written.
        if old is None or old.status.nominatedNodeName != new.status.nominatedNodeName:
            if nominated := new.status.nominatedNodeName:
                self._snapshot.nominate(self._scheduler.wish_of(new), nominated)
            else:
                self._preempting.renounce(key)
        if old is None or changes_wish(old, new):
            self._queue.add(new, key)
            if self._scheduler.is_gated(new):
                self._scheduler.writes.tell_gated(new)
        else:
            self._queue.refresh(new, key)


def _counts_otherwise(old: Pod, new: Pod) -> bool:
    return changes_wish(old, new) or _dying(old) != _dying(new) or is_resizing(old) or is_resizing(new)


def _dying(pod: Pod) -> bool:
    return bool(pod.metadata.deletionTimestamp)
