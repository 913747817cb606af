"""Claims and the volumes that serve them: each finds the other, and both say so.

https://kubernetes.io/docs/concepts/storage/persistent-volumes/#lifecycle-of-a-volume-and-claim

    claim ──(finds or is given)──▶ volume.spec.claimRef ──▶ claim.spec.volumeName ──▶ both Bound
    claim gone ──▶ volume Released ──▶ reclaimed as its policy says

A binding is four writes that any process may die between, so each is made only if it is not there yet; the volume's
reference is the first, and decides.  One worker: two claims must not choose one volume.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress

from api import errors, meta, quantities, volumes
from api.meta import Key
from api.types import Node, ObjectReference, PersistentVolume, PersistentVolumeClaim, Pod, StorageClass
from controller_manager import volume_provisioning
from controller_manager.contexts import Context
from controller_manager.informing import Written
from controller_manager.volume_provisioning import Unprovisionable, is_open, reference_to
from machinery.controllers import Controller

COMPONENT = "persistentvolume-controller"
YES = "yes"
LOST_VOLUME = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
LOST_REFERENCE = "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"
MISBOUND = "Two claims are bound to the same volume, this one is bound incorrectly"
NO_VOLUME = "no persistent volumes available for this claim and no storage class is set"
NO_DELETER = 'error getting deleter volume plugin for volume "{name}": no deletable volume plugin matched'
NO_RECYCLER = "no recyclable volume plugin matched"
EXTERNAL = (
    "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the system "
    "administrator. If volume creation is delayed, please verify that the provisioner is running and correctly "
    "registered."
)
WAITS = "waiting for first consumer to be created before binding"


def new(context: Context) -> Controller:
    return VolumeBinder(context).controller


class VolumeBinder:
    """Keys with a namespace are claims, those without one are volumes."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._claims = context.informers(PersistentVolumeClaim)
        self._volumes = context.informers(PersistentVolume)
        self._classes = context.informers(StorageClass)
        self._nodes = context.informers(Node)
        self._pods = context.informers(Pod)
        self._claims_written = Written(self._claims)
        self._volumes_written = Written(self._volumes)
        self._recorder = context.recorder(COMPONENT)
        self._provisioner = context.recorder(volumes.LOCAL_DRIVER)
        self.controller = Controller(
            "persistentvolume-binder-controller", self.reconcile, workers=1,
            informers=(self._claims, self._volumes, self._classes, self._nodes, self._pods),
        )  # fmt: skip
        self._claims.on_change(self._claim_changed)
        self._volumes.on_change(self._volume_changed)
        self._classes.on_change(self._class_changed)
        self._nodes.on_change(self._node_changed)

    # --- what concerns whom

    def _claim_changed(self, old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None) -> None:
        claim = new or old
        assert claim is not None
        self.controller.queue.add(meta.key(claim))
        if new is None and claim.spec.volumeName:
            self.controller.queue.add(Key("", claim.spec.volumeName))

    def _volume_changed(self, old: PersistentVolume | None, new: PersistentVolume | None) -> None:
        volume = new or old
        assert volume is not None
        self.controller.queue.add(meta.key(volume))
        if (reference := volume.spec.claimRef) is not None:
            self.controller.queue.add(Key(reference.namespace, reference.name))
        elif new is not None:
            for claim in self._claims.list():
                if self._might_take(claim, new):
                    self.controller.queue.add(meta.key(claim))

    @staticmethod
    def _might_take(claim: PersistentVolumeClaim, volume: PersistentVolume) -> bool:
        if claim.spec.volumeName:  # which may have been named before it was there
            return claim.spec.volumeName == volume.metadata.name
        return volume.status.phase == "Available" and volumes.class_of(claim) == volumes.class_of(volume)

    def _class_changed(self, old: StorageClass | None, new: StorageClass | None) -> None:
        if new is not None:
            self._wake(lambda claim: volumes.class_of(claim) in ("", new.metadata.name))

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        if new is not None and is_open(new) and (old is None or not is_open(old)):
            self._wake(self._is_for_us)  # one that waits for no pod may have found no node

    def _is_for_us(self, claim: PersistentVolumeClaim) -> bool:
        storage_class = self._classes.get("", volumes.class_of(claim))
        return storage_class is not None and storage_class.provisioner == volumes.LOCAL_DRIVER

    def _wake(self, concerns: Callable[[PersistentVolumeClaim], bool]) -> None:
        for claim in self._claims.list():
            if not claim.spec.volumeName and concerns(claim):
                self.controller.queue.add(meta.key(claim))

    async def reconcile(self, key: Key) -> None:
        if not key.namespace:
            volume = self._volumes.get(*key)
            if volume is not None:
                await self._sync_volume(self._volumes_written.newest(volume))
            return
        claim = self._claims.get(*key)
        if claim is None:
            return
        claim = self._claims_written.newest(claim)
        if volumes.BIND_COMPLETED in claim.metadata.annotations:
            await self._sync_bound(claim)
        else:
            await self._sync_pending(claim)

    # --- claims

    async def _sync_pending(self, claim: PersistentVolumeClaim) -> None:
        if claim.metadata.deletionTimestamp:
            return
        if claim.spec.volumeName:
            await self._sync_chosen(claim)
            return
        storage_class = self._classes.get("", volumes.class_of(claim))
        waits = volumes.waits_for_consumer(storage_class)
        volume = volumes.best(self._all_volumes(), claim, only_reserved=waits)
        if volume is None and await self._give_class(claim):
            return  # it has changed, and its key comes again
        if volume is None and waits and volumes.SELECTED_NODE not in claim.metadata.annotations:
            self._recorder.event(claim, "Normal", *self._waiting(claim))
        elif volume is None and volumes.class_of(claim):
            volume = await self._provision(claim, storage_class)
        elif volume is None:
            self._recorder.event(claim, "Normal", "FailedBinding", NO_VOLUME)
        if volume is None:
            await self._set_claim(claim, "Pending")
        else:
            await self._bind(volume, claim)

    async def _sync_chosen(self, claim: PersistentVolumeClaim) -> None:
        """Its author has named the volume."""
        volume = self._volume(claim.spec.volumeName)
        if volume is None:
            await self._set_claim(claim, "Pending")
        elif volume.spec.claimRef is None:
            if why := volumes.mismatch(volume, claim):
                message = f'Cannot bind to requested volume "{volume.metadata.name}": {why}'
                self._recorder.event(claim, "Warning", "VolumeMismatch", message)
                await self._set_claim(claim, "Pending")
            else:
                await self._bind(volume, claim)
        elif volumes.is_for(volume, claim):
            await self._bind(volume, claim)
        else:
            if volumes.BOUND_BY_CONTROLLER in claim.metadata.annotations:
                reference = volume.spec.claimRef
                message = (
                    f'volume "{volume.metadata.name}" already bound to a different claim '
                    f'("{reference.namespace}/{reference.name}").'
                )
                self._recorder.event(claim, "Warning", "FailedBinding", message)
            await self._set_claim(claim, "Pending")

    async def _sync_bound(self, claim: PersistentVolumeClaim) -> None:
        volume = self._volume(claim.spec.volumeName) if claim.spec.volumeName else None
        if volume is None:
            why = LOST_VOLUME if claim.spec.volumeName else LOST_REFERENCE
            await self._lose(claim, "ClaimLost", why)
        elif volume.spec.claimRef is None or volumes.is_for(volume, claim):
            await self._bind(volume, claim)
        else:
            await self._lose(claim, "ClaimMisbound", MISBOUND)

    async def _give_class(self, claim: PersistentVolumeClaim) -> bool:
        """A claim from before there was a default class gets it now; whether it did.
        https://kubernetes.io/docs/concepts/storage/persistent-volumes/#retroactive-default-storageclass-assignment

        Not one that a volume without a class serves, or is to serve: with a class the two do not match any more.
        """
        if claim.spec.storageClassName is not None or volumes.CLASS in claim.metadata.annotations:
            return False
        default = volumes.default_class(self._classes.list())
        if default is None:
            return False
        changed = meta.clone(claim)
        changed.spec.storageClassName = default.metadata.name
        self._claims_written.note(await self._client.update(changed))
        return True

    async def _provision(
        self, claim: PersistentVolumeClaim, storage_class: StorageClass | None
    ) -> PersistentVolume | None:
        name = volumes.class_of(claim)
        if storage_class is None:
            message = f'storageclass.storage.k8s.io "{name}" not found'
            self._recorder.event(claim, "Warning", "ProvisioningFailed", message)
            return None
        provisioner = storage_class.provisioner or ""
        if provisioner.startswith("kubernetes.io/"):
            message = f"no volume plugin matched name: {provisioner}"
            self._recorder.event(claim, "Warning", "ProvisioningFailed", message)
            return None
        await self._mark(claim, provisioner)
        if provisioner != volumes.LOCAL_DRIVER:
            self._recorder.event(claim, "Normal", "ExternalProvisioning", EXTERNAL.format(provisioner=provisioner))
            return None
        try:
            wanted = volume_provisioning.volume(claim, storage_class, self._nodes.list())
        except Unprovisionable as e:
            message = f'failed to provision volume with StorageClass "{name}": {e}'
            self._provisioner.event(claim, "Warning", "ProvisioningFailed", message)
            await self._take_back(claim)
            return None
        try:
            volume = self._volumes_written.note(await self._client.create(wanted))
        except errors.AlreadyExists:  # made before this process died, or not seen yet
            return await self._client.get(PersistentVolume, wanted.metadata.name)
        message = f"Successfully provisioned volume {volume.metadata.name}"
        self._provisioner.event(claim, "Normal", "ProvisioningSucceeded", message)
        return volume

    async def _mark(self, claim: PersistentVolumeClaim, provisioner: str) -> None:
        """Say who is to provide for the claim: external provisioners wait for this."""
        if claim.metadata.annotations.get(volumes.STORAGE_PROVISIONER) != provisioner:
            changed = meta.clone(claim)
            changed.metadata.annotations[volumes.STORAGE_PROVISIONER] = provisioner
            self._claims_written.note(await self._client.update(changed))

    async def _take_back(self, claim: PersistentVolumeClaim) -> None:
        """The selection of a node that is gone: the scheduler would keep to it, and the claim's pods wait for ever."""
        selected = claim.metadata.annotations.get(volumes.SELECTED_NODE)
        if selected and self._nodes.get("", selected) is None:
            changed = meta.clone(self._claims_written.newest(claim))
            changed.metadata.annotations.pop(volumes.SELECTED_NODE, None)
            self._claims_written.note(await self._client.update(changed))

    def _waiting(self, claim: PersistentVolumeClaim) -> tuple[str, str]:
        for pod in self._pods.list(claim.metadata.namespace):
            if not pod.spec.nodeName and claim.metadata.name in volumes.claim_names(pod):
                return "WaitForPodScheduled", f"waiting for pod {pod.metadata.name} to be scheduled"
        return "WaitForFirstConsumer", WAITS

    # --- both

    async def _bind(self, volume: PersistentVolume, claim: PersistentVolumeClaim) -> None:
        """Whatever of the binding is not there yet."""
        claim = self._claims_written.newest(claim)
        reference = volume.spec.claimRef
        if reference is None or not reference.uid:
            changed = meta.clone(volume)
            changed.spec.claimRef = reference_to(claim)
            if reference is None:
                changed.metadata.annotations[volumes.BOUND_BY_CONTROLLER] = YES
            volume = self._volumes_written.note(await self._client.update(changed))
        volume = await self._set_volume(volume, "Bound")
        annotations = claim.metadata.annotations
        if claim.spec.volumeName != volume.metadata.name or volumes.BIND_COMPLETED not in annotations:
            bound = meta.clone(claim)
            if not bound.spec.volumeName:
                bound.metadata.annotations[volumes.BOUND_BY_CONTROLLER] = YES
            bound.spec.volumeName = volume.metadata.name
            bound.metadata.annotations[volumes.BIND_COMPLETED] = YES
            claim = self._claims_written.note(await self._client.update(bound))
        volume = await self._grown(volume, claim)
        await self._set_claim(claim, "Bound", volume)

    async def _grown(self, volume: PersistentVolume, claim: PersistentVolumeClaim) -> PersistentVolume:
        """A directory is as large as one says: growing it is a matter of the book.
        https://kubernetes.io/docs/concepts/storage/persistent-volumes/#expanding-persistent-volumes-claims
        """
        csi = volume.spec.csi
        if csi is None or csi.driver != volumes.LOCAL_DRIVER:
            return volume
        if quantities.parse(volumes.capacity(volume)) >= quantities.parse(volumes.requested(claim)):
            return volume
        resizing = f"External resizer is resizing volume {volume.metadata.name}"
        self._provisioner.event(claim, "Normal", "Resizing", resizing)
        changed = meta.clone(volume)
        changed.spec.capacity["storage"] = volumes.requested(claim)
        grown = self._volumes_written.note(await self._client.update(changed))
        self._provisioner.event(claim, "Normal", "VolumeResizeSuccessful", "Resize volume succeeded")
        return grown

    async def _set_claim(
        self, claim: PersistentVolumeClaim, phase: str, volume: PersistentVolume | None = None
    ) -> PersistentVolumeClaim:
        claim = self._claims_written.newest(claim)
        changed = meta.clone(claim)
        status = changed.status
        status.phase = phase
        if volume is not None:
            status.accessModes = list(volume.spec.accessModes)
            local = volume.spec.csi is not None and volume.spec.csi.driver == volumes.LOCAL_DRIVER
            if local or claim.status.phase != "Bound":  # how far others have grown it is theirs to say
                status.capacity = {"storage": volumes.capacity(volume)}
        elif phase == "Pending":
            status.accessModes, status.capacity = [], {}
        if changed == claim:
            return claim
        return self._claims_written.note(await self._client.update_status(changed))

    async def _lose(self, claim: PersistentVolumeClaim, reason: str, message: str) -> None:
        if claim.status.phase != "Lost":
            self._recorder.event(claim, "Warning", reason, message)
        await self._set_claim(claim, "Lost")

    # --- volumes

    async def _sync_volume(self, volume: PersistentVolume) -> None:
        reference = volume.spec.claimRef
        if reference is None or not reference.uid:
            await self._set_volume(volume, "Available")
            return
        claim = self._claims.get(reference.namespace, reference.name)
        if claim is not None:
            claim = self._claims_written.newest(claim)
        if claim is None:  # perhaps it is not seen yet
            claim = await self._fresh(reference)
        if claim is None or claim.metadata.uid != reference.uid:
            if volume.status.phase != "Failed":
                volume = await self._set_volume(volume, "Released")
            await self._reclaim(volume)
        elif claim.spec.volumeName == volume.metadata.name:
            if volumes.BIND_COMPLETED in claim.metadata.annotations:
                await self._set_volume(volume, "Bound")
        elif claim.spec.volumeName:
            await self._let_go(volume)

    async def _fresh(self, reference: ObjectReference) -> PersistentVolumeClaim | None:
        try:
            return await self._client.get(PersistentVolumeClaim, reference.name, reference.namespace)
        except errors.NotFound:
            return None

    async def _let_go(self, volume: PersistentVolume) -> None:
        """Its claim has bound to another volume."""
        if volumes.PROVISIONED_BY in volume.metadata.annotations and _reclaim_policy(volume) == "Delete":
            await self._reclaim(await self._set_volume(volume, "Released"))
            return
        changed = meta.clone(volume)
        if changed.metadata.annotations.pop(volumes.BOUND_BY_CONTROLLER, None):
            changed.spec.claimRef = None
        elif changed.spec.claimRef is not None:
            changed.spec.claimRef.uid = ""
        volume = self._volumes_written.note(await self._client.update(changed))
        await self._set_volume(volume, "Available")

    async def _reclaim(self, volume: PersistentVolume) -> None:
        policy, provisioner = _reclaim_policy(volume), volume.metadata.annotations.get(volumes.PROVISIONED_BY, "")
        if policy == "Recycle":
            await self._fail(volume, "VolumeFailedRecycle", NO_RECYCLER)
        elif policy == "Delete" and provisioner == volumes.LOCAL_DRIVER:
            if not volume.metadata.deletionTimestamp:  # the node's kubelet removes the directory when this has gone
                with suppress(errors.NotFound):
                    await self._client.delete(PersistentVolume, volume.metadata.name, uid=volume.metadata.uid)
        elif policy == "Delete" and volume.spec.csi is None and not provisioner:
            await self._fail(volume, "VolumeFailedDelete", NO_DELETER.format(name=volume.metadata.name))

    async def _fail(self, volume: PersistentVolume, reason: str, message: str) -> None:
        if volume.status.phase != "Failed":
            self._recorder.event(volume, "Warning", reason, message)
        await self._set_volume(volume, "Failed", message)

    async def _set_volume(self, volume: PersistentVolume, phase: str, message: str = "") -> PersistentVolume:
        if volume.status.phase == phase:  # what others say of it stays, as upstream
            return volume
        changed = meta.clone(volume)
        changed.status.phase, changed.status.message = phase, message
        return self._volumes_written.note(await self._client.update_status(changed))

    def _volume(self, name: str) -> PersistentVolume | None:
        volume = self._volumes.get("", name)
        return self._volumes_written.newest(volume) if volume is not None else None

    def _all_volumes(self) -> Iterable[PersistentVolume]:
        return (self._volumes_written.newest(v) for v in self._volumes.list())


def _reclaim_policy(volume: PersistentVolume) -> str:
    return volume.spec.persistentVolumeReclaimPolicy or "Retain"
