"""NodeVolumeLimits: how many volumes of a driver a node can have attached, as its CSINode says. Pure.

https://kubernetes.io/docs/concepts/storage/storage-limits/
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from api import volumes
from api.meta import Key
from scheduler.rejections import Rejection
from scheduler.snapshots import Snapshot
from scheduler.wishes import Wish

REASON = "node(s) exceed max volume count"


class Attached(NamedTuple):
    driver: str
    handle: str
    """Of the volume, or of the claim that it will be made for: two pods with one volume attach it once."""


def rejections(wish: Wish, snapshot: Snapshot) -> Iterator[Rejection]:
    limits = snapshot.storage.limits
    wanted = {*_attached(wish, snapshot)} if wish.claims and limits else set()
    if not wanted:
        return
    drivers = {each.driver for each in wanted}
    full = np.zeros_like(snapshot.exists)
    for node, of_drivers in limits.items():
        row = snapshot.rows.get(node)
        if row is None or drivers.isdisjoint(of_drivers):
            continue
        there = {each for other in snapshot.pods(node) if other.claims for each in _attached(other, snapshot)}
        full[row] = any(
            _count(there | wanted, driver) > of_drivers[driver]
            for driver in drivers & of_drivers.keys()
            if any(each.driver == driver for each in wanted - there)
        )
    if full.any():
        yield Rejection(full, REASON)


def _count(volumes_: set[Attached], driver: str) -> int:
    return sum(each.driver == driver for each in volumes_)


def _attached(wish: Wish, snapshot: Snapshot) -> Iterator[Attached]:
    storage = snapshot.storage
    for name in wish.claims:
        claim = storage.claims.get(Key(wish.namespace, name))
        if claim is None:
            continue
        volume = storage.volumes.get(claim.spec.volumeName)
        if volume is not None:
            if (source := volume.spec.csi) is not None:
                yield Attached(source.driver, source.volumeHandle)
        elif (storage_class := storage.classes.get(volumes.class_of(claim))) is not None:
            yield Attached(storage_class.provisioner, f"{wish.namespace}/{name}")
