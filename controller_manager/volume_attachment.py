"""Volumes that must be attached to a node before its pods can mount them, and detached after.

https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/volume-attachment-v1/ . A
VolumeAttachment is the wish; the driver's own attacher fulfils it and says so in the status.  Drivers whose CSIDriver
says `attachRequired: false`, and this project's own, which is not one, need none.
"""

import hashlib
from contextlib import suppress
from typing import NamedTuple

from api import errors, meta, volumes
from api.meta import Key
from api.types import (
    AttachedVolume,
    CSIDriver,
    CSIPersistentVolumeSource,
    Node,
    ObjectMeta,
    PersistentVolume,
    PersistentVolumeClaim,
    Pod,
    VolumeAttachment,
    VolumeAttachmentSource,
    VolumeAttachmentSpec,
)
from controller_manager.contexts import Context
from controller_manager.pod_gc import is_out_of_service
from controller_manager.pods import is_finished
from machinery.controllers import Controller

MULTIPLE = {"ReadWriteMany", "ReadOnlyMany"}
MULTI_ATTACH = (
    'Multi-Attach error for volume "{name}" Volume is already exclusively attached to one node and can\'t be attached '
    "to another"
)


def new(context: Context) -> Controller:
    return AttachDetachController(context).controller


class Wish(NamedTuple):
    """A volume that pods of a node use."""

    volume: PersistentVolume
    driver: str
    handle: str
    pods: list[Pod]

    @property
    def unique_name(self) -> str:
        return f"kubernetes.io/csi/{self.driver}^{self.handle}"

    def attachment(self, node: str) -> str:
        return f"csi-{hashlib.sha256(f'{self.handle}{self.driver}{node}'.encode()).hexdigest()}"


