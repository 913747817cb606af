"""VolumeBinding, VolumeZone, VolumeRestrictions: which nodes a pod's claims allow, and what binding them takes. Pure.

https://kubernetes.io/docs/concepts/storage/storage-classes/#volume-binding-mode . A claim that waits for its consumer
is decided here: on the node that is chosen it takes a free volume, or one is provisioned there. Until that is written,
the choice stands in `Storage` as if it were, so that the next pod does not choose it again.
"""

from collections.abc import Iterator

import numpy as np

from api import labels, meta, quantities, volumes
from api.meta import Key
from api.types import PersistentVolume, PersistentVolumeClaim
from scheduler import node_affinity
from scheduler.columns import Mask
from scheduler.rejections import Rejection
from scheduler.snapshots import Snapshot
from scheduler.storage import Choice
from scheduler.wishes import Wish

UNBOUND = "pod has unbound immediate PersistentVolumeClaims"
NO_MATCH = "node(s) didn't find available persistent volumes to bind"
AFFINITY = "node(s) didn't match PersistentVolume's node affinity"
MISSING = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
ZONE_CONFLICT = "node(s) had no available volume zone"
IN_USE = (
    "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod"
)
ZONES = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")
NO_PROVISIONER = "kubernetes.io/no-provisioner"


def binding(wish: Wish, snapshot: Snapshot) -> Iterator[Rejection]:
    if not wish.claims:
        return
    storage, waiting = snapshot.storage, []
    for name in wish.claims:
        claim = storage.claims.get(Key(wish.namespace, name))
        if why := _useless(claim, name, wish):
            yield Rejection(snapshot.exists, why, final=True, whole=True)
            return
        assert claim is not None
        if claim.spec.volumeName:
            yield from _bound(claim, snapshot)
        elif not volumes.waits_for_consumer(storage.class_of(claim)):
            yield Rejection(snapshot.exists, UNBOUND, final=True, whole=True)
            return
        else:
            waiting.append(claim)
    if waiting:
        yield Rejection(~_satisfiable(waiting, snapshot), NO_MATCH, final=True)


def zones(wish: Wish, snapshot: Snapshot) -> Iterator[Rejection]:
    for volume in _volumes(wish, snapshot):
        allowed = snapshot.exists.copy()
        for label in ZONES:
            if value := volume.metadata.labels.get(label):
                allowed &= node_affinity.having(snapshot, label, value.split("__"))
        if not allowed[snapshot.exists].all():
            yield Rejection(~allowed, ZONE_CONFLICT, final=True)


def restrictions(wish: Wish, snapshot: Snapshot) -> Iterator[Rejection]:
    for name in wish.claims:
        key = Key(wish.namespace, name)
        claim = snapshot.storage.claims.get(key)
        if claim is not None and "ReadWriteOncePod" in claim.spec.accessModes and snapshot.storage.users[key]:
            yield Rejection(snapshot.exists, IN_USE)


def choose(wish: Wish, snapshot: Snapshot, row: int) -> tuple[Choice, ...]:
    """What becomes of the pod's claims on the node of that row, which no filter has rejected."""
    storage = snapshot.storage
    claims = [storage.claims[Key(wish.namespace, name)] for name in wish.claims]
    waiting = [c for c in claims if not c.spec.volumeName]
    return tuple(_choices(waiting, _candidates(waiting, snapshot), row) or ())


def _useless(claim: PersistentVolumeClaim | None, name: str, wish: Wish) -> str:
    pod = wish.pod
    ephemeral = any(v.ephemeral is not None and volumes.claim_name(pod, v) == name for v in pod.spec.volumes)
    if claim is None:
        if ephemeral:
            return f'waiting for ephemeral volume controller to create the persistentvolumeclaim "{name}"'
        return f'persistentvolumeclaim "{name}" not found'
    if claim.status.phase == "Lost":
        return f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{claim.spec.volumeName}"'
    if claim.metadata.deletionTimestamp:
        return f'persistentvolumeclaim "{name}" is being deleted'
    if ephemeral and not meta.is_controlled_by(claim, pod):
        return f"PVC {meta.key(claim)} was not created for pod {meta.key(pod)} (pod is not owner)"
    return ""


def _bound(claim: PersistentVolumeClaim, snapshot: Snapshot) -> Iterator[Rejection]:
    if volumes.BIND_COMPLETED not in claim.metadata.annotations:
        yield Rejection(snapshot.exists, UNBOUND, final=True, whole=True)
        return
    volume = snapshot.storage.volumes.get(claim.spec.volumeName)
    if volume is None:
        yield Rejection(snapshot.exists, MISSING, final=True)
        return
    allowed = reachable(volume, snapshot)
    if not allowed[snapshot.exists].all():
        yield Rejection(~allowed, AFFINITY, final=True)


