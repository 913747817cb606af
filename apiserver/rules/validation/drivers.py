"""What CSI drivers say of themselves and what is asked of them: the rest of storage.k8s.io, and PersistentVolumes."""

from api import names, quantities
from api.paths import Path, duplicate, forbidden, invalid, not_supported, required, too_long
from api.types import (
    CSIDriver,
    CSINode,
    CSIStorageCapacity,
    PersistentVolume,
    PersistentVolumeSpec,
    VolumeAttachment,
    VolumeAttributesClass,
)  # fmt: skip
from apiserver.rules.validation.values import Faults, formed, immutable, nonnegative, optional

SPEC = Path("spec")
LONGEST_DRIVER, SHORTEST_TOKEN = 63, 600
ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
RECLAIMING = ("Delete", "Recycle", "Retain")
ONE_SOURCE = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
# The fields of a PersistentVolumeSpec that are no volume source.
COMMON = {
    "accessModes", "capacity", "claimRef", "mountOptions", "nodeAffinity", "persistentVolumeReclaimPolicy",
    "storageClassName", "volumeAttributesClassName", "volumeMode",
}  # fmt: skip


def driver_name(path: Path, value: str) -> Faults:
    if not value:
        yield required(path)
        return
    if len(value) > LONGEST_DRIVER:
        yield too_long(path, LONGEST_DRIVER)
    for why in names.dns_subdomain_faults(value.lower()):
        yield invalid(path, value, why)


def csi_driver(it: CSIDriver) -> Faults:
    spec = it.spec
    audiences: set[str] = set()
    for i, token in enumerate(spec.tokenRequests):
        at = SPEC.child("tokenRequests").index(i)
        if token.audience in audiences:
            yield duplicate(at.child("audience"), token.audience or "")
        audiences.add(token.audience or "")
        if token.expirationSeconds is not None and token.expirationSeconds < SHORTEST_TOKEN:
            why = "may not specify a duration less than 10 minutes"
            yield invalid(at.child("expirationSeconds"), token.expirationSeconds, why)
    for i, mode in enumerate(spec.volumeLifecycleModes):
        if mode not in ("Ephemeral", "Persistent"):
            yield not_supported(SPEC.child("volumeLifecycleModes").index(i), mode, ["Ephemeral", "Persistent"])
    yield from optional(SPEC.child("fsGroupPolicy"), spec.fsGroupPolicy, ("ReadWriteOnceWithFSType", "File", "None"))


def csi_driver_updated(new: CSIDriver, old: CSIDriver) -> Faults:
    yield from csi_driver(new)
    yield from immutable(SPEC.child("attachedRequired"), new.spec.attachRequired, old.spec.attachRequired)
    yield from immutable(
        SPEC.child("volumeLifecycleModes"), new.spec.volumeLifecycleModes, old.spec.volumeLifecycleModes
    )


def csi_node(it: CSINode) -> Faults:
    seen: set[str] = set()
    for i, driver in enumerate(it.spec.drivers):
        at, name = SPEC.child("drivers").index(i), driver.name or ""
        yield from driver_name(at.child("name"), name)
        if not driver.nodeID:
            yield required(at.child("nodeID"))
        if name in seen:
            yield duplicate(at.child("name"), name)
        seen.add(name)
        if driver.allocatable is not None:
            yield from nonnegative(at.child("allocatable").child("count"), driver.allocatable.count)


def csi_node_updated(new: CSINode, old: CSINode) -> Faults:
    yield from csi_node(new)
    before = {d.name: d for d in old.spec.drivers}
    for i, driver in enumerate(new.spec.drivers):
        known = before.get(driver.name)
        if known is not None and (known.nodeID, known.topologyKeys) != (driver.nodeID, driver.topologyKeys):
            yield invalid(SPEC.child("drivers").index(i), driver.name or "", "field is immutable")


def storage_capacity(it: CSIStorageCapacity) -> Faults:
    yield from formed(Path("storageClassName"), it.storageClassName, names.dns_subdomain_faults)
    for name in ("capacity", "maximumVolumeSize"):
        value = getattr(it, name)
        if value == "":
            yield invalid(Path(name), value, quantities.MESSAGE)
        elif value is not None and quantities.parse(value) < 0:
            yield invalid(Path(name), value, "must be greater than or equal to 0")