class AttachDetachController:
    """Its keys are nodes."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._events = context.recorder("attachdetach-controller")
        self._nodes = context.informers(Node)
        self._pods = context.informers(Pod, indexes=("node",))
        self._claims = context.informers(PersistentVolumeClaim)
        self._volumes = context.informers(PersistentVolume)
        self._drivers = context.informers(CSIDriver)
        self._attachments = context.informers(VolumeAttachment)
        self._attachments.add_index("attached-node", lambda a: [a.spec.nodeName or ""])
        self._attachments.add_index("volume", lambda a: [_volume_name(a)])
        # One worker: two nodes must not both find that a volume is nobody's.
        self.controller = Controller(
            "persistentvolume-attach-detach-controller", self.reconcile, workers=1,
            informers=(
                self._nodes, self._pods, self._claims, self._volumes, self._drivers, self._attachments
            ),
        )  # fmt: skip
        self._nodes.on_change(self._node_changed)
        self._pods.on_change(self._pod_changed)
        self._claims.on_change(self._claim_changed)
        self._volumes.on_change(self._volume_changed)
        self._attachments.on_change(self._attachment_changed)

    # What happens → which node

    def _add(self, node: str) -> None:
        if node:
            self.controller.queue.add(Key("", node))

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        if old is None or new is None or _essence(old) != _essence(new):
            self._add((new or old).metadata.name)  # type: ignore[union-attr]

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        pod = new or old
        assert pod is not None
        if volumes.claim_names(pod) and (old is None or new is None or _place(old) != _place(new)):
            self._add(pod.spec.nodeName)

    def _claim_changed(self, old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None) -> None:
        if new is not None and (old is None or old.spec.volumeName != new.spec.volumeName):
            self._add_users(meta.key(new))

    def _volume_changed(self, old: PersistentVolume | None, new: PersistentVolume | None) -> None:
        # Nothing says that the view of volumes is as new as that of the claims that name them.
        if old is None and new is not None and (reference := new.spec.claimRef) is not None:
            self._add_users(Key(reference.namespace, reference.name))

    def _add_users(self, claim: Key) -> None:
        for pod in self._pods.list(claim.namespace):
            if pod.spec.nodeName and claim.name in volumes.claim_names(pod):
                self._add(pod.spec.nodeName)

    def _attachment_changed(self, old: VolumeAttachment | None, new: VolumeAttachment | None) -> None:
        attachment = new or old
        assert attachment is not None
        self._add(attachment.spec.nodeName or "")
        if new is None:  # another node may have waited for the volume
            for node in self._nodes.list():
                if self._pods.by_index("node", node.metadata.name):
                    self._add(node.metadata.name)
        elif old is not None and not _is_attached(old) and _is_attached(new):
            self._tell(new, "Normal", "SuccessfulAttachVolume", "AttachVolume.Attach succeeded for volume")
        elif (error := new.status.attachError) is not None and (old is None or old.status.attachError != error):
            self._tell(new, "Warning", "FailedAttachVolume", "AttachVolume.Attach failed for volume", error.message)

    def _tell(self, attachment: VolumeAttachment, kind: str, reason: str, what: str, why: str = "") -> None:
        name, node = _volume_name(attachment), attachment.spec.nodeName or ""
        for wish in self._wishes(node):
            if wish.volume.metadata.name == name:
                for pod in wish.pods:
                    self._events.event(pod, kind, reason, f'{what} "{name}" {f": {why}" if why else ""}')

    # One step

    async def reconcile(self, key: Key) -> None:
        name, node = key.name, self._nodes.get(*key)
        wishes = {wish.attachment(name): wish for wish in self._wishes(name)}
        for attachment in self._attachments.by_index("attached-node", name):
            if attachment.metadata.name not in wishes and self._may_detach(attachment, node):
                with suppress(errors.NotFound):
                    metadata = attachment.metadata
                    await self._client.delete(VolumeAttachment, metadata.name, uid=metadata.uid)
        for attachment_name, wish in wishes.items():
            if node is not None and self._attachments.get("", attachment_name) is None:
                await self._attach(attachment_name, wish, name)
        if node is not None:
            await self._say_what_is_attached(node)

    def _wishes(self, node: str) -> list[Wish]:
        found: dict[str, Wish] = {}
        for pod in self._pods.by_index("node", node):
            if is_finished(pod):
                continue
            for claim_name in volumes.claim_names(pod):
                claim = self._claims.get(pod.metadata.namespace, claim_name)
                volume = self._volumes.get("", claim.spec.volumeName) if claim is not None else None
                if volume is None or (csi := volume.spec.csi) is None or not self._needs_attaching(csi.driver or ""):
                    continue
                wish = Wish(volume, csi.driver or "", csi.volumeHandle or "", [])
                found.setdefault(volume.metadata.name, wish).pods.append(pod)
        return [*found.values()]

    def _needs_attaching(self, driver: str) -> bool:
        described = self._drivers.get("", driver)
        return driver != volumes.LOCAL_DRIVER and (described is None or described.spec.attachRequired is not False)

    def _may_detach(self, attachment: VolumeAttachment, node: Node | None) -> bool:
        """Not what the kubelet says is still mounted, unless somebody vouches that the node is off."""
        volume = self._volumes.get("", _volume_name(attachment))
        csi = volume.spec.csi if volume is not None else None
        if volume is None or csi is None or attachment.metadata.deletionTimestamp:
            return False
        wish = Wish(volume, csi.driver or "", csi.volumeHandle or "", [])
        if attachment.metadata.name != wish.attachment(attachment.spec.nodeName or ""):
            return False  # somebody else's
        return node is None or is_out_of_service(node) or wish.unique_name not in node.status.volumesInUse

    async def _attach(self, name: str, wish: Wish, node: str) -> None:
        volume = wish.volume.metadata.name
        others = [a for a in self._attachments.by_index("volume", volume) if a.spec.nodeName != node]
        if others and not MULTIPLE & {*wish.volume.spec.accessModes}:
            for pod in wish.pods:
                message = MULTI_ATTACH.format(name=volume)
                self._events.event(pod, "Warning", "FailedAttachVolume", message)
            return
        spec = VolumeAttachmentSpec(
            attacher=wish.driver, nodeName=node, source=VolumeAttachmentSource(persistentVolumeName=volume)
        )
        with suppress(errors.AlreadyExists):
            await self._client.create(VolumeAttachment(metadata=ObjectMeta(name=name), spec=spec))

    async def _say_what_is_attached(self, node: Node) -> None:
        attached = [
            AttachedVolume(name=f"kubernetes.io/csi/{a.spec.attacher}^{csi.volumeHandle}", devicePath="")
            for a in self._attachments.by_index("attached-node", node.metadata.name)
            if (csi := self._csi(a)) is not None and a.status.attached
        ]
        attached.sort(key=lambda a: a.name or "")
        if attached != node.status.volumesAttached:
            with suppress(errors.NotFound):
                patch = {"status": {"volumesAttached": attached}}
                await self._client.patch(Node, node.metadata.name, "", patch, subresource="status")

    def _csi(self, attachment: VolumeAttachment) -> CSIPersistentVolumeSource | None:
        volume = self._volumes.get("", _volume_name(attachment))
        return volume.spec.csi if volume is not None else None


def _volume_name(attachment: VolumeAttachment) -> str:
    source = attachment.spec.source
    return (source.persistentVolumeName or "") if source is not None else ""


def _is_attached(attachment: VolumeAttachment) -> bool:
    return bool(attachment.status.attached)


def _place(pod: Pod) -> tuple[str, bool]:
    return pod.spec.nodeName, is_finished(pod)


def _essence(node: Node) -> tuple[object, ...]:
    return node.status.volumesInUse, is_out_of_service(node)
