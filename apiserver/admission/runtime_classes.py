"""RuntimeClass: what a class of container runtimes costs beside the containers, and where it can be found.

https://kubernetes.io/docs/concepts/containers/runtime-class/
"""

from typing import Any

from api import errors, kinds, quantities
from api.types import Pod, RuntimeClass, Scheduling, Toleration
from apiserver.admission.reading import Reader, find
from apiserver.requests import Request

PODS, CLASSES = kinds.of(Pod), kinds.of(RuntimeClass)
MISMATCH = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
UNFOUNDED = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"


class RuntimeClasses:
    """Gives pods the overhead and the scheduling of their class; afterwards the overhead must still be that."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def admit(self, request: Request, obj: Any, old: Any) -> None:
        if not _concerns(request, obj, old):
            return
        found = await self._class_of(obj)
        if found is None:
            return
        if found.overhead is not None:
            if obj.spec.overhead and not _same(obj.spec.overhead, found.overhead.podFixed):
                raise _refusal(obj, MISMATCH)
            obj.spec.overhead = dict(found.overhead.podFixed)
        if found.scheduling is not None:
            _schedule(obj, found.scheduling)

    async def judge(self, request: Request, obj: Any, old: Any) -> None:
        if not _concerns(request, obj, old):
            return
        found = await self._class_of(obj)
        if found is None or found.overhead is None:
            if obj.spec.overhead:
                raise _refusal(obj, UNFOUNDED)
        elif not _same(obj.spec.overhead, found.overhead.podFixed):
            raise _refusal(obj, MISMATCH)

    async def _class_of(self, pod: Pod) -> RuntimeClass | None:
        name = pod.spec.runtimeClassName
        if not name:
            return None
        found: RuntimeClass | None = await find(self._reader, CLASSES, "", name)
        if found is None:
            raise _refusal(pod, f'pod rejected: RuntimeClass "{name}" not found')
        return found


def _concerns(request: Request, obj: Any, old: Any) -> bool:
    return request.kind is PODS and not request.subresource and obj is not None and old is None


def _schedule(pod: Pod, scheduling: Scheduling) -> None:
    selector = pod.spec.nodeSelector
    for key, value in scheduling.nodeSelector.items():
        if selector.get(key, value) != value:
            raise _refusal(
                pod, f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; "
                f"pod.spec.nodeSelector[{key}] = {selector[key]}",
            )  # fmt: skip
    pod.spec.nodeSelector = selector | scheduling.nodeSelector
    pod.spec.tolerations = merged(pod.spec.tolerations, scheduling.tolerations)


def merged(first: list[Toleration], second: list[Toleration]) -> list[Toleration]:
    """All of both but those that another one includes."""
    every, kept = [*first, *second], list[Toleration]()
    for i, each in enumerate(every):
        later = any(_includes(other, each) and other != each for other in every[i + 1 :])
        if not later and not any(_includes(other, each) for other in kept):
            kept.append(each)
    return kept


def _includes(wide: Toleration, narrow: Toleration) -> bool:
    """Whether whatever `narrow` tolerates, `wide` tolerates too, for as long."""
    if wide == narrow:
        return True
    if wide.key != narrow.key and (wide.key or wide.operator != "Exists"):
        return False
    if wide.effect not in (narrow.effect, ""):
        return False
    if wide.effect == "NoExecute" and wide.tolerationSeconds is not None:  # None is for ever
        seconds = narrow.tolerationSeconds
        if seconds is None or wide.tolerationSeconds < seconds:
            return False
    if wide.operator == "Exists":
        return True
    return (wide.operator or "Equal") == (narrow.operator or "Equal") and wide.value == narrow.value


def _same(a: dict[str, str], b: dict[str, str]) -> bool:
    return a.keys() == b.keys() and all(quantities.parse(a[name]) == quantities.parse(b[name]) for name in a)


def _refusal(pod: Pod, why: str) -> errors.Forbidden:
    return errors.forbidden("pods", pod.metadata.name, why)
