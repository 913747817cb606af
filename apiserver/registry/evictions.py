"""Eviction: the deletion of a pod that its disruption budget has to allow.

https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/ . What is allowed is spent in the budget's status
by a compare-and-swap before the pod is deleted, and the pod is noted there, so that two evictions at once cannot both
use the last one, and the disruption controller does not count the pod while it is on its way.
"""

from dataclasses import replace
from typing import Any

from api import errors, kinds, labels, meta
from api.errors import Conflict, InternalError, TooManyRequests
from api.types import Condition, Eviction, Pod, PodCondition, PodDisruptionBudget
from apiserver.admission import Admission
from apiserver.registry.deleting import Deleting
from apiserver.registry.objects import Current, Objects
from apiserver.registry.pods import deletion_of
from apiserver.registry.writing import Writing
from apiserver.requests import DeleteOptions, Request

BUDGETS = kinds.of(PodDisruptionBudget)
PODS = kinds.of(Pod)
VIOLATED = "Cannot evict pod as it would violate the pod's disruption budget."
BEHIND = "The disruption budget {name} is still being processed by the server."
SEVERAL = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
MOST_DISRUPTED = 2000
LATER = 10
"""Seconds until it is worth another try when the budget's status is behind its spec."""


class Evictions:
    def __init__(self, objects: Objects, writing: Writing, deleting: Deleting, admission: Admission) -> None:
        self._objects = objects
        self._admission = admission
        self._writing = writing
        self._deleting = deleting

    async def evict(self, request: Request, eviction: Eviction) -> None:
        """Raises TooManyRequests if the budget does not allow it now, else as a deletion does."""
        current = await self._objects.current(PODS, request.namespace, request.name, proven=True)
        await self._admission.pass_(request, eviction, current.obj)
        options = deletion_of(eviction)
        dry = request.dry_run or options.dry_run
        guarded = not _is_free(current.obj) and await self._spend(request, current.obj, dry)
        if dry:
            await self._deleting.delete(request, replace(options, dry_run=True), ruled=False)
            return
        try:
            marked = await self._mark(request, options, unready=guarded)
            pinned = marked if guarded or options.resource_version else ""
            await self._deleting.delete(request, replace(options, resource_version=pinned), ruled=False)
        except Conflict as e:
            if not guarded or options.resource_version:
                raise
            # It was to go without the budget's leave because it was not healthy, and may be so now.
            raise _too_many(BEHIND.format(name=request.name), LATER) from e

    async def _spend(self, request: Request, pod: Any, dry: bool) -> bool:
        """Take one from what the pod's budget allows. True if it needed none because the pod is not healthy."""
        await self._objects.get_fresh(PODS, request.namespace, request.name)  # the cache is not older than the question
        budgets = [b for b in self._objects.list_cached(BUDGETS) if _covers(b, pod)]
        if not budgets:
            return False
        if len(budgets) > 1:
            raise InternalError(SEVERAL)
        name = budgets[0].metadata.name
        if not meta.is_true(pod, "Ready"):
            budget = (await self._objects.current(BUDGETS, request.namespace, name, proven=True)).obj
            if _lets_unhealthy_go(budget):
                return True
        about = request.at(kind=BUDGETS, name=name, subresource="status", verb="update")
        about.dry_run = dry
        now = self._writing.now()
        await self._writing.update(about, lambda current: _spent(current, pod.metadata.name, now), ruled=False)
        return False

    async def _mark(self, request: Request, options: DeleteOptions, *, unready: bool) -> str:
        """Say on the pod why it goes; the revision at which that is said."""
        now = self._writing.now()

        def make(current: Current) -> Any:
            pod = meta.clone(current.obj)
            if unready and meta.is_true(pod, "Ready"):
                raise errors.conflict("pods", request.name, errors.STALE)
            if options.uid and options.uid != pod.metadata.uid:
                why = f"Precondition failed: UID in precondition: {options.uid}, UID in object meta: {pod.metadata.uid}"
                raise errors.conflict("pods", request.name, why)
            # Without a revision that the caller insists on, the latest will do.
            pod.metadata.resourceVersion = options.resource_version
            meta.set_condition(pod.status.conditions, _evicting(pod, now))
            return pod

        about = request.at(subresource="status", verb="update")
        document, _ = await self._writing.update(about, make, ruled=False)
        return meta.decode(document, Pod).metadata.resourceVersion


def _is_free(pod: Any) -> bool:
    """Whether nothing is lost with it: it serves no more, not yet, or is on its way already."""
    return bool(pod.metadata.deletionTimestamp) or pod.status.phase in ("Succeeded", "Failed", "Pending")


def _covers(budget: Any, pod: Any) -> bool:
    selector = budget.spec.selector
    same = bool(budget.metadata.namespace == pod.metadata.namespace)
    return same and selector is not None and labels.from_object(selector).matches(pod.metadata.labels)


def _lets_unhealthy_go(budget: Any) -> bool:
    status = budget.status
    healthy = status.currentHealthy >= status.desiredHealthy > 0
    return budget.spec.unhealthyPodEvictionPolicy == "AlwaysAllow" or bool(healthy)


def _spent(current: Current, pod: str, now: str) -> Any:
    """The budget with one disruption fewer.  Raises TooManyRequests, Forbidden."""
    budget = meta.clone(current.obj)
    status, name = budget.status, budget.metadata.name
    if status.observedGeneration < (budget.metadata.generation or 0):
        raise _too_many(BEHIND.format(name=name), LATER)
    if status.disruptionsAllowed < 0:
        raise errors.forbidden("poddisruptionbudget.policy", name, "pdb disruptions allowed is negative")
    if len(status.disruptedPods) > MOST_DISRUPTED:
        why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        raise errors.forbidden("poddisruptionbudget.policy", name, why)
    if not status.disruptionsAllowed:
        raise _too_many(_why_not(budget), 0)
    status.disruptionsAllowed -= 1
    if not status.disruptionsAllowed:
        none_left = Condition(
            type="DisruptionAllowed", status="False", reason="InsufficientPods", lastTransitionTime=now,
            observedGeneration=status.observedGeneration,
        )  # fmt: skip
        meta.set_condition(status.conditions, none_left)
    status.disruptedPods[pod] = now
    budget.metadata.resourceVersion = ""
    return budget


def _why_not(budget: Any) -> str:
    status, name = budget.status, budget.metadata.name
    condition = meta.condition(budget, "DisruptionAllowed")
    if condition is not None and condition.reason == "SyncFailed":
        return (
            f"The disruption budget {name} does not allow evicting pods currently because it failed sync: "
            f"{condition.message}"
        )
    if status.currentHealthy > status.desiredHealthy:
        return f"The disruption budget {name} does not allow evicting pods currently"
    wanted, healthy = status.desiredHealthy, status.currentHealthy
    return f"The disruption budget {name} needs {wanted} healthy pods and has {healthy} currently"


def _too_many(why: str, seconds: int) -> TooManyRequests:
    details: dict[str, Any] = {"causes": [{"reason": "DisruptionBudget", "message": why}]}
    return TooManyRequests(VIOLATED, details | ({"retryAfterSeconds": seconds} if seconds else {}))


def _evicting(pod: Any, now: str) -> PodCondition:
    return PodCondition(
        type="DisruptionTarget", status="True", reason="EvictionByEvictionAPI", message="Eviction API: evicting",
        lastTransitionTime=now, observedGeneration=pod.metadata.generation or 0,
    )  # fmt: skip
