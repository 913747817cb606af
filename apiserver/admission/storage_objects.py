"""StorageObjectInUseProtection and PersistentVolumeClaimResize."""

from decimal import Decimal
from typing import Any

from api import errors, kinds, quantities
from api.types import PersistentVolume, PersistentVolumeClaim, StorageClass
from apiserver.admission.reading import Reader, find
from apiserver.requests import Request

CLAIMS, VOLUMES = kinds.of(PersistentVolumeClaim), kinds.of(PersistentVolume)
CLASSES = kinds.of(StorageClass)
FINALIZERS = {CLAIMS: "kubernetes.io/pvc-protection", VOLUMES: "kubernetes.io/pv-protection"}
BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
NOT_RESIZABLE = (
    "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"
)


class StorageObjectInUseProtection:
    """Claims and volumes are made with the finalizer that holds them while they are in use.

    https://kubernetes.io/docs/concepts/storage/persistent-volumes/#storage-object-in-use-protection
    """

    async def admit(self, request: Request, obj: Any, old: Any) -> None:
        finalizer = FINALIZERS.get(request.kind) if not request.subresource else None
        if finalizer is not None and obj is not None and old is None and finalizer not in obj.metadata.finalizers:
            obj.metadata.finalizers = [*obj.metadata.finalizers, finalizer]


class PersistentVolumeClaimResize:
    """A claim may grow only if its class says so.

    https://kubernetes.io/docs/concepts/storage/persistent-volumes/#expanding-persistent-volumes-claims
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def judge(self, request: Request, obj: Any, old: Any) -> None:
        if request.kind is not CLAIMS or request.subresource or obj is None or old is None or _size(obj) <= _size(old):
            return
        name = _class_of(obj)
        found = await find(self._reader, CLASSES, "", name) if name and name == _class_of(old) else None
        if found is None or not found.allowVolumeExpansion:
            raise errors.forbidden(CLAIMS.group_resource, obj.metadata.name, NOT_RESIZABLE)


def _size(claim: PersistentVolumeClaim) -> Decimal:
    resources = claim.spec.resources
    return quantities.parse(resources.requests.get("storage", "0")) if resources is not None else Decimal()


def _class_of(claim: PersistentVolumeClaim) -> str:
    return claim.metadata.annotations.get(BETA_CLASS) or claim.spec.storageClassName or ""
