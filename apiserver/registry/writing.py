"""Create and update: from an object that somebody wants to one transaction.

    decode, default ▸ mutating admission ▸ prepare ▸ validate ▸ validating admission ▸ managed fields ▸ transaction

Managed fields are decided by what was asked for: what admission and preparing add belongs to nobody.
A write that loses against another one starts again from what the other left, unless its author said which revision it
is meant for.  A write that changes nothing is not one.
"""

import random
import uuid
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec

from api import errors, meta, times
from api.errors import AlreadyExists, ApiError, BadRequest, NotFound, Timeout, TooLarge, Unavailable
from api.kinds import Kind
from api.paths import Fault, refusal
from api.types import ManagedFieldsEntry
from apiserver import rules
from apiserver.admission import Admission
from apiserver.patching import managed_fields
from apiserver.registry import owners, policies, scales
from apiserver.registry.objects import Current, Objects, encoded
from apiserver.registry.selecting import written_revision
from apiserver.requests import Request
from apiserver.storage import documents
from apiserver.storage.transactions import Changed, ClaimTaken
from machinery.clocks import Clock

ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
GENERATED = 5
LONGEST_BASE = 63 - GENERATED
NAME_ATTEMPTS = 8
ATTEMPTS = 64
NO_VERSION = ("", "0")
"""What a resourceVersion says that means no revision in particular."""
NEEDED = Fault("FieldValueInvalid", "metadata.resourceVersion", "Invalid value: 0: must be specified for an update")
TAKEN = "the claim that {claim} makes was taken by another object meanwhile; please try again"

Tree = dict[str, Any]
Make = Callable[[Current], Any]
"""The object that shall stand in the place of the current one; a new Struct at each call."""


