"""What replica sets and replication controllers have in common: as many pods as their spec says.

https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/ . A kind is a `Flavour`; everything else is one
code, as upstream runs its replication controllers through its replica set controller.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from api import errors, meta, times
from api.labels import Selector
from api.meta import Key
from api.types import Pod
from controller_manager.claims import claim
from controller_manager.contexts import Context
from controller_manager.gathering import all_of
from controller_manager.informing import Written
from controller_manager.owned_pods import OwnedPods
from controller_manager.pods import is_active
from controller_manager.refusals import namespace_is_going
from controller_manager.replicas import BURST, Counts, choose_victims, count, from_template, slow_start
from machinery.controllers import Controller
from machinery.events import Recorder
from machinery.informers import Informer


@dataclass(frozen=True)
class Flavour:
    """One kind of replica controller."""

    what: type[Any]
    condition: type[Any]
    selector: Callable[[Any], Selector]
    component: str
    counts_terminating: bool


class Failure(NamedTuple):
    """Pods could not be created or deleted; `reason` is that of the ReplicaFailure condition."""

    reason: str
    cause: errors.ApiError


class ReplicaController:
    """Keeps the pods of every object of one flavour."""

    def __init__(self, context: Context, name: str, flavour: Flavour) -> None:
        self._client = context.client
        self._clock = context.clock
        self._events: Recorder = context.recorder(flavour.component)
        self._flavour = flavour
        self._owners: Informer[Any] = context.informers(flavour.what, indexes=("controller",))
        self._written: Written[Any] = Written(self._owners)
        self._pods = OwnedPods(context, flavour.what, self._owners, flavour.selector)
        self.controller = Controller(
            name, self.reconcile, workers=context.config.concurrent_syncs, informers=(self._owners, self._pods.informer)
        )
        self._pods.feed(self.controller.queue)

    # One step

    async def reconcile(self, key: Key) -> float | None:
        owner = self._owners.get(*key)
        if owner is None:
            self._pods.forget(key)
            return None
        owner = self._written.newest(owner)
        selector = self._flavour.selector(owner)
        waiting = await self._pods.waiting(key)
        owned = self._pods.of(owner)
        candidates = [p for p in (*owned, *self._pods.orphans(key.namespace)) if is_active(p)]
        active = await claim(self._client, owner, selector, candidates)
        failure: Failure | None = None
        if not waiting and not owner.metadata.deletionTimestamp:
            failure = await self._manage(key, owner, active)
        counts = count(active, owned, owner.spec.template, owner.spec.minReadySeconds or 0, self._clock.now())
        await self._write_status(owner, counts, failure, has_seen_all=not waiting)
        if failure is not None:
            raise failure.cause
        return min((s for s in (counts.next_available, waiting) if s), default=None)

    async def _manage(self, key: Key, owner: Any, active: Sequence[Pod]) -> Failure | None:
        missing = owner.spec.replicas - len(active)
        if missing > 0:
            return await self._create(key, owner, min(missing, BURST))
        if missing < 0:
            victims = choose_victims(active, min(-missing, BURST), self._related(owner), self._clock.now())
            return await self._delete(key, owner, victims)
        return None

    def _related(self, owner: Any) -> list[Pod]:
        """Active pods of all replica sets of the same deployment: those on one node make each other dispensable."""
        reference = meta.controller_of(owner)
        siblings = [owner] if reference is None else self._owners.by_index("controller", reference.uid)
        pods = (p for o in siblings for p in self._pods.of(o))
        return [p for p in pods if is_active(p)]

    async def _create(self, key: Key, owner: Any, wanted: int) -> Failure | None:
        pod = from_template(owner)
        for batch in slow_start(wanted):
            if not self._still_wants(key, owner):
                return None  # it was made smaller meanwhile, and its key has been added again
            outcomes = await all_of(self._pods.make(key, owner, pod, self._events) for _ in range(batch))
            if failures := [e for e in outcomes if e is not None]:
                if namespace_is_going(failures[0]):
                    return None  # everything in it will be deleted, this owner too
                return Failure("FailedCreate", failures[0])
        return None

    def _still_wants(self, key: Key, owner: Any) -> bool:
        now = self._owners.get(*key)
        return (
            now is not None
            and now.metadata.uid == owner.metadata.uid
            and not now.metadata.deletionTimestamp
            and self._written.newest(now).spec.replicas >= owner.spec.replicas
        )

    async def _delete(self, key: Key, owner: Any, victims: Sequence[Pod]) -> Failure | None:
        failures = [
            e
            for e in await all_of(self._pods.remove(key, owner, pod, self._events) for pod in victims)
            if e is not None
        ]
        return Failure("FailedDelete", failures[0]) if failures else None

    # Status

    async def _write_status(self, owner: Any, counts: Counts, failure: Failure | None, *, has_seen_all: bool) -> None:
        new = meta.clone(owner)
        status = new.status
        status.replicas = counts.replicas
        status.fullyLabeledReplicas = counts.fully_labelled
        status.readyReplicas = counts.ready
        status.availableReplicas = counts.available
        if self._flavour.counts_terminating:
            status.terminatingReplicas = counts.terminating
        if has_seen_all:  # otherwise pods may be missing in the counts, and a deployment would give their room away
            status.observedGeneration = owner.metadata.generation or 0
        self._set_failure(new, failure)
        # A clone of an unset status has `replicas` None; the first status is written even if it is all zeros.
        if status != owner.status:
            with suppress(errors.NotFound):  # gone meanwhile
                self._written.note(await self._client.update_status(new))

    def _set_failure(self, owner: Any, failure: Failure | None) -> None:
        conditions = owner.status.conditions
        existing = meta.condition(owner, "ReplicaFailure")
        if failure is None:
            owner.status.conditions = [c for c in conditions if c is not existing]
        elif existing is None:
            conditions.append(
                self._flavour.condition(
                    type="ReplicaFailure", status="True", reason=failure.reason, message=failure.cause.message,
                    lastTransitionTime=times.format(self._clock.now()),
                )
            )  # fmt: skip
