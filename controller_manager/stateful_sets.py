"""StatefulSets: pods with names that last.

https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/ . What is done next is decided in
`stateful_plans`, what a pod looks like in `stateful_pods`; here it is read and written.
"""

from collections.abc import Awaitable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from api import errors, labels, meta
from api.meta import Key
from api.types import ControllerRevision, PersistentVolumeClaim, Pod, StatefulSet, StatefulSetStatus
from controller_manager import histories, stateful_claims, stateful_plans, stateful_pods
from controller_manager.backoffs import Backoffs
from controller_manager.claims import claim
from controller_manager.contexts import Context
from controller_manager.gathering import all_of
from controller_manager.histories import Histories
from controller_manager.informing import Written
from controller_manager.owned_pods import OwnedPods
from controller_manager.refusals import namespace_is_going
from controller_manager.replicas import slow_start
from controller_manager.stateful_plans import Plan
from machinery.controllers import Controller

HASH_LABEL = "controller.kubernetes.io/hash"


def new(context: Context) -> Controller:
    return StatefulSetController(context).controller


@dataclass(frozen=True, slots=True)
class Step:
    """One reconciliation of one set."""

    key: Key
    set: StatefulSet
    current: ControllerRevision
    update: ControllerRevision


class StatefulSetController:
    """Keeps the pods and claims of every stateful set."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._events = context.recorder("statefulset-controller")
        self._sets = context.informers(StatefulSet)
        self._written = Written(self._sets)
        self._claims = context.informers(PersistentVolumeClaim)
        self._written_claims = Written(self._claims)
        self._histories = Histories(context, HASH_LABEL)
        self._pods = OwnedPods(context, StatefulSet, self._sets, lambda s: labels.from_object(s.spec.selector))
        self._backoffs = Backoffs(context.clock)
        self.controller = Controller(
            "statefulset-controller", self.reconcile, workers=context.config.concurrent_syncs,
            informers=(self._sets, self._pods.informer, self._claims, self._histories.informer),
        )  # fmt: skip
        self._pods.feed(self.controller.queue)
        self._pods.informer.on_change(self._name_freed)
        self._claims.on_change(self._claim_changed)

    # What happens → which key

    def _name_freed(self, old: Pod | None, new: Pod | None) -> None:
        """A pod is gone. Even if it was nobody's, a set may have waited for its name."""
        if old is not None and new is None:
            self._look_at(old.metadata.namespace, stateful_pods.parse(old.metadata.name)[0])

    def _claim_changed(self, old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None) -> None:
        """A claim is gone that a pod mounts, or that was in the way of a new one."""
        if old is not None and new is None:
            name = stateful_pods.parse(old.metadata.name)[0]
            for of in self._sets.list(old.metadata.namespace):
                if any(f"{t.metadata.name}-{of.metadata.name}" == name for t in of.spec.volumeClaimTemplates):
                    self.controller.queue.add(meta.key(of))

    def _look_at(self, namespace: str, name: str) -> None:
        if self._sets.get(namespace, name) is not None:
            self.controller.queue.add(Key(namespace, name))

    # One step

    async def reconcile(self, key: Key) -> float | None:
        found = self._sets.get(*key)
        if found is None:
            self._pods.forget(key)
            return None
        of = self._written.newest(found)
        selector = labels.from_object(of.spec.selector)
        waiting = await self._pods.waiting(key)
        candidates = [p for p in self._pods.orphans(key.namespace) if stateful_pods.is_member(of, p)]
        pods = await claim(self._client, of, selector, [*self._pods.of(of), *candidates])
        revisions = await self._histories.of(of, selector)
        if of.metadata.deletionTimestamp:
            await self._write_status(of, self._status(of, pods, of.status.currentRevision, of.status.updateRevision))
            return None
        update, collisions = await self._histories.present(of, revisions)
        current = await self._histories.find(of, of.status.currentRevision, revisions)
        step = Step(key, of, current or update, update)
        again: list[float | None] = [waiting, stateful_plans.next_look(of, pods, self._clock.now())]
        failure: errors.ApiError | None = None
        if not waiting:
            try:
                again.append(await self._manage(step, pods))
            except errors.ApiError as e:
                failure = e
        status = self._status(of, pods, step.current.metadata.name, update.metadata.name, collisions)
        await self._write_status(of, status)
        await self._truncate(of, pods, revisions, {status.currentRevision, status.updateRevision})
        if failure is not None and not namespace_is_going(failure):
            raise failure
        return min((s for s in again if s), default=None)

    async def _manage(self, step: Step, pods: Sequence[Pod]) -> float | None:
        """Do what is to be done next; the seconds after which there is more, if that is known."""
        made = stateful_plans.plan(step.set, pods, step.update.metadata.name, self._clock.now())
        if step.set.spec.volumeClaimTemplates:
            await all_of(self._keep_claims(step.set, pod) for pod in made.keep)
        strange = [p for p in made.keep if not stateful_pods.has_identity(step.set, p)]
        await all_of(self._keep_identity(step.set, pod) for pod in strange)
        again = await self._replace(step, made)
        for ordinals in _batches(made.create):
            await all_of(self._create(step, ordinal) for ordinal in ordinals)
        await all_of(self._delete(step, pod) for pod in made.delete)
        return again

    async def _replace(self, step: Step, made: Plan) -> float | None:
        """Delete pods that have ended, each less often the more often it happens."""
        waits, due = [], []
        for pod in made.replace:
            place = (step.set.metadata.uid, pod.metadata.name)
            wait = self._backoffs.remaining(place)
            if wait:
                waits.append(wait)
            else:
                self._backoffs.note(place)
                due.append(pod)
        for pod in due:
            self._tell_of_replacement(step.set, pod)
        await all_of(self._delete(step, pod) for pod in due)
        return min(waits, default=None)

    def _tell_of_replacement(self, of: StatefulSet, pod: Pod) -> None:
        whose = f"StatefulSet {of.metadata.namespace}/{of.metadata.name} is recreating"
        if pod.status.phase == "Failed":
            self._events.event(of, "Warning", "RecreatingFailedPod", f"{whose} failed Pod {pod.metadata.name}")
        else:
            self._events.event(of, "Normal", "RecreatingTerminatedPod", f"{whose} terminated Pod {pod.metadata.name}")

    # Pods

    async def _create(self, step: Step, ordinal: int) -> None:
        of = step.set
        revision = step.current if stateful_plans.is_made_from_current(of, ordinal) else step.update
        template = histories.template_in(revision)
        pod = stateful_pods.new_pod(of, template, revision.metadata.name, ordinal)
        name = pod.metadata.name
        if any(stateful_claims.is_left_behind(c, name) for c in self._existing_claims(of, ordinal)):
            return  # it is being collected, and its end will be heard of
        await self._told(of, "create", f"Pod {name}", self._create_with_claims(step, pod, ordinal))

    async def _create_with_claims(self, step: Step, pod: Pod, ordinal: int) -> None:
        """Raises Conflict while a claim of its is being deleted."""
        for existing in self._existing_claims(step.set, ordinal):
            if existing.metadata.deletionTimestamp:
                raise errors.Conflict(f"pvc {existing.metadata.name} is being deleted")
        await self._create_claims(step.set, ordinal)
        await self._pods.create(step.key, pod)

    async def _delete(self, step: Step, pod: Pod) -> None:
        await self._told(step.set, "delete", f"Pod {pod.metadata.name}", self._pods.delete(step.key, pod))

    async def _told(self, of: StatefulSet, verb: str, what: str, write: Awaitable[Any]) -> Any:
        """The outcome of a write, of which an event tells, whatever it is."""
        said = f"{verb} {what} in StatefulSet {of.metadata.name}"
        reason = verb.capitalize()
        try:
            outcome = await write
        except errors.ApiError as e:
            # A name that is taken is waited for, as upstream does, without a word.
            if not namespace_is_going(e) and not isinstance(e, errors.AlreadyExists):
                self._events.event(of, "Warning", f"Failed{reason}", f"{said} failed error: {e.message}")
            raise
        if outcome is not False:
            self._events.event(of, "Normal", f"Successful{reason}", f"{said} successful")
        return outcome

    async def _keep_identity(self, of: StatefulSet, pod: Pod) -> None:
        wanted = stateful_pods.identity_labels(of, stateful_pods.ordinal_of(pod))
        patch = {"metadata": {"uid": pod.metadata.uid, "labels": wanted}}
        write = self._client.patch(Pod, pod.metadata.name, pod.metadata.namespace, patch)
        with suppress(errors.NotFound):
            await self._told(of, "update", f"Pod {pod.metadata.name}", write)

    # Claims

    def _existing_claims(self, of: StatefulSet, ordinal: int) -> list[PersistentVolumeClaim]:
        names = [stateful_pods.claim_name(of, t, ordinal) for t in of.spec.volumeClaimTemplates]
        found = (self._claims.get(of.metadata.namespace, name) for name in names)
        return [self._written_claims.newest(c) for c in found if c is not None]

    async def _create_claims(self, of: StatefulSet, ordinal: int) -> None:
        """Those that are missing."""
        for wanted in stateful_pods.claims(of, ordinal):
            if self._claims.get(wanted.metadata.namespace, wanted.metadata.name) is None:
                wanted.metadata.ownerReferences = stateful_claims.owners_of_new(of)
                await self._create_claim(of, wanted, ordinal)

    async def _create_claim(self, of: StatefulSet, wanted: PersistentVolumeClaim, ordinal: int) -> None:
        name, pod, whose = wanted.metadata.name, stateful_pods.pod_name(of, ordinal), of.metadata.name
        try:
            await self._client.create(wanted)
        except errors.AlreadyExists:
            return  # the informer does not show it yet
        except errors.ApiError as e:
            if not namespace_is_going(e):
                message = f"create Claim {name} for Pod {pod} in StatefulSet {whose} failed error: {e.message}"
                self._events.event(of, "Warning", "FailedCreate", message)
            raise
        message = f"create Claim {name} Pod {pod} in StatefulSet {whose} success"
        self._events.event(of, "Normal", "SuccessfulCreate", message)

    async def _keep_claims(self, of: StatefulSet, pod: Pod) -> None:
        ordinal = stateful_pods.ordinal_of(pod)
        if pod.status.phase == "Pending" and ordinal in stateful_pods.ordinals(of):
            await self._create_claims(of, ordinal)
        for existing in self._existing_claims(of, ordinal):
            wanted = stateful_claims.owners(of, existing, pod)
            if wanted is not existing.metadata.ownerReferences:
                changed = meta.clone(existing)
                changed.metadata.ownerReferences = wanted
                with suppress(errors.NotFound):
                    self._written_claims.note(await self._client.update(changed))

    # Status and history

    def _status(
        self, of: StatefulSet, pods: Sequence[Pod], current: str, update: str, collisions: int | None = None
    ) -> StatefulSetStatus:
        count = (of.status.collisionCount or 0) if collisions is None else collisions
        return stateful_plans.status(of, pods, current, update, count, self._clock.now())

    async def _write_status(self, of: StatefulSet, status: StatefulSetStatus) -> None:
        if status == of.status:
            return
        changed = meta.clone(of)
        changed.status = status
        with suppress(errors.NotFound):  # gone meanwhile
            self._written.note(await self._client.update_status(changed))

    async def _truncate(
        self, of: StatefulSet, pods: Sequence[Pod], revisions: Sequence[ControllerRevision], used: set[str]
    ) -> None:
        used = used | {stateful_pods.revision_of(p) for p in pods}
        unused = [r for r in revisions if r.metadata.name not in used]
        await self._histories.delete(histories.superfluous(unused, of.spec.revisionHistoryLimit))


def _batches(ordinals: Sequence[int]) -> list[Sequence[int]]:
    at, found = 0, []
    for size in slow_start(len(ordinals)):
        found.append(ordinals[at : at + size])
        at += size
    return found
