"""Claims, volumes and classes as decisions see them."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from api import volumes
from api.meta import Key
from api.types import PersistentVolume, PersistentVolumeClaim, StorageClass


class Choice(NamedTuple):
    """What becomes of a claim when its pod is bound: it takes this volume, or one is made ("")."""

    claim: Key
    volume: str


@dataclass(slots=True)
class Storage:
    """Claims, volumes and classes as they are, and what was chosen and is not written yet."""

    claims: dict[Key, PersistentVolumeClaim] = field(default_factory=dict)
    volumes: dict[str, PersistentVolume] = field(default_factory=dict)
    classes: dict[str, StorageClass] = field(default_factory=dict)
    taken: dict[str, Key] = field(default_factory=dict)
    """By name of a volume: the claim that will have it."""
    selected: dict[Key, str] = field(default_factory=dict)
    """By claim: the node on which a volume will be made for it."""
    users: Counter[Key] = field(default_factory=Counter)
    """By claim: how many pods on nodes use it."""

    limits: dict[str, dict[str, int]] = field(default_factory=dict)
    """By node and driver: how many volumes may be attached."""

    def class_of(self, claim: PersistentVolumeClaim) -> StorageClass | None:
        return self.classes.get(volumes.class_of(claim))

    def reserve(self, choices: Iterable[Choice], node: str) -> None:
        for claim, volume in choices:
            if volume:
                self.taken[volume] = claim
            else:
                self.selected[claim] = node

    def release(self, choices: Iterable[Choice]) -> None:
        """It is written now, or will never be."""
        for claim, volume in choices:
            self.taken.pop(volume, None)
            self.selected.pop(claim, None)
