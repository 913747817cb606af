"""Adoption and release: which objects a controller has, by its selector and their controller reference.

https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#non-template-pod-acquisitions . The rules:
- an object that another controller has is left alone;
- an own object that the selector does not match any more is released;
- an orphan that the selector matches is adopted, but only after a fresh look at the controller itself: an informer may
  still show one that was deleted, or deleted and made anew under its name.
"""

from collections.abc import Iterable
from typing import Any, TypeVar

from api import errors, meta
from api.labels import Selector
from controller_manager.gathering import all_of
from machinery.client import Client

T = TypeVar("T")


async def claim(client: Client, owner: Any, selector: Selector, objects: Iterable[T]) -> list[T]:
    """The objects (of one kind) that are the owner's, once adoptions and releases are done.

    Raises Conflict if the owner is being deleted or is not the one it was, or the ApiError of a failed write.
    """
    mine, adopt, release = sort_out(owner, selector, objects)
    if adopt:
        await _check_owner(client, owner)
    patched = await all_of([*(_adopt(client, owner, o) for o in adopt), *(_release(client, owner, o) for o in release)])
    return mine + [o for o in patched[: len(adopt)] if o is not None]


def sort_out(owner: Any, selector: Selector, objects: Iterable[T]) -> tuple[list[T], list[T], list[T]]:
    """Those that are the owner's, those to adopt and those to release. Pure."""
    mine: list[T] = []
    adopt: list[T] = []
    release: list[T] = []
    going = bool(owner.metadata.deletionTimestamp)
    for o in objects:
        metadata: Any = o.metadata  # type: ignore[attr-defined]
        reference = meta.controller_of(o)
        matches = selector.matches(metadata.labels)
        if reference is not None:
            if reference.uid == owner.metadata.uid:
                if matches:
                    mine.append(o)
                elif not going:
                    release.append(o)
        elif matches and not going and not metadata.deletionTimestamp:
            adopt.append(o)
    return mine, adopt, release


async def _check_owner(client: Client, owner: Any) -> None:
    what, metadata = type(owner), owner.metadata
    try:
        fresh = await client.get(what, metadata.name, metadata.namespace)
    except errors.NotFound:
        raise errors.Conflict(f"{metadata.namespace}/{metadata.name} is gone") from None
    if fresh.metadata.uid != metadata.uid:
        raise errors.Conflict(f"{metadata.namespace}/{metadata.name} is not the one that it was")
    if fresh.metadata.deletionTimestamp:
        raise errors.Conflict(f"{metadata.namespace}/{metadata.name} has just been deleted")


async def _adopt(client: Client, owner: Any, obj: Any) -> Any | None:
    """The adopted object; None if it is gone meanwhile."""
    reference = meta.controller_reference(owner)
    patch = {"metadata": {"uid": obj.metadata.uid, "ownerReferences": [reference]}}
    return await _patch(client, obj, patch)


async def _release(client: Client, owner: Any, obj: Any) -> Any | None:
    reference = {"$patch": "delete", "uid": owner.metadata.uid}
    return await _patch(client, obj, {"metadata": {"uid": obj.metadata.uid, "ownerReferences": [reference]}})


async def _patch(client: Client, obj: Any, patch: dict[str, Any]) -> Any | None:
    try:
        return await client.patch(type(obj), obj.metadata.name, obj.metadata.namespace, patch, kind="strategic")
    except errors.NotFound:
        return None
