"""What happens to a pod's claims between the decision and the binding (upstream: VolumeBinding's PreBind).

The choice is written to the volume or to the claim, and the controllers do the rest; the pod is bound when its claims
are. Two schedulers that chose one volume are told apart by its resourceVersion: the second is refused, and tries again.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable

from api import errors, kinds, meta, volumes
from api.meta import Key
from api.types import CSINode, ObjectReference, PersistentVolume, PersistentVolumeClaim, StorageClass
from machinery.client import Client
from scheduler.storage import Choice, Storage

YES = "yes"


class Prebinding:
    """Keeps `storage` current, and writes what was chosen."""

    def __init__(self, client: Client, storage: Storage) -> None:
        self._client = client
        self._storage = storage
        self._waiting: defaultdict[Key, set[asyncio.Future[None]]] = defaultdict(set)

    def on_claim(self, old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None) -> None:
        claim = new or old
        assert claim is not None
        key = meta.key(claim)
        if new is None:
            self._storage.claims.pop(key, None)
        else:
            self._storage.claims[key] = new
        for waiter in self._waiting.pop(key, ()):
            if not waiter.done():
                waiter.set_result(None)

    def on_volume(self, old: PersistentVolume | None, new: PersistentVolume | None) -> None:
        if new is not None:
            self._storage.volumes[new.metadata.name] = new
        elif old is not None:
            self._storage.volumes.pop(old.metadata.name, None)

    def on_class(self, old: StorageClass | None, new: StorageClass | None) -> None:
        if new is not None:
            self._storage.classes[new.metadata.name] = new
        elif old is not None:
            self._storage.classes.pop(old.metadata.name, None)

    def on_csi_node(self, old: CSINode | None, new: CSINode | None) -> None:
        if new is not None:
            counts = ((driver.name, driver.allocatable) for driver in new.spec.drivers)
            self._storage.limits[new.metadata.name] = {
                name: there.count for name, there in counts if there is not None and there.count is not None
            }
        elif old is not None:
            self._storage.limits.pop(old.metadata.name, None)

    async def bind(self, choices: Iterable[Choice], node: str, seconds: float) -> None:
        """Returns when every claim is bound.  Raises ApiError: written by another, gone, or not in so many seconds."""
        for choice in choices:
            await self._write(choice, node)
        try:
            async with asyncio.timeout(seconds):
                for choice in choices:
                    await self._bound(choice, node)
        except TimeoutError as e:
            raise errors.Timeout("binding volumes: timed out waiting for the condition") from e

    async def _write(self, choice: Choice, node: str) -> None:
        claim = self._claim(choice.claim)
        if not choice.volume:
            if claim.metadata.annotations.get(volumes.SELECTED_NODE) != node:
                change = {"metadata": {"uid": claim.metadata.uid, "annotations": {volumes.SELECTED_NODE: node}}}
                await self._client.patch(PersistentVolumeClaim, choice.claim.name, choice.claim.namespace, change)
            return
        volume = self._storage.volumes.get(choice.volume)
        if volume is None:
            raise errors.not_found("persistentvolumes", choice.volume)
        if volume.spec.claimRef is not None and volume.spec.claimRef.uid == claim.metadata.uid:
            return
        changed = meta.clone(volume)
        if changed.spec.claimRef is None:
            changed.metadata.annotations[volumes.BOUND_BY_CONTROLLER] = YES
        kind = kinds.of(PersistentVolumeClaim)
        changed.spec.claimRef = ObjectReference(
            apiVersion=kind.api_version, kind=kind.name, namespace=choice.claim.namespace, name=choice.claim.name,
            uid=claim.metadata.uid, resourceVersion=claim.metadata.resourceVersion,
        )  # fmt: skip
        await self._client.update(changed)

    async def _bound(self, choice: Choice, node: str) -> None:
        told = False
        while volumes.BIND_COMPLETED not in (annotations := self._claim(choice.claim).metadata.annotations):
            # A provisioner that cannot serve the node takes the selection back.
            selected = annotations.get(volumes.SELECTED_NODE)
            if not choice.volume and told and selected != node:
                raise errors.Conflict(f'provisioning failed for PVC "{choice.claim.name}"')
            told = told or selected == node
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting[choice.claim].add(waiter)
            try:
                await waiter
            finally:
                if choice.claim in self._waiting:
                    self._waiting[choice.claim].discard(waiter)

    def _claim(self, key: Key) -> PersistentVolumeClaim:
        claim = self._storage.claims.get(key)
        if claim is None:
            raise errors.not_found("persistentvolumeclaims", key.name)
        return claim
