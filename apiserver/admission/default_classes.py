"""DefaultStorageClass and DefaultIngressClass: the class that claims and ingresses get that name none.

https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#defaultstorageclass . Of several defaults
the newest counts, and of those of one second the first by name.
"""

from collections.abc import Iterable
from typing import Any

from api import kinds, times
from api.types import Ingress, IngressClass, PersistentVolumeClaim, StorageClass
from apiserver.admission.reading import Reader
from apiserver.requests import Request

CLAIMS, STORAGE_CLASSES = kinds.of(PersistentVolumeClaim), kinds.of(StorageClass)
INGRESSES, INGRESS_CLASSES = kinds.of(Ingress), kinds.of(IngressClass)
BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
INGRESS_CLASS = "kubernetes.io/ingress.class"
DEFAULT_STORAGE = "storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"
DEFAULT_INGRESS = ("ingressclass.kubernetes.io/is-default-class",)


class DefaultStorageClass:
    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def admit(self, request: Request, obj: Any, old: Any) -> None:
        if request.kind is not CLAIMS or request.subresource or obj is None or old is not None:
            return
        # "" is a choice too: a volume without a class.
        if obj.spec.storageClassName is None and BETA_CLASS not in obj.metadata.annotations:
            obj.spec.storageClassName = _newest(self._reader.list_cached(STORAGE_CLASSES), DEFAULT_STORAGE) or None


class DefaultIngressClass:
    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def admit(self, request: Request, obj: Any, old: Any) -> None:
        if request.kind is not INGRESSES or request.subresource or obj is None or old is not None:
            return
        if not obj.spec.ingressClassName and INGRESS_CLASS not in obj.metadata.annotations:
            obj.spec.ingressClassName = _newest(self._reader.list_cached(INGRESS_CLASSES), DEFAULT_INGRESS)


def _newest(classes: Iterable[Any], marks: Iterable[str]) -> str:
    """The name of the default; "" without one."""
    defaults = [c.metadata for c in classes if any(c.metadata.annotations.get(m) == "true" for m in marks)]
    return min(defaults, key=lambda m: (-times.parse(m.creationTimestamp), m.name)).name if defaults else ""
