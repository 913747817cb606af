"""Volumes, claims and storage classes."""

from api.pod_defaults import claim_spec
from api.types import CSIDriver, PersistentVolume, PersistentVolumeClaim, StorageClass


def volume(obj: PersistentVolume) -> None:
    obj.status.phase = obj.status.phase or "Pending"
    obj.spec.persistentVolumeReclaimPolicy = obj.spec.persistentVolumeReclaimPolicy or "Retain"
    obj.spec.volumeMode = obj.spec.volumeMode or "Filesystem"


def claim(obj: PersistentVolumeClaim) -> None:
    obj.status.phase = obj.status.phase or "Pending"
    claim_spec(obj.spec)


def storage_class(obj: StorageClass) -> None:
    obj.reclaimPolicy = obj.reclaimPolicy or "Delete"
    obj.volumeBindingMode = obj.volumeBindingMode or "Immediate"


def driver(obj: CSIDriver) -> None:
    spec = obj.spec
    if spec.attachRequired is None:
        spec.attachRequired = True
    for name in ("podInfoOnMount", "requiresRepublish", "seLinuxMount", "storageCapacity"):
        if getattr(spec, name) is None:
            setattr(spec, name, False)
    spec.fsGroupPolicy = spec.fsGroupPolicy or "ReadWriteOnceWithFSType"
    spec.volumeLifecycleModes = spec.volumeLifecycleModes or ["Persistent"]
