"""Volumes made for claims of this project's own classes: a directory on one node, which its kubelet makes and removes.

https://kubernetes.io/docs/concepts/storage/dynamic-provisioning/ . What is made here is only the object: where the
directory stands is the kubelet's own affair, so that the volume says no more than its name and its node.
"""

import zlib
from collections.abc import Iterable

from api import kinds, meta, volumes
from api.types import (
    CSIPersistentVolumeSource,
    Node,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    ObjectMeta,
    ObjectReference,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeSpec,
    StorageClass,
    VolumeNodeAffinity,
)

HOSTNAME = "kubernetes.io/hostname"


class Unprovisionable(Exception):
    """Not as the claim asks for it, or not now."""


def volume(claim: PersistentVolumeClaim, storage_class: StorageClass, nodes: Iterable[Node]) -> PersistentVolume:
    """Raises Unprovisionable."""
    if claim.spec.volumeMode == "Block":
        raise Unprovisionable("a directory cannot serve as a block device")
    if claim.spec.dataSource is not None or claim.spec.dataSourceRef is not None:
        raise Unprovisionable("volumes cannot be made from snapshots or other volumes")
    node = _node(claim, nodes)
    name = f"pvc-{claim.metadata.uid}"
    return PersistentVolume(
        metadata=ObjectMeta(
            name=name,
            labels={volumes.NODE_LABEL: node.metadata.name},
            annotations={volumes.PROVISIONED_BY: volumes.LOCAL_DRIVER},
        ),
        spec=PersistentVolumeSpec(
            capacity={"storage": volumes.requested(claim)},
            accessModes=list(claim.spec.accessModes),
            claimRef=reference_to(claim),
            csi=CSIPersistentVolumeSource(driver=volumes.LOCAL_DRIVER, volumeHandle=name),
            mountOptions=list(storage_class.mountOptions),
            nodeAffinity=VolumeNodeAffinity(required=_only(node)),
            persistentVolumeReclaimPolicy=storage_class.reclaimPolicy or "Delete",
            storageClassName=volumes.class_of(claim),
            volumeMode="Filesystem",
        ),
    )


def reference_to(claim: PersistentVolumeClaim) -> ObjectReference:
    metadata, kind = claim.metadata, kinds.of(PersistentVolumeClaim)
    return ObjectReference(
        apiVersion=kind.api_version, kind=kind.name, namespace=metadata.namespace, name=metadata.name,
        uid=metadata.uid, resourceVersion=metadata.resourceVersion,
    )  # fmt: skip


def is_open(node: Node) -> bool:
    """Whether a volume for no pod in particular may be made there."""
    return meta.is_true(node, "Ready") and not node.spec.unschedulable


def _node(claim: PersistentVolumeClaim, nodes: Iterable[Node]) -> Node:
    """The node that the scheduler has selected; for a claim that waits for nobody, the first that is ready."""
    by_name = {n.metadata.name: n for n in nodes}
    if selected := claim.metadata.annotations.get(volumes.SELECTED_NODE):
        if selected not in by_name:
            raise Unprovisionable(f'node "{selected}" not found')
        return by_name[selected]
    ready = [n for n in by_name.values() if is_open(n)]
    if not ready:
        raise Unprovisionable("no node is ready")
    ready.sort(key=lambda n: n.metadata.name)
    return ready[zlib.crc32(claim.metadata.uid.encode()) % len(ready)]  # the same at each try, another for each claim


def _only(node: Node) -> NodeSelector:
    value = node.metadata.labels.get(HOSTNAME, node.metadata.name)
    requirement = NodeSelectorRequirement(key=HOSTNAME, operator="In", values=[value])
    return NodeSelector(nodeSelectorTerms=[NodeSelectorTerm(matchExpressions=[requirement])])