class Writing:
    def __init__(self, objects: Objects, admission: Admission, clock: Clock) -> None:
        self.objects = objects
        self._admission = admission
        self._clock = clock
        self._managed_fields = msgspec.json.Decoder(list[ManagedFieldsEntry])

    def now(self) -> str:
        return times.format(self._clock.now())

    # --- creating

    async def create(self, request: Request, make: Callable[[], Any], *, tracked: bool = False) -> bytes:
        """`make` gives the decoded, defaulted object, a new one at each call; `tracked` as in `update`.

        Raises AlreadyExists.
        """
        kind = request.kind
        for attempt in range(ATTEMPTS):
            obj = make()
            generated = self._identify(request, obj)
            about = request.at(name=obj.metadata.name, generated=generated)
            if request.verb != "patch":
                owners.dedup(request, obj, admitted=False)
            entries = obj.metadata.managedFields if tracked else self._track(request, None, meta.tree(obj))
            await self._admission.admit(about, obj, None)
            owners.dedup(request, obj, admitted=True)
            rules.prepare_create(kind, obj)
            if faults := rules.validate(kind, obj):
                raise refusal(kind.group, kind.name, obj.metadata.name, faults)
            request.warn(rules.warnings(kind, obj, None))
            if about.name != obj.metadata.name:
                about = about.at(name=obj.metadata.name)
            await self._admission.judge(about, obj, None)
            obj.metadata.managedFields = entries
            try:
                if request.dry_run:
                    return await self._would_create(kind, obj)
                return await _fitting(obj, tracked, partial(self.objects.create, kind, obj))
            except Changed as e:
                if not generated or attempt >= NAME_ATTEMPTS:
                    raise self._exists(kind, obj.metadata.name, e) from e
            except ClaimTaken as e:
                await self.objects.get_fresh(kind, obj.metadata.namespace, obj.metadata.name)
                if attempt >= NAME_ATTEMPTS:
                    raise errors.conflict(kind.group_resource, obj.metadata.name, TAKEN.format(claim=e.claim)) from e
        raise AssertionError("every way out of the loop returns or raises")

    def _identify(self, request: Request, obj: Any) -> bool:
        """Give the object its identity. True if its name was made up."""
        metadata = obj.metadata
        check_place(request, obj)
        if metadata.resourceVersion not in NO_VERSION:
            raise BadRequest("resourceVersion should not be set on objects to be created")
        generated = not metadata.name and bool(metadata.generateName)
        if generated:
            suffix = "".join(random.choices(ALPHABET, k=GENERATED))
            metadata.name = metadata.generateName[:LONGEST_BASE] + suffix
        metadata.uid = str(uuid.uuid4())
        metadata.creationTimestamp = self.now()
        metadata.deletionTimestamp = metadata.selfLink = ""
        metadata.deletionGracePeriodSeconds = None
        return generated

    async def _would_create(self, kind: Kind, obj: Any) -> bytes:
        try:
            await self.objects.current(kind, obj.metadata.namespace, obj.metadata.name, proven=True)
        except NotFound:
            return encoded(obj)
        raise errors.already_exists(kind.group_resource, obj.metadata.name)

    def _exists(self, kind: Kind, name: str, e: Changed) -> AlreadyExists:
        refused = errors.already_exists(kind.group_resource, name)
        if e.current is not None and meta.decode(e.current.value, meta.PartialObject).metadata.deletionTimestamp:
            refused = AlreadyExists(f"object is being deleted: {refused.message}", refused.details)
        return refused

    # --- updating

    async def update(
        self,
        request: Request,
        make: Make,
        *,
        ruled: bool = True,
        tracked: bool = False,
        on_missing: Callable[[], Awaitable[bytes]] | None = None,
    ) -> tuple[bytes, bool]:
        """(the document now, whether it was created).

        If the object that `make` returns has a resourceVersion, that is the revision it is meant for.  `tracked`: its
        managedFields are decided already.  Not `ruled`: `make` is the server's own, above admission and validation.
        Raises NotFound (unless `on_missing` creates), Conflict, Invalid.
        """
        kind, proven, why = request.kind, False, errors.STALE
        current: Current | None = None
        for _ in range(ATTEMPTS):
            try:
                current = current or await self.objects.current(kind, request.namespace, request.name, proven=proven)
            except NotFound:
                if on_missing is None:
                    raise
                try:
                    return await on_missing(), True
                except AlreadyExists:
                    proven = True
                    continue
            try:
                new = make(current)
                if written_revision(new.metadata.resourceVersion) not in (0, current.revision):
                    raise errors.conflict(kind.group_resource, request.name, errors.STALE)
                return await self._replace(request, current, new, ruled, tracked), False
            except Changed as e:
                proven = True
                current = await self.objects.read(kind, e.current) if e.current is not None else None
            except ClaimTaken as e:
                await self.objects.get_fresh(kind, request.namespace, request.name)
                current, why = None, TAKEN.format(claim=e.claim)
            except (Timeout, Unavailable):
                raise  # it may have been done, and would then be refused, or done twice
            except ApiError:
                if current.proven:
                    raise
                # What was refused on the strength of the cache may be right now.
                latest = await self.objects.current(kind, request.namespace, request.name, proven=True)
                if latest.revision == current.revision:
                    raise
                current = latest
        raise errors.conflict(kind.group_resource, request.name, why)

    async def _replace(self, request: Request, current: Current, new: Any, ruled: bool, tracked: bool) -> bytes:
        kind, old = request.kind, current.obj
        explicit = new.metadata.resourceVersion not in NO_VERSION
        self._keep_identity(request, new, old)
        wanted = None if tracked else meta.tree(new)
        if ruled:
            if not explicit and request.subresource != "scale" and policies.needs_version(kind):
                raise refusal(kind.group, kind.plural, new.metadata.name, [NEEDED])
            if request.subresource == "scale":
                new = await self._admit_scale(request, current, new)
            else:
                if request.verb != "patch":
                    owners.dedup(request, new, admitted=False)
                await self._admission.admit(request, new, old)
                owners.dedup(request, new, admitted=True)
            subresource = "" if request.subresource == "scale" else request.subresource
            rules.prepare_update(kind, new, old, subresource)
            if faults := rules.validate_update(kind, new, old, subresource):
                raise refusal(kind.group, kind.name, new.metadata.name, faults)
            if not request.subresource:
                request.warn(rules.warnings(kind, new, old))
            if request.subresource != "scale":
                await self._admission.judge(request, new, old)
        if wanted is not None:
            asked, new.metadata.managedFields = new.metadata.managedFields, old.metadata.managedFields
            same = encoded(new) == current.stored and (not asked or asked == old.metadata.managedFields)
            if same and not current.outdated and not self.objects.is_stale(kind, old):
                await self.objects.prove(kind, current)
                return current.served()
            new.metadata.managedFields = self._track(request, current, wanted, meta.tree(new))
        elif ruled and not current.outdated and managed_fields.unchanged(current.tree(), meta.tree(new)):
            await self.objects.prove(kind, current)
            return current.served()
        if request.dry_run:
            return documents.serve(encoded(new), current.revision)
        if is_finished(kind, new):
            revision = await self.objects.delete(kind, current)
            return documents.serve(encoded(new), revision)
        return await _fitting(new, tracked, partial(self.objects.update, kind, current, new))

    async def _admit_scale(self, request: Request, current: Current, new: Any) -> Any:
        """Admission sees the Scale that the client sent, not what it is a view of."""
        old, scale = (scales.scale_of(request.kind, obj, current.revision) for obj in (current.obj, new))
        sent = meta.clone(scale)
        await self._admission.pass_(request, scale, old)
        if scale == sent:
            return new
        changed = scales.scaled(request.kind, current, scale)
        changed.metadata.managedFields = new.metadata.managedFields
        return changed

    def _keep_identity(self, request: Request, new: Any, old: Any) -> None:
        """What no update can change. A client that means another object than the present one is told so."""
        ours, theirs = old.metadata, new.metadata
        if request.verb != "patch":  # whose uid is a change of a field, and refused as one
            check_uid(request, theirs.uid, ours.uid)
        theirs.uid = theirs.uid or ours.uid
        theirs.namespace = ours.namespace
        theirs.creationTimestamp = ours.creationTimestamp
        theirs.generation = ours.generation
        theirs.selfLink = ""
        if ours.deletionTimestamp:
            theirs.deletionTimestamp = ours.deletionTimestamp
            if theirs.deletionGracePeriodSeconds is None:
                theirs.deletionGracePeriodSeconds = ours.deletionGracePeriodSeconds
        else:
            theirs.deletionTimestamp, theirs.deletionGracePeriodSeconds = "", None

    def _track(
        self, request: Request, current: Current | None, wanted: Tree, outcome: Tree | None = None
    ) -> list[ManagedFieldsEntry]:
        entries = managed_fields.track(
            current.tree() if current is not None else None,
            wanted,
            outcome=outcome,
            manager=request.field_manager or "unknown",
            now=self.now(),
            api_version=request.kind.api_version,
            subresource=request.subresource,
            definition=request.kind.shape.node if request.kind.custom else "",
        )
        return msgspec.convert(entries, list[ManagedFieldsEntry])


