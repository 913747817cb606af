"""Deployments: from one template to the next, by way of replica sets.

https://kubernetes.io/docs/concepts/workloads/controllers/deployment/ . The sizes are decided in `rollouts` and
`proportions`, the revisions in `revisions`, the status in `progress`; here it is read and written.
"""

from collections.abc import Sequence
from contextlib import suppress

import msgspec

from api import errors, labels, meta
from api.meta import Key
from api.types import Deployment, DeploymentStatus, Pod, ReplicaSet
from controller_manager import progress, proportions, revisions, rollouts
from controller_manager.claims import claim
from controller_manager.contexts import Context
from controller_manager.expectations import Expectations
from controller_manager.gathering import all_of
from controller_manager.informing import Written
from controller_manager.pods import is_finished
from controller_manager.refusals import namespace_is_going
from controller_manager.rollouts import Scaling
from machinery.controllers import Controller


def new(context: Context) -> Controller:
    return DeploymentController(context).controller


class DeploymentController:
    """Keeps the replica sets and the status of every deployment."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._events = context.recorder("deployment-controller")
        self._deployments = context.informers(Deployment)
        self._replica_sets = context.informers(ReplicaSet, indexes=("controller", "orphan"))
        self._written = Written(self._deployments)
        self._written_sets = Written(self._replica_sets)
        self._pods = context.informers(Pod, indexes=("controller",))
        self._expectations = Expectations(context.clock)
        self.controller = Controller(
            "deployment-controller", self.reconcile, workers=context.config.concurrent_syncs,
            informers=(self._deployments, self._replica_sets, self._pods),
        )  # fmt: skip
        self._deployments.on_change(self._deployment_changed)
        self._replica_sets.on_change(self._replica_set_changed)
        self._pods.on_change(self._pod_changed)

    # What happens → which key

    def _deployment_changed(self, old: Deployment | None, new: Deployment | None) -> None:
        self.controller.queue.add(meta.key(new or old))

    def _replica_set_changed(self, old: ReplicaSet | None, new: ReplicaSet | None) -> None:
        for rs in (old, new):
            if rs is not None and (owner := self._owner_of(rs)) is not None:
                self._expectations.observed(meta.key(owner), rs.metadata.uid)
                self.controller.queue.add(meta.key(owner))
        if new is not None and meta.controller_of(new) is None:
            for deployment in self._deployments.list(new.metadata.namespace):
                if labels.from_object(deployment.spec.selector).matches(new.metadata.labels):
                    self.controller.queue.add(meta.key(deployment))

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        """A Recreate waits for the last of the old pods; nothing else about a pod concerns a deployment directly."""
        gone = old is not None and (new is None or is_finished(new))
        reference = meta.controller_of(old) if gone else None
        if old is None or reference is None or reference.kind != "ReplicaSet":
            return
        rs = self._replica_sets.get(old.metadata.namespace, reference.name)
        owner = self._owner_of(rs) if rs is not None else None
        if owner is not None and not rollouts.is_rolling(owner):
            self.controller.queue.add(meta.key(owner))

    def _owner_of(self, rs: ReplicaSet) -> Deployment | None:
        reference = meta.controller_of(rs)
        if reference is None or reference.kind != "Deployment":
            return None
        owner = self._deployments.get(rs.metadata.namespace, reference.name)
        return owner if owner is not None and owner.metadata.uid == reference.uid else None

    # One step

    async def reconcile(self, key: Key) -> float | None:
        deployment = self._deployments.get(*key)
        if deployment is None:
            self._expectations.forget(key)
            return None
        if (wait := self._expectations.remaining(key)) > 0:
            return wait  # a replica set that was made is not seen yet: without it there would seem to be room
        deployment = self._written.newest(deployment)
        selector = labels.from_object(deployment.spec.selector)
        if not selector:
            await self._refuse_to_select_all(deployment)
            return None
        owned = self._replica_sets.by_index("controller", deployment.metadata.uid)
        orphans = self._replica_sets.by_index("orphan", key.namespace)
        replica_sets = await claim(self._client, deployment, selector, [*owned, *orphans])
        present, old = revisions.split(deployment, map(self._written_sets.newest, replica_sets))
        try:
            return await self._step(deployment, present, old)
        except errors.NotFound:
            return None  # the deployment or a replica set went meanwhile, and the informer will say so

    async def _step(self, deployment: Deployment, present: ReplicaSet | None, old: list[ReplicaSet]) -> float | None:
        if deployment.metadata.deletionTimestamp:
            await self._write_counts(deployment, present, old)
            return None
        status = meta.clone(deployment.status)
        if progress.note_pause(deployment, status, self._clock.now()):
            deployment = await self._save(deployment, status)
        everyone = [*old, *([present] if present is not None else [])]
        if deployment.spec.paused or proportions.is_being_scaled(deployment, everyone):
            await self._resize(deployment, present, old)
            return None
        if rollouts.is_rolling(deployment):
            return await self._roll(deployment, present, old)
        return await self._recreate(deployment, present, old)

    async def _resize(self, deployment: Deployment, present: ReplicaSet | None, old: list[ReplicaSet]) -> None:
        if present is not None:
            deployment, present = await self._renew(deployment, present, old)
        await self._scale_all(deployment, proportions.proportional(deployment, present, old))
        if deployment.spec.paused:
            await self._clean_up(deployment, old)
        await self._write_counts(deployment, present, old)

    async def _roll(self, deployment: Deployment, present: ReplicaSet | None, old: list[ReplicaSet]) -> float | None:
        deployment, current = await self._ensure(deployment, present, old)
        if current is None:
            return None
        scaling = rollouts.roll_new(deployment, current, self._crowded(old)) or rollouts.roll_old(
            deployment, current, old
        )
        await self._scale_all(deployment, scaling)
        if not scaling and progress.is_complete(deployment, deployment.status):
            await self._clean_up(deployment, old)
        return await self._write_progress(deployment, current, old)

    async def _recreate(
        self, deployment: Deployment, present: ReplicaSet | None, old: list[ReplicaSet]
    ) -> float | None:
        if present is not None:
            deployment, present = await self._renew(deployment, present, old)
        surplus: Scaling = [(rs, 0) for rs in rollouts.with_pods(old)]
        if surplus:
            await self._scale_all(deployment, surplus)
        elif not self._has_running_pods(old):
            deployment, present = await self._ensure(deployment, present, old)
            if present is None:
                return None
            if rollouts.size(present) != deployment.spec.replicas:
                await self._scale_all(deployment, [(present, deployment.spec.replicas or 0)])
            if progress.is_complete(deployment, deployment.status):
                await self._clean_up(deployment, old)
        return await self._write_progress(deployment, present, old)

    def _has_running_pods(self, old: Sequence[ReplicaSet]) -> bool:
        if rollouts.running(old) or not all(map(rollouts.is_settled, old)):
            return True
        pods = (p for rs in old for p in self._pods.by_index("controller", rs.metadata.uid))
        return any(not is_finished(p) for p in pods)

    def _crowded(self, old: Sequence[ReplicaSet]) -> list[ReplicaSet]:
        """With the pods that are seen, where their own controller has not counted them yet."""
        found = []
        for rs in old:
            pods = self._pods.by_index("controller", rs.metadata.uid)
            living = sum(not p.metadata.deletionTimestamp and not is_finished(p) for p in pods)
            if living > (rs.status.replicas or 0):
                rs = msgspec.structs.replace(rs, status=msgspec.structs.replace(rs.status, replicas=living))
            found.append(rs)
        return found

    # The replica set of the present template

    async def _ensure(
        self, deployment: Deployment, present: ReplicaSet | None, old: list[ReplicaSet]
    ) -> tuple[Deployment, ReplicaSet | None]:
        """The deployment and its present replica set as they are stored then; None if the namespace is going."""
        if present is not None:
            return await self._renew(deployment, present, old)
        to = revisions.next_revision(old)
        wanted = revisions.new_replica_set(deployment, rollouts.size_of_new(deployment, self._crowded(old), 0), to)
        created = await self._create(deployment, wanted)
        if created is None:
            return deployment, None
        said = ("NewReplicaSetCreated", f'Created new replica set "{created.metadata.name}"')
        return await self._note_revision(deployment, created, *said, anew=True), created

    async def _renew(
        self, deployment: Deployment, present: ReplicaSet, old: list[ReplicaSet]
    ) -> tuple[Deployment, ReplicaSet]:
        """Bring what the present replica set copies from the deployment up to date."""
        annotations = revisions.annotations_for_existing(deployment, present, revisions.next_revision(old))
        min_ready = deployment.spec.minReadySeconds
        if annotations != present.metadata.annotations or (present.spec.minReadySeconds or 0) != (min_ready or 0):
            changed = meta.clone(present)
            changed.metadata.annotations = annotations
            changed.spec.minReadySeconds = min_ready
            present = self._written_sets.note(await self._client.update(changed))
        said = ("FoundNewReplicaSet", f'Found new replica set "{present.metadata.name}"')
        return await self._note_revision(deployment, present, *said, anew=False), present

    async def _note_revision(
        self, deployment: Deployment, present: ReplicaSet, reason: str, message: str, *, anew: bool
    ) -> Deployment:
        """Say which revision is the present one; `reason` unless there is another one already and it is not `anew`."""
        status = meta.clone(deployment.status)
        if progress.has_deadline(deployment) and (anew or progress.find(status, "Progressing") is None):
            progress.put(status, progress.condition("Progressing", "True", reason, message, self._clock.now()))
        number = present.metadata.annotations.get(revisions.REVISION, "")
        same = deployment.metadata.annotations.get(revisions.REVISION) == number
        if same and status == deployment.status:
            return deployment
        return await self._save(deployment, status, revision=number)

    async def _create(self, deployment: Deployment, wanted: ReplicaSet) -> ReplicaSet | None:
        name, replicas = wanted.metadata.name, wanted.spec.replicas
        try:
            created = await self._client.create(wanted)
        except errors.AlreadyExists:
            return await self._existing(deployment, wanted)
        except errors.ApiError as e:
            if namespace_is_going(e):
                return None
            await self._note_failure(deployment, f'Failed to create new replica set "{name}": {e.message}')
            raise
        if not self._replica_sets.has_shown(created):
            self._expectations.expect(meta.key(deployment), created.metadata.uid)
        if replicas:
            message = f"Scaled up replica set {name} from 0 to {replicas}"
            self._events.event(deployment, "Normal", "ScalingReplicaSet", message)
        return created

    async def _existing(self, deployment: Deployment, wanted: ReplicaSet) -> ReplicaSet:
        """The replica set that has the name: ours, but not in the informer yet, or one whose template hashes alike."""
        existing = await self._client.get(ReplicaSet, wanted.metadata.name, wanted.metadata.namespace)
        ours = meta.is_controlled_by(existing, deployment)
        if ours and revisions.same_template(existing.spec.template, wanted.spec.template):
            return existing
        status = meta.clone(deployment.status)
        status.collisionCount = (status.collisionCount or 0) + 1
        await self._save(deployment, status)
        raise errors.Conflict(f"the name {wanted.metadata.name} is taken by another template: the next hash is tried")

    async def _note_failure(self, deployment: Deployment, message: str) -> None:
        self._events.event(deployment, "Warning", "ReplicaSetCreateError", message)
        status = meta.clone(deployment.status)
        if progress.has_deadline(deployment):
            now = self._clock.now()
            progress.put(status, progress.condition("Progressing", "False", "ReplicaSetCreateError", message, now))
        if status != deployment.status:
            await self._save(deployment, status)

    # Writing

    async def _scale_all(self, deployment: Deployment, scaling: Scaling) -> None:
        await all_of(self._scale(deployment, rs, target) for rs, target in scaling)

    async def _scale(self, deployment: Deployment, rs: ReplicaSet, target: int) -> None:
        annotations = rs.metadata.annotations | revisions.replica_annotations(deployment)
        before = rollouts.size(rs)
        if before == target and annotations == rs.metadata.annotations:
            return
        changed = meta.clone(rs)
        changed.spec.replicas = target
        changed.metadata.annotations = annotations
        self._written_sets.note(await self._client.update(changed))
        if before != target:
            way = "up" if target > before else "down"
            message = f"Scaled {way} replica set {rs.metadata.name} from {before} to {target}"
            self._events.event(deployment, "Normal", "ScalingReplicaSet", message)

    async def _clean_up(self, deployment: Deployment, old: Sequence[ReplicaSet]) -> None:
        for rs in revisions.superfluous(deployment, old):
            with suppress(errors.NotFound):
                await self._client.delete(ReplicaSet, rs.metadata.name, rs.metadata.namespace, uid=rs.metadata.uid)

    async def _write_counts(self, deployment: Deployment, present: ReplicaSet | None, old: list[ReplicaSet]) -> None:
        status = progress.calculate(deployment, present, old, self._clock.now())
        if status != deployment.status:
            await self._save(deployment, status)

    async def _write_progress(
        self, deployment: Deployment, present: ReplicaSet | None, old: list[ReplicaSet]
    ) -> float | None:
        """Write the status of a rollout; the seconds until it is worth a look whether it is stuck."""
        now = self._clock.now()
        status = progress.calculate(deployment, present, old, now)
        progress.note_rollout(deployment, status, present, old, now)
        if status != deployment.status:
            await self._save(deployment, status)
        left = None if progress.is_complete(deployment, status) else progress.time_left(deployment, status, now)
        return left + 1 if left else None

    async def _save(self, deployment: Deployment, status: DeploymentStatus, *, revision: str = "") -> Deployment:
        changed = meta.clone(deployment)
        changed.status = status
        if revision:
            changed.metadata.annotations[revisions.REVISION] = revision
        return self._written.note(await self._client.update_status(changed))

    async def _refuse_to_select_all(self, deployment: Deployment) -> None:
        message = "This deployment is selecting all pods. A non-empty selector is required."
        self._events.event(deployment, "Warning", "SelectingAll", message)
        status = meta.clone(deployment.status)
        status.observedGeneration = deployment.metadata.generation or 0
        if status != deployment.status:
            await self._save(deployment, status)