def _volumes(wish: Wish, snapshot: Snapshot) -> Iterator[PersistentVolume]:
    """Those that the pod's claims are bound to."""
    storage = snapshot.storage
    for name in wish.claims:
        claim = storage.claims.get(Key(wish.namespace, name))
        if claim is not None and (volume := storage.volumes.get(claim.spec.volumeName)) is not None:
            yield volume


def reachable(volume: PersistentVolume, snapshot: Snapshot) -> Mask:
    """The nodes that the volume can be reached from."""
    affinity = volume.spec.nodeAffinity
    if affinity is None or affinity.required is None:
        return snapshot.exists
    return node_affinity.any_of(affinity.required, snapshot)


def _satisfiable(waiting: list[PersistentVolumeClaim], snapshot: Snapshot) -> Mask:
    """The nodes on which every one of the claims can have a volume of its own."""
    candidates = _candidates(waiting, snapshot)
    if not any(free for free, _ in candidates):  # the usual case: all are provisioned
        allowed = snapshot.exists.copy()
        for _, makeable in candidates:
            allowed &= makeable
        return allowed
    allowed = np.zeros_like(snapshot.exists)
    for row in np.flatnonzero(snapshot.exists):
        allowed[row] = _choices(waiting, candidates, int(row)) is not None
    return allowed


Candidates = list[tuple[list[tuple[PersistentVolume, Mask]], Mask]]
"""For each claim: the volumes that could serve it, the smallest first, with the nodes that reach them; and the nodes on
which one could be made."""


def _candidates(waiting: list[PersistentVolumeClaim], snapshot: Snapshot) -> Candidates:
    return [(_free(claim, snapshot), _makeable(claim, snapshot)) for claim in waiting]


def _free(claim: PersistentVolumeClaim, snapshot: Snapshot) -> list[tuple[PersistentVolume, Mask]]:
    storage, selector = snapshot.storage, labels.EVERYTHING
    if claim.spec.selector is not None:
        selector = labels.from_object(claim.spec.selector)
    found = []
    for volume in storage.volumes.values():
        taken = storage.taken.get(volume.metadata.name)
        if volume.metadata.deletionTimestamp or volumes.mismatch(volume, claim):
            continue
        reserved = volumes.is_for(volume, claim)
        if not reserved and (volume.spec.claimRef is not None or volume.status.phase != "Available" or taken):
            continue
        if reserved or selector.matches(volume.metadata.labels):
            found.append((not reserved, quantities.parse(volumes.capacity(volume)), volume))
    found.sort(key=lambda each: (each[0], each[1], each[2].metadata.name))
    return [(volume, reachable(volume, snapshot)) for *_, volume in found]


def _makeable(claim: PersistentVolumeClaim, snapshot: Snapshot) -> Mask:
    storage = snapshot.storage
    storage_class = storage.class_of(claim)
    nowhere = np.zeros_like(snapshot.exists)
    if storage_class is None or storage_class.provisioner == NO_PROVISIONER:
        return nowhere
    key = Key(claim.metadata.namespace, claim.metadata.name)
    if selected := storage.selected.get(key) or claim.metadata.annotations.get(volumes.SELECTED_NODE):
        if selected in snapshot.rows:
            nowhere[snapshot.rows[selected]] = True
        return nowhere
    if not storage_class.allowedTopologies:
        return snapshot.exists
    for term in storage_class.allowedTopologies:
        here = snapshot.exists.copy()
        for requirement in term.matchLabelExpressions:
            here &= node_affinity.having(snapshot, requirement.key or "", requirement.values)
        nowhere |= here
    return nowhere


def _choices(waiting: list[PersistentVolumeClaim], candidates: Candidates, row: int) -> list[Choice] | None:
    """None if some claim can have nothing on that node. The largest claim chooses last, as upstream has it."""
    chosen: list[Choice] = []
    order = sorted(range(len(waiting)), key=lambda i: quantities.parse(volumes.requested(waiting[i])))
    for at in order:
        free, makeable = candidates[at]
        metadata = waiting[at].metadata
        names = {c.volume for c in chosen}
        name = next((v.metadata.name for v, reached in free if reached[row] and v.metadata.name not in names), "")
        if not name and not makeable[row]:
            return None
        chosen.append(Choice(Key(metadata.namespace, metadata.name), name))
    return chosen
