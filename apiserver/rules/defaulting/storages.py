"""Volumes, claims and storage classes."""

from api.types import PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec, StorageClass


def volume(obj: PersistentVolume) -> None:
    obj.status.phase = obj.status.phase or "Pending"
    obj.spec.persistentVolumeReclaimPolicy = obj.spec.persistentVolumeReclaimPolicy or "Retain"
    obj.spec.volumeMode = obj.spec.volumeMode or "Filesystem"


def claim(obj: PersistentVolumeClaim) -> None:
    obj.status.phase = obj.status.phase or "Pending"
    claim_spec(obj.spec)


def claim_spec(spec: PersistentVolumeClaimSpec) -> None:
    spec.volumeMode = spec.volumeMode or "Filesystem"


def storage_class(obj: StorageClass) -> None:
    obj.reclaimPolicy = obj.reclaimPolicy or "Delete"
    obj.volumeBindingMode = obj.volumeBindingMode or "Immediate"