def storage_capacity_updated(new: CSIStorageCapacity, old: CSIStorageCapacity) -> Faults:
    yield from storage_capacity(new)
    for name in ("nodeTopology", "storageClassName"):
        yield from immutable(Path(name), getattr(new, name), getattr(old, name))


def attachment(it: VolumeAttachment) -> Faults:
    spec = it.spec
    yield from driver_name(SPEC.child("attacher"), spec.attacher or "")
    at, source = SPEC.child("source"), spec.source
    inline = source is not None and source.inlineVolumeSpec is not None
    named = source.persistentVolumeName if source is not None else ""
    if not inline and not named:
        yield required(at, ONE_SOURCE)
    elif inline and named:
        yield forbidden(at, ONE_SOURCE)
    elif named:
        yield from formed(at.child("persistentVolumeName"), named, names.dns_subdomain_faults)
    yield from formed(SPEC.child("nodeName"), spec.nodeName, names.dns_subdomain_faults)


def attachment_updated(new: VolumeAttachment, old: VolumeAttachment) -> Faults:
    yield from attachment(new)
    yield from immutable(SPEC, new.spec, old.spec)


def attributes_class(it: VolumeAttributesClass) -> Faults:
    yield from driver_name(Path("driverName"), it.driverName or "")
    if not it.parameters:
        yield required(Path("parameters"), "must contain at least one key/value pair")


def attributes_class_updated(new: VolumeAttributesClass, old: VolumeAttributesClass) -> Faults:
    for name in ("driverName", "parameters"):
        if getattr(new, name) != getattr(old, name):
            yield forbidden(Path(name), f"updates to {name} are forbidden.")


def volume(it: PersistentVolume) -> Faults:
    spec = it.spec
    if not spec.accessModes:
        yield required(SPEC.child("accessModes"))
    for mode in spec.accessModes:
        if mode not in ACCESS_MODES:
            yield not_supported(SPEC.child("accessModes"), mode, ACCESS_MODES)
    if "ReadWriteOncePod" in spec.accessModes and len(spec.accessModes) > 1:
        yield forbidden(SPEC.child("accessModes"), "may not use ReadWriteOncePod with other access modes")
    if not spec.capacity:
        yield required(SPEC.child("capacity"))
    elif set(spec.capacity) != {"storage"}:
        yield not_supported(SPEC.child("capacity"), ",".join(sorted(spec.capacity)), ["storage"])
    for name, amount in spec.capacity.items():
        if quantities.parse(amount) <= 0:
            yield invalid(SPEC.child("capacity").key(name), amount, "must be greater than zero")
    yield from optional(SPEC.child("persistentVolumeReclaimPolicy"), spec.persistentVolumeReclaimPolicy, RECLAIMING)
    yield from _one_source(spec)
    if spec.storageClassName:
        yield from formed(SPEC.child("storageClassName"), spec.storageClassName, names.dns_subdomain_faults)
    yield from optional(SPEC.child("volumeMode"), spec.volumeMode, ("Block", "Filesystem"))


def _sources(spec: PersistentVolumeSpec) -> dict[str, object]:
    return {n: v for n in spec.__struct_fields__ if n not in COMMON and (v := getattr(spec, n)) is not None}


def _one_source(spec: PersistentVolumeSpec) -> Faults:
    found = list(_sources(spec))
    if not found:
        yield required(SPEC, "must specify a volume type")
    for name in found[1:]:
        yield forbidden(SPEC.child(name), "may not specify more than 1 volume type")
    if spec.local is not None and not spec.local.path:
        yield required(SPEC.child("local").child("path"))
    if spec.local is not None and (spec.nodeAffinity is None or spec.nodeAffinity.required is None):
        yield required(SPEC.child("nodeAffinity"), "Local volume requires node affinity")
    if spec.csi is not None:
        yield from driver_name(SPEC.child("csi").child("driver"), spec.csi.driver or "")
        if not spec.csi.volumeHandle:
            yield required(SPEC.child("csi").child("volumeHandle"))


def volume_updated(new: PersistentVolume, old: PersistentVolume) -> Faults:
    yield from volume(new)
    if _sources(new.spec) != _sources(old.spec):
        yield forbidden(SPEC.child("persistentvolumesource"), "spec.persistentvolumesource is immutable after creation")
    yield from immutable(SPEC.child("volumeMode"), new.spec.volumeMode, old.spec.volumeMode)
