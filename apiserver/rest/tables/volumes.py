"""Tables of volumes, their classes and their drivers."""

from collections.abc import Sequence
from typing import Any

from api import quantities
from api.types import (
    CSIDriver,
    CSINode,
    CSIStorageCapacity,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
    VolumeAttachment,
    VolumeAttributesClass,
)
from apiserver.rest.tables.columns import Printer, age, columns

_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}
_DEFAULT = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
_BETA_CLASS = "volume.beta.kubernetes.io/storage-class"


def _modes(modes: Sequence[str]) -> str:
    return ",".join(short for long, short in _MODES.items() if long in modes)


def _size(capacity: dict[str, str]) -> str:
    return quantities.canonical(capacity["storage"]) if "storage" in capacity else ""


def _phase(obj: Any) -> str:
    return "Terminating" if obj.metadata.deletionTimestamp else obj.status.phase


def _volume(obj: PersistentVolume, now: float) -> list[Any]:
    spec, claim = obj.spec, obj.spec.claimRef
    return [
        obj.metadata.name, _size(spec.capacity), _modes(spec.accessModes), spec.persistentVolumeReclaimPolicy,
        _phase(obj), f"{claim.namespace}/{claim.name}" if claim else "",
        obj.metadata.annotations.get(_BETA_CLASS) or spec.storageClassName or "",
        spec.volumeAttributesClassName or "<unset>", obj.status.reason, age(obj, now), spec.volumeMode or "<unset>",
    ]  # fmt: skip


def _claim(obj: PersistentVolumeClaim, now: float) -> list[Any]:
    spec, status = obj.spec, obj.status
    bound = bool(spec.volumeName)
    return [
        obj.metadata.name, _phase(obj), spec.volumeName, _size(status.capacity) if bound else "",
        _modes(status.accessModes) if bound else "",
        obj.metadata.annotations.get(_BETA_CLASS) or spec.storageClassName or "",
        spec.volumeAttributesClassName or "<unset>", age(obj, now), spec.volumeMode or "<unset>",
    ]  # fmt: skip


def _storage_class(obj: StorageClass, now: float) -> list[Any]:
    default = any(obj.metadata.annotations.get(key) == "true" for key in _DEFAULT)
    return [
        obj.metadata.name + (" (default)" if default else ""), obj.provisioner, obj.reclaimPolicy or "Delete",
        obj.volumeBindingMode or "Immediate", bool(obj.allowVolumeExpansion), age(obj, now),
    ]  # fmt: skip


def _attributes_class(obj: VolumeAttributesClass, now: float) -> list[Any]:
    return [obj.metadata.name, obj.driverName, age(obj, now)]


def _attachment(obj: VolumeAttachment, now: float) -> list[Any]:
    source = obj.spec.source
    volume = source.persistentVolumeName if source is not None else ""
    return [
        obj.metadata.name, obj.spec.attacher, volume or "", obj.spec.nodeName, bool(obj.status.attached),
        age(obj, now),
    ]  # fmt: skip


def _driver(obj: CSIDriver, now: float) -> list[Any]:
    spec = obj.spec
    tokens = ",".join(t.audience or "" for t in spec.tokenRequests) if spec.tokenRequests else "<unset>"
    return [
        obj.metadata.name, spec.attachRequired is not False, bool(spec.podInfoOnMount), bool(spec.storageCapacity),
        tokens, bool(spec.requiresRepublish), ",".join(spec.volumeLifecycleModes) or "<none>", age(obj, now),
    ]  # fmt: skip


def _csi_node(obj: CSINode, now: float) -> list[Any]:
    return [obj.metadata.name, len(obj.spec.drivers), age(obj, now)]


def _capacity(obj: CSIStorageCapacity, now: float) -> list[Any]:
    size = quantities.canonical(obj.capacity) if obj.capacity else "<unset>"
    return [obj.metadata.name, obj.storageClassName or "", size]


_STORAGE = "storage.k8s.io/v1"

PRINTERS = {
    ("v1", "PersistentVolume"): Printer(
        "PersistentVolume",
        columns(
            "Name Capacity Access_Modes Reclaim_Policy Status Claim StorageClass VolumeAttributesClass Reason Age "
            "VolumeMode*"
        ),
        _volume,
    ),
    ("v1", "PersistentVolumeClaim"): Printer(
        "PersistentVolumeClaim",
        columns("Name Status Volume Capacity Access_Modes StorageClass VolumeAttributesClass Age VolumeMode*"),
        _claim,
    ),
    (_STORAGE, "StorageClass"): Printer(
        "StorageClass",
        columns("Name Provisioner ReclaimPolicy VolumeBindingMode AllowVolumeExpansion Age"),
        _storage_class,
    ),
    (_STORAGE, "VolumeAttributesClass"): Printer(
        "VolumeAttributesClass", columns("Name DriverName Age"), _attributes_class
    ),
    (_STORAGE, "VolumeAttachment"): Printer(
        "VolumeAttachment", columns("Name Attacher PV Node Attached:boolean Age"), _attachment
    ),
    (_STORAGE, "CSIDriver"): Printer(
        "CSIDriver",
        columns(
            "Name AttachRequired:boolean PodInfoOnMount:boolean StorageCapacity:boolean TokenRequests "
            "RequiresRepublish:boolean Modes Age"
        ),
        _driver,
    ),
    (_STORAGE, "CSINode"): Printer("CSINode", columns("Name Drivers:integer Age"), _csi_node),
    (_STORAGE, "CSIStorageCapacity"): Printer(
        "CSIStorageCapacity", columns("Name StorageClassName Capacity"), _capacity
    ),
}
