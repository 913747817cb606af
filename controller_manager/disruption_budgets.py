"""Pod disruption budgets: how many of their pods may be evicted now.

https://kubernetes.io/docs/tasks/run-application/configure-pdb/ . The eviction subresource spends what is allowed and
notes the pod among the disrupted ones; this controller counts again once the pod is seen to go.
"""

import math
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from api import errors, labels, meta, times
from api.meta import Key
from api.types import (
    Condition,
    Deployment,
    LabelSelector,
    Pod,
    PodDisruptionBudget,
    PodDisruptionBudgetStatus,
    ReplicaSet,
    ReplicationController,
    StatefulSet,
)
from controller_manager.contexts import Context
from controller_manager.informing import Written
from controller_manager.pods import is_ready, is_terminating
from machinery.controllers import Controller

PATIENCE = 120.0
"""Seconds in which an evicted pod must be seen to go; after that it counts again."""
SCALED: tuple[type[Any], ...] = (ReplicaSet, ReplicationController, StatefulSet, Deployment)


def new(context: Context) -> Controller:
    return DisruptionController(context).controller


class Expected(NamedTuple):
    pods: int
    healthy: int


class Unscalable(Exception):
    """Nobody can say how many pods there should be."""


def share(amount: int | str, of: int) -> int:
    """A number, or a percentage rounded up."""
    return math.ceil(of * int(amount.removesuffix("%")) / 100) if isinstance(amount, str) else amount


def disrupted(budget: PodDisruptionBudget, pods: Sequence[Pod], now: float) -> dict[str, str]:
    """Those evicted pods that are not seen to go yet and may still do so."""
    waiting = {p.metadata.name for p in pods if not is_terminating(p)}
    known = budget.status.disruptedPods.items()
    return {name: at for name, at in known if name in waiting and times.parse(at) + PATIENCE > now}


def count(
    budget: PodDisruptionBudget, pods: Sequence[Pod], expected: Expected, now: float
) -> PodDisruptionBudgetStatus:
    """The status; its condition is that of the budget until `allow` puts another there."""
    leaving = disrupted(budget, pods, now)
    healthy = sum(is_ready(p) and not is_terminating(p) and p.metadata.name not in leaving for p in pods)
    # Without expected pods nothing is allowed: the first ones may be there before this controller has seen them.
    allowed = max(healthy - expected.healthy, 0) if expected.pods > 0 else 0
    return PodDisruptionBudgetStatus(
        currentHealthy=healthy, desiredHealthy=expected.healthy, expectedPods=expected.pods,
        disruptionsAllowed=allowed, disruptedPods=leaving, observedGeneration=budget.metadata.generation or 0,
        conditions=meta.clone(budget.status).conditions,
    )  # fmt: skip


def allow(status: PodDisruptionBudgetStatus, generation: int, now: float, *, failure: str = "") -> None:
    """Set the condition DisruptionAllowed."""
    enough = status.disruptionsAllowed > 0
    reason = "SyncFailed" if failure else "SufficientPods" if enough else "InsufficientPods"
    condition = Condition(
        type="DisruptionAllowed", status=str(enough and not failure), reason=reason, message=failure,
        observedGeneration=generation, lastTransitionTime=times.format(now),
    )  # fmt: skip
    meta.set_condition(status.conditions, condition)


