"""Taints and tolerations. https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/"""

import re
from collections.abc import Iterable
from typing import Protocol

from api.types import DeviceTaint, DeviceToleration, Toleration


class Held(Protocol):
    """A taint, in whatever form somebody keeps it."""

    @property
    def key(self) -> str: ...
    @property
    def value(self) -> str: ...
    @property
    def effect(self) -> str: ...


def tolerates(tolerations: Iterable[Toleration], taint: Held) -> bool:
    return any(_tolerates(t, taint) for t in tolerations)


def _tolerates(toleration: Toleration, taint: Held) -> bool:
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    match toleration.operator or "Equal":
        case "Exists":
            return True
        case "Equal":
            return bool(toleration.key) and toleration.value == taint.value
        case "Lt" | "Gt" as operator:
            if not (_is_number(toleration.value) and _is_number(taint.value)):
                return False
            ours, theirs = int(toleration.value), int(taint.value)
            return theirs < ours if operator == "Lt" else theirs > ours
    return False


def tolerates_device(toleration: DeviceToleration, taint: DeviceTaint) -> bool:
    """Unlike a pod's, it needs no key to be equal.
    https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/#device-taints-and-tolerations
    """
    if toleration.effect not in ("", taint.effect) or toleration.key not in ("", taint.key):
        return False
    return toleration.operator == "Exists" or (toleration.operator in ("", "Equal") and toleration.value == taint.value)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?(0|[1-9][0-9]*)", text) is not None
