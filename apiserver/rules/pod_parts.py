"""What each subresource of a pod may change of it: everything else of what a client sends there is put back.

Whoever may write to one of them may do that and nothing more: permission for `pods/resize` is none for images.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from api.types import Container, Pod


def keep_to(new: Pod, old: Pod, subresource: str) -> None:
    """Put back into `new`, in place, what a write to `subresource` leaves alone, and its status too if that is none."""
    if subresource == "status":
        _complete_status(new, old)
    elif subresource == "ephemeralcontainers":
        _restore_head(new, old)
        new.spec = replace(old.spec, ephemeralContainers=new.spec.ephemeralContainers)
    elif subresource == "resize":
        _keep_to_resources(new, old)


def _restore_head(new: Pod, old: Pod) -> None:
    for name in ("labels", "annotations", "finalizers", "ownerReferences"):
        setattr(new.metadata, name, getattr(old.metadata, name))


def _keep_to_resources(new: Pod, old: Pod) -> None:
    """Containers that come, go, move or are renamed stay as they were sent: validation says what is wrong with that."""
    lists = ("containers", "initContainers")
    if any(len(getattr(new.spec, name)) != len(getattr(old.spec, name)) for name in lists):
        return
    _restore_head(new, old)
    containers, initial = (_resized(getattr(new.spec, name), getattr(old.spec, name)) for name in lists)
    new.spec = replace(old.spec, containers=containers, initContainers=initial, resources=new.spec.resources)


def _resized(new: list[Container], old: Sequence[Container]) -> list[Container]:
    if [c.name for c in new] != [c.name for c in old]:
        return new
    return [
        replace(was, resources=now.resources, resizePolicy=now.resizePolicy)
        for now, was in zip(new, old, strict=True)
    ]  # fmt: skip


def _complete_status(new: Pod, old: Pod) -> None:
    """What a kubelet or a client from before these fields leaves out is not taken back by that."""
    new.metadata.ownerReferences = old.metadata.ownerReferences
    status, before = new.status, old.status
    status.qosClass = status.qosClass or before.qosClass
    status.observedGeneration = status.observedGeneration or before.observedGeneration
    generations: dict[str, list[int | None]] = {}
    for condition in before.conditions:
        generations.setdefault(condition.type, []).append(condition.observedGeneration)
    for condition in status.conditions:
        known = generations.get(condition.type)
        generation = known.pop(0) if known else None
        condition.observedGeneration = condition.observedGeneration or generation