class DisruptionController:
    """Its keys are budgets."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._events = context.recorder("controllermanager")
        self._budgets = context.informers(PodDisruptionBudget)
        self._pods = context.informers(Pod)
        self._owners = {what.__name__: context.informers(what) for what in SCALED}
        self._written = Written(self._budgets)
        self.controller = Controller(
            "disruption-controller", self.reconcile, workers=context.config.concurrent_syncs,
            informers=(self._budgets, self._pods, *self._owners.values()),
        )  # fmt: skip
        self._budgets.on_change(self._budget_changed)
        self._pods.on_change(self._pod_changed)
        for informer in self._owners.values():
            informer.on_change(self._owner_changed)

    def _budget_changed(self, old: PodDisruptionBudget | None, new: PodDisruptionBudget | None) -> None:
        self.controller.queue.add(meta.key(new or old))

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        if old is not None and new is not None and _looks_alike(old, new):
            return
        for pod in (old, new):
            for budget in self._budgets.list(pod.metadata.namespace) if pod is not None else ():
                if pod is not None and _selects(budget, pod):
                    self.controller.queue.add(meta.key(budget))

    def _owner_changed(self, old: Any | None, new: Any | None) -> None:
        if old is not None and new is not None and old.spec.replicas == new.spec.replicas:
            return
        owner: Any = new or old
        for budget in self._budgets.list(owner.metadata.namespace):
            self.controller.queue.add(meta.key(budget))

    async def reconcile(self, key: Key) -> float | None:
        seen = self._budgets.get(*key)
        if seen is None:
            return None
        budget = self._written.newest(seen)
        pods = [p for p in self._pods.list(key.namespace) if _selects(budget, p)]
        now = self._clock.now()
        if not pods:
            self._events.event(budget, "Normal", "NoPods", "No matching pods found")
        try:
            expected = self._expected(budget, pods)
        except Unscalable as e:
            await self._refuse(budget, str(e), now)
            return None  # a change of the pods, of their controllers or of the budget will call again
        status = count(budget, pods, expected, now)
        self._warn_of_stayed(budget, pods, status)
        allow(status, budget.metadata.generation or 0, now)
        await self._save(budget, status)
        return min((times.parse(t) + PATIENCE - now for t in status.disruptedPods.values()), default=None)

    # How many pods there should be

    def _expected(self, budget: PodDisruptionBudget, pods: Sequence[Pod]) -> Expected:
        """Raises Unscalable."""
        spec = budget.spec
        if spec.maxUnavailable is not None:
            total = self._scale(budget, pods)
            return Expected(total, max(total - share(spec.maxUnavailable, total), 0))
        if isinstance(spec.minAvailable, str):
            total = self._scale(budget, pods)
            return Expected(total, share(spec.minAvailable, total))
        return Expected(len(pods), spec.minAvailable or 0)

    def _scale(self, budget: PodDisruptionBudget, pods: Sequence[Pod]) -> int:
        """The sum of what the pods' controllers want.  Raises Unscalable."""
        wanted: dict[str, int] = {}
        unmanaged = False
        for pod in pods:
            reference = meta.controller_of(pod)
            if reference is None:
                unmanaged = True
            elif reference.uid not in wanted:
                owner = self._scaled(pod.metadata.namespace, reference)
                if owner is None:
                    raise Unscalable(f'found no controllers for pod "{pod.metadata.name}"')
                wanted[owner.metadata.uid] = owner.spec.replicas or 0
        if unmanaged:
            self._warn_of_unmanaged(budget)
        return sum(wanted.values())

    def _scaled(self, namespace: str, reference: Any) -> Any | None:
        """The controller at the top, which has the replicas; None if it is gone or not seen yet.

        Raises Unscalable if it is of a kind that has none.
        """
        informer = self._owners.get(reference.kind)
        if informer is None:
            group = reference.apiVersion.rpartition("/")[0]
            resource = f"{reference.kind.lower()}s" + (f".{group}" if group else "")
            raise Unscalable(f"{resource} does not implement the scale subresource")
        owner = informer.get(namespace, reference.name)
        if owner is None or owner.metadata.uid != reference.uid:
            return None
        above = meta.controller_of(owner)
        return owner if above is None or above.kind not in self._owners else self._scaled(namespace, above)

    # What is said of it

    def _warn_of_unmanaged(self, budget: PodDisruptionBudget) -> None:
        selector = _as_go_writes(budget.spec.selector)
        said = (
            f"Pods selected by this PodDisruptionBudget (selector: {selector}) were found to be unmanaged. "
            "As a result, the status of the PDB cannot be calculated correctly, which may result in undefined behavior."
            ' To account for these pods please set ".spec.minAvailable" field of the PDB to an integer value.'
        )
        self._events.event(budget, "Warning", "UnmanagedPods", said)

    def _warn_of_stayed(
        self, budget: PodDisruptionBudget, pods: Sequence[Pod], status: PodDisruptionBudgetStatus
    ) -> None:
        for pod in pods:
            name = pod.metadata.name
            if name in budget.status.disruptedPods and name not in status.disruptedPods and not is_terminating(pod):
                said = f"Pod was expected by PDB {meta.key(budget)} to be deleted but it wasn't"
                self._events.event(pod, "Warning", "NotDeleted", said)

    async def _refuse(self, budget: PodDisruptionBudget, why: str, now: float) -> None:
        """Allow nothing while nobody knows how much there should be."""
        said = f"Failed to calculate the number of expected pods: {why}"
        self._events.event(budget, "Warning", "CalculateExpectedPodCountFailed", said)
        status = meta.clone(budget.status)
        status.disruptionsAllowed = 0
        # What has not been counted has not been observed: an eviction is told to wait, rather than of old counts.
        allow(status, status.observedGeneration or 0, now, failure=why)
        await self._save(budget, status)

    async def _save(self, budget: PodDisruptionBudget, status: PodDisruptionBudgetStatus) -> None:
        if status == budget.status:
            return
        changed = meta.clone(budget)
        changed.status = status
        with suppress(errors.NotFound):
            self._written.note(await self._client.update_status(changed))


def _selects(budget: PodDisruptionBudget, pod: Pod) -> bool:
    """An absent selector selects nothing, an empty one everything."""
    selector = budget.spec.selector
    return selector is not None and labels.from_object(selector).matches(pod.metadata.labels)


def _as_go_writes(selector: LabelSelector | None) -> str:
    """The text of a pointer to one, which stands in upstream's event."""
    if selector is None:
        return "nil"
    pairs = "".join(f"{key}: {value}," for key, value in sorted(selector.matchLabels.items()))
    asked = "".join(
        f"LabelSelectorRequirement{{Key:{r.key},Operator:{r.operator},Values:[{' '.join(r.values)}],}},"
        for r in selector.matchExpressions
    )
    held = f"MatchLabels:map[string]string{{{pairs}}},MatchExpressions:[]LabelSelectorRequirement{{{asked}}},"
    return f"&LabelSelector{{{held}}}"


def _looks_alike(old: Pod, new: Pod) -> bool:
    return (
        old.metadata.labels == new.metadata.labels
        and old.metadata.deletionTimestamp == new.metadata.deletionTimestamp
        and old.metadata.ownerReferences == new.metadata.ownerReferences
        and is_ready(old) == is_ready(new)
    )
