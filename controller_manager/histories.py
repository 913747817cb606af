"""ControllerRevisions: the templates that a stateful set or daemon set has had.

https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#revision-history . A revision's data is the patch
that makes the template the present one again, which is what `kubectl rollout undo` sends. Data never changes; going
back to an old template gives its revision the highest number.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from api import errors, meta, times
from api.labels import Selector
from api.types import ControllerRevision, ObjectMeta, PodTemplateSpec
from controller_manager.claims import claim
from controller_manager.contexts import Context
from controller_manager.informing import Written
from controller_manager.revisions import short_hash
from machinery.informers import Informer

LONGEST_PREFIX = 223
"""Characters of the owner's name in a revision's."""
NOT_COPIED = "kubectl.kubernetes.io/last-applied-configuration"


def data_of(template: PodTemplateSpec) -> dict[str, Any]:
    """The patch that makes `template` the present one; its keys in order, as `kubectl` compares bytes."""
    patch = {"spec": {"template": msgspec.to_builtins(template) | {"$patch": "replace"}}}
    sorted_patch: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(patch, order="sorted"))
    return sorted_patch


def template_in(revision: ControllerRevision) -> PodTemplateSpec:
    """The template that a revision stands for."""
    document = {k: v for k, v in revision.data["spec"]["template"].items() if k != "$patch"}
    return msgspec.convert(document, PodTemplateSpec)


def in_order(revisions: Iterable[ControllerRevision]) -> list[ControllerRevision]:
    return sorted(revisions, key=lambda r: (number(r), _created(r), r.metadata.name))


def number(revision: ControllerRevision) -> int:
    return revision.revision or 0


def _created(revision: ControllerRevision) -> float:
    at = revision.metadata.creationTimestamp
    return times.parse(at) if at else 0.0


def new_revision(owner: Any, data: dict[str, Any], to: int, collisions: int, hash_label: str) -> ControllerRevision:
    hashed = short_hash(msgspec.json.encode(data), collisions)
    metadata = owner.metadata
    return ControllerRevision(
        metadata=ObjectMeta(
            name=f"{metadata.name[:LONGEST_PREFIX]}-{hashed}", namespace=metadata.namespace,
            labels=owner.spec.template.metadata.labels | {hash_label: hashed},
            annotations={k: v for k, v in metadata.annotations.items() if k != NOT_COPIED},
            ownerReferences=[meta.controller_reference(owner)],
        ),
        data=data, revision=to,
    )  # fmt: skip


class Histories:
    """The revisions of all owners of one kind."""

    def __init__(self, context: Context, hash_label: str) -> None:
        self._client = context.client
        self._hash_label = hash_label
        self.informer: Informer[ControllerRevision] = context.informers(
            ControllerRevision, indexes=("controller", "orphan")
        )
        self._written = Written(self.informer)

    async def of(self, owner: Any, selector: Selector) -> list[ControllerRevision]:
        """The owner's revisions, oldest first, once orphans that match are adopted.  Raises as `claim` does."""
        owned = self.informer.by_index("controller", owner.metadata.uid)
        orphans = self.informer.by_index("orphan", owner.metadata.namespace)
        claimed = await claim(self._client, owner, selector, [*owned, *orphans])
        return in_order(map(self._written.newest, claimed))

    async def present(self, owner: Any, revisions: Sequence[ControllerRevision]) -> tuple[ControllerRevision, int]:
        """The revision of the owner's template, made or made the newest if need be, and the collision count."""
        data, collisions = data_of(owner.spec.template), owner.status.collisionCount or 0
        same = [r for r in revisions if r.data == data]
        if not same:
            return await self._create(owner, data, _next(revisions), collisions)
        newest = same[-1]
        if newest is revisions[-1]:
            return newest, collisions
        patch = {"metadata": {"resourceVersion": newest.metadata.resourceVersion}, "revision": _next(revisions)}
        name, namespace = newest.metadata.name, newest.metadata.namespace
        raised = await self._client.patch(ControllerRevision, name, namespace, patch)
        return self._written.note(raised), collisions

    async def find(self, owner: Any, name: str, revisions: Iterable[ControllerRevision]) -> ControllerRevision | None:
        """The owner's revision of that name ("": none), also one that the informer does not show yet."""
        if not name:
            return None
        for revision in revisions:
            if revision.metadata.name == name:
                return revision
        try:
            found = await self._client.get(ControllerRevision, name, owner.metadata.namespace)
        except errors.NotFound:
            return None
        return found if meta.is_controlled_by(found, owner) else None

    async def delete(self, revisions: Iterable[ControllerRevision]) -> None:
        for revision in revisions:
            m = revision.metadata
            with suppress(errors.NotFound):
                await self._client.delete(ControllerRevision, m.name, m.namespace, uid=m.uid)

    async def _create(
        self, owner: Any, data: dict[str, Any], to: int, collisions: int
    ) -> tuple[ControllerRevision, int]:
        while True:
            wanted = new_revision(owner, data, to, collisions, self._hash_label)
            try:
                return await self._client.create(wanted), collisions
            except errors.AlreadyExists:
                # Ours, but not in the informer yet, or another template's that hashes alike, or a namesake's.
                there = await self._client.get(ControllerRevision, wanted.metadata.name, wanted.metadata.namespace)
                if there.data == data and meta.is_controlled_by(there, owner):
                    return there, collisions
                collisions += 1


def _next(revisions: Sequence[ControllerRevision]) -> int:
    return max(map(number, revisions), default=0) + 1


def superfluous(
    unused: Sequence[ControllerRevision], limit: int | None, others: int = 0
) -> Sequence[ControllerRevision]:
    """Which of the unused revisions (oldest first) go, when `others` count towards the limit as well."""
    surplus = len(unused) + others - (10 if limit is None else limit)
    return unused[: max(0, surplus)]
