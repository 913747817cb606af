"""Claims that pods use and volumes that claims use stay until they are used no more.

https://kubernetes.io/docs/concepts/storage/persistent-volumes/#storage-object-in-use-protection
"""

from collections.abc import Iterable
from typing import Any

from api import meta, volumes
from api.meta import Key
from api.types import PersistentVolume, PersistentVolumeClaim, Pod
from controller_manager.contexts import Context
from machinery.client import Client
from machinery.controllers import Controller

CLAIM_FINALIZER = "kubernetes.io/pvc-protection"
VOLUME_FINALIZER = "kubernetes.io/pv-protection"


def new_for_claims(context: Context) -> Controller:
    return ClaimProtection(context).controller


def new_for_volumes(context: Context) -> Controller:
    return VolumeProtection(context).controller


class ClaimProtection:
    """Its keys are claims."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._claims = context.informers(PersistentVolumeClaim)
        self._pods = context.informers(Pod)
        self._pods.add_index("claim", _claims_of)
        self.controller = Controller(
            "persistentvolumeclaim-protection-controller", self.reconcile, informers=(self._claims, self._pods)
        )
        self._claims.on_change(self._claim_changed)
        self._pods.on_change(self._pod_changed)

    def _claim_changed(self, old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None) -> None:
        if new is not None and _needs_attention(new, CLAIM_FINALIZER):
            self.controller.queue.add(meta.key(new))

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        if new is None and old is not None:
            for name in volumes.claim_names(old):
                self.controller.queue.add(Key(old.metadata.namespace, name))

    async def reconcile(self, key: Key) -> None:
        claim = self._claims.get(*key)
        if claim is None or not _needs_attention(claim, CLAIM_FINALIZER):
            return
        if not claim.metadata.deletionTimestamp:
            await _finalize(self._client, claim, [*claim.metadata.finalizers, CLAIM_FINALIZER])
        elif not await self._is_used(key):
            await _finalize(self._client, claim, [f for f in claim.metadata.finalizers if f != CLAIM_FINALIZER])

    async def _is_used(self, key: Key) -> bool:
        if self._pods.by_index("claim", str(key)):
            return True
        # A pod that is not seen yet would lose its data: the last look is past the cache.
        pods = (await self._client.list(Pod, key.namespace)).items
        return any(str(key) in _claims_of(pod) for pod in pods)


class VolumeProtection:
    """Its keys are volumes."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._volumes = context.informers(PersistentVolume)
        self.controller = Controller(
            "persistentvolume-protection-controller", self.reconcile, informers=(self._volumes,)
        )
        self._volumes.on_change(self._volume_changed)

    def _volume_changed(self, old: PersistentVolume | None, new: PersistentVolume | None) -> None:
        if new is not None and _needs_attention(new, VOLUME_FINALIZER):
            self.controller.queue.add(meta.key(new))

    async def reconcile(self, key: Key) -> None:
        volume = self._volumes.get(*key)
        if volume is None or not _needs_attention(volume, VOLUME_FINALIZER):
            return
        if not volume.metadata.deletionTimestamp:
            await _finalize(self._client, volume, [*volume.metadata.finalizers, VOLUME_FINALIZER])
        elif volume.status.phase != "Bound":
            await _finalize(self._client, volume, [f for f in volume.metadata.finalizers if f != VOLUME_FINALIZER])


def _claims_of(pod: Pod) -> Iterable[str]:
    """Of a pod that has a node: the others cannot start any more once a claim is being deleted."""
    if not pod.spec.nodeName:
        return []
    return [str(Key(pod.metadata.namespace, name)) for name in volumes.claim_names(pod)]


def _needs_attention(obj: Any, finalizer: str) -> bool:
    return bool(obj.metadata.deletionTimestamp) == (finalizer in obj.metadata.finalizers)


async def _finalize(client: Client, obj: Any, finalizers: list[str]) -> None:
    changed = meta.clone(obj)
    changed.metadata.finalizers = finalizers
    await client.update(changed)
