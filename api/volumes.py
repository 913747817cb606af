"""Which persistent volume is for which claim. Pure: the binder and the scheduler must not disagree.

https://kubernetes.io/docs/concepts/storage/persistent-volumes/#binding
"""

from collections.abc import Callable, Iterable

from api import labels, quantities
from api.types import PersistentVolume, PersistentVolumeClaim, Pod, StorageClass, Volume

BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
STORAGE_PROVISIONER = "volume.kubernetes.io/storage-provisioner"
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
CLASS = "volume.beta.kubernetes.io/storage-class"
"""How a class was named before there was a field for it; it still counts, and before the field."""

LOCAL_DRIVER = "local.wherry.io"
"""The provisioner of this project: a directory of the node's, found by the node's own kubelet."""
NODE_LABEL = f"{LOCAL_DRIVER}/node"
"""On its volumes: the node whose kubelet keeps the directory."""


def class_of(obj: PersistentVolume | PersistentVolumeClaim) -> str:
    """The name of the class, "" for none. A claim that has not said is None there and "" here."""
    return obj.metadata.annotations.get(CLASS) or obj.spec.storageClassName or ""


def requested(claim: PersistentVolumeClaim) -> str:
    """The quantity of storage that is asked for."""
    resources = claim.spec.resources
    return resources.requests.get("storage", "0") if resources is not None else "0"


def capacity(volume: PersistentVolume) -> str:
    return volume.spec.capacity.get("storage", "0")


def is_for(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    """Whether the volume says that it belongs to this claim, or to whichever has its name."""
    reference = volume.spec.claimRef
    if reference is None or (reference.namespace, reference.name) != (claim.metadata.namespace, claim.metadata.name):
        return False
    return not reference.uid or reference.uid == claim.metadata.uid


def waits_for_consumer(storage_class: StorageClass | None) -> bool:
    """Whether claims of the class are bound only when a pod that uses them has a node."""
    return storage_class is not None and storage_class.volumeBindingMode == "WaitForFirstConsumer"


def default_class(classes: Iterable[StorageClass]) -> StorageClass | None:
    """The class of claims that name none: the newest of those marked, as upstream decides."""
    marked = [c for c in classes if c.metadata.annotations.get(DEFAULT_CLASS) == "true"]
    marked.sort(key=lambda c: c.metadata.name)
    return max(marked, key=lambda c: c.metadata.creationTimestamp, default=None)


def mismatch(volume: PersistentVolume, claim: PersistentVolumeClaim) -> str:
    """Why the volume cannot serve the claim, in upstream's words; "" if it can."""
    if quantities.parse(capacity(volume)) < quantities.parse(requested(claim)):
        return "requested PV is too small"
    if class_of(volume) != class_of(claim):
        return "storageClassName does not match"
    if (volume.spec.volumeAttributesClassName or "") != (claim.spec.volumeAttributesClassName or ""):
        return "volumeAttributesClassName does not match"
    if _mode(volume) != _mode(claim):
        return "incompatible volumeMode"
    if not set(claim.spec.accessModes) <= set(volume.spec.accessModes):
        return "incompatible accessMode"
    return ""


def best(
    volumes: Iterable[PersistentVolume],
    claim: PersistentVolumeClaim,
    *,
    only_reserved: bool = False,
    fits: Callable[[PersistentVolume], bool] = lambda volume: True,
) -> PersistentVolume | None:
    """The volume reserved for the claim, or the smallest free one that can serve it.

    `only_reserved`: the claim waits for its consumer, so nothing is chosen for it.  `fits` is asked last.
    """
    selector = labels.from_object(claim.spec.selector) if claim.spec.selector is not None else labels.EVERYTHING
    found: PersistentVolume | None = None
    for volume in volumes:
        if volume.metadata.deletionTimestamp or _mode(volume) != _mode(claim):
            continue
        if is_for(volume, claim):
            if quantities.parse(capacity(volume)) >= quantities.parse(requested(claim)) and fits(volume):
                return volume
            continue
        if only_reserved or volume.spec.claimRef is not None or volume.status.phase != "Available":
            continue
        if mismatch(volume, claim) or not selector.matches(volume.metadata.labels):
            continue
        if (found is None or _size(volume) < _size(found)) and fits(volume):
            found = volume
    return found


def claim_name(pod: Pod, volume: Volume) -> str:
    """The name of the claim behind a pod's volume, "" if there is none behind it."""
    if volume.persistentVolumeClaim is not None:
        return volume.persistentVolumeClaim.claimName or ""
    return f"{pod.metadata.name}-{volume.name}" if volume.ephemeral is not None else ""


def claim_names(pod: Pod) -> list[str]:
    """The claims that a pod uses, those of its ephemeral volumes included."""
    return [name for volume in pod.spec.volumes if (name := claim_name(pod, volume))]


def _mode(obj: PersistentVolume | PersistentVolumeClaim) -> str:
    return obj.spec.volumeMode or "Filesystem"


def _size(volume: PersistentVolume) -> tuple[object, str]:
    return quantities.parse(capacity(volume)), volume.metadata.name
