"""The claims of pods' ephemeral volumes: made for one pod, gone with it.

https://kubernetes.io/docs/concepts/storage/ephemeral-volumes/#generic-ephemeral-volumes
"""

from contextlib import suppress

from api import errors, meta, volumes
from api.meta import Key
from api.types import ObjectMeta, PersistentVolumeClaim, Pod, Volume
from controller_manager.contexts import Context
from controller_manager.refusals import namespace_is_going
from machinery.controllers import Controller

COMPONENT = "ephemeral_volume"


def new(context: Context) -> Controller:
    return EphemeralVolumes(context).controller


class EphemeralVolumes:
    """Its keys are pods."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._pods = context.informers(Pod)
        self._claims = context.informers(PersistentVolumeClaim)
        self._recorder = context.recorder(COMPONENT)
        self.controller = Controller(
            "ephemeral-volume-controller", self.reconcile, informers=(self._pods, self._claims)
        )
        self._pods.on_change(self._pod_changed)
        self._claims.on_change(self._claim_changed)

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        if old is None and new is not None and any(v.ephemeral is not None for v in new.spec.volumes):
            self.controller.queue.add(meta.key(new))

    def _claim_changed(self, old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None) -> None:
        """One is gone: a pod's own, or one of somebody else's that had the name of a pod's."""
        if new is not None or old is None:
            return
        for pod in self._pods.list(old.metadata.namespace):
            if old.metadata.name in volumes.claim_names(pod):
                self.controller.queue.add(meta.key(pod))

    async def reconcile(self, key: Key) -> None:
        pod = self._pods.get(*key)
        if pod is None or pod.metadata.deletionTimestamp:
            return
        for volume in pod.spec.volumes:
            if volume.ephemeral is not None:
                await self._ensure(pod, volume)

    async def _ensure(self, pod: Pod, volume: Volume) -> None:
        claim = self._claims.get(pod.metadata.namespace, volumes.claim_name(pod, volume))
        if claim is None:
            try:
                with suppress(errors.AlreadyExists):
                    await self._client.create(claim_for(pod, volume))
                    return
                claim = await self._client.get(
                    PersistentVolumeClaim, volumes.claim_name(pod, volume), pod.metadata.namespace
                )
            except errors.ApiError as e:
                if namespace_is_going(e):
                    return
                message = f"ephemeral volume {volume.name}: create PVC {volumes.claim_name(pod, volume)}: {e}"
                self._recorder.event(pod, "Warning", "FailedBinding", message)
                raise
        if not meta.is_controlled_by(claim, pod):
            message = (
                f"ephemeral volume {volume.name}: PVC {meta.key(claim)} was not created for pod {meta.key(pod)} "
                "(pod is not owner)"
            )
            self._recorder.event(pod, "Warning", "FailedBinding", message)


def claim_for(pod: Pod, volume: Volume) -> PersistentVolumeClaim:
    assert volume.ephemeral is not None
    template = volume.ephemeral.volumeClaimTemplate
    if template is None:
        raise ValueError(f"volume {volume.name} has no template")
    metadata = template.metadata
    return PersistentVolumeClaim(
        metadata=ObjectMeta(
            name=volumes.claim_name(pod, volume),
            namespace=pod.metadata.namespace,
            labels=dict(metadata.labels),
            annotations=dict(metadata.annotations),
            ownerReferences=[meta.controller_reference(pod)],
        ),
        spec=meta.clone(template.spec),
    )