async def _fitting(obj: Any, tracked: bool, store: Callable[[], Awaitable[bytes]]) -> bytes:
    """Stored, without managedFields where it is too large with them: as upstream, unless they were decided before."""
    try:
        return await store()
    except TooLarge:
        if tracked or not obj.metadata.managedFields:
            raise
    obj.metadata.managedFields = []
    return await store()


def check_uid(request: Request, uid: str, present: str) -> None:
    """Raises Conflict if the object of an update has another uid than the one that is there, or that is not there."""
    if uid and uid != present:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {present}"
        raise errors.conflict(request.kind.group_resource, request.name, why)


def check_place(request: Request, obj: Any) -> None:
    """The object must say what the URL says, or nothing.  Raises BadRequest in upstream's words."""
    metadata = obj.metadata
    if not request.kind.namespaced:
        if metadata.namespace:
            raise BadRequest("the namespace of the provided object does not match the namespace sent on the request")
    elif not metadata.namespace:
        metadata.namespace = request.namespace
    elif metadata.namespace != request.namespace and request.verb == "create":
        raise BadRequest("the namespace of the provided object does not match the namespace sent on the request")
    elif metadata.namespace != request.namespace:
        raise BadRequest(
            f"the namespace of the object ({metadata.namespace}) does not match the namespace on the request "
            f"({request.namespace})"
        )
    if request.name and request.verb != "create":
        if not metadata.name and request.verb == "update":
            raise BadRequest(
                f"the name of the object ({request.name} based on URL) was undeterminable: name must be provided"
            )
        if not metadata.name:
            metadata.name = request.name
        elif metadata.name != request.name:
            raise BadRequest(
                f"the name of the object ({metadata.name}) does not match the name on the URL ({request.name})"
            )


def is_finished(kind: Kind, obj: Any) -> bool:
    """Whether a deletion that something held back can happen now: nothing holds it any more."""
    metadata = obj.metadata
    if not metadata.deletionTimestamp or metadata.finalizers or metadata.deletionGracePeriodSeconds:
        return False
    return kind.plural != "namespaces" or bool(kind.group) or not obj.spec.finalizers
