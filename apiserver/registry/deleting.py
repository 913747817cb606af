"""Delete: at once, after a grace period, or when the last finalizer has gone.

https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination
https://kubernetes.io/docs/concepts/overview/working-with-objects/finalizers/
"""

from typing import Any

import msgspec

from api import errors, kinds, meta, times
from api.errors import ApiError, Timeout, Unavailable
from api.kinds import Kind
from api.types import CustomResourceDefinition, Namespace, Pod
from apiserver.admission import Admission
from apiserver.customs import definitions
from apiserver.registry import policies
from apiserver.registry.objects import Current, Objects
from apiserver.requests import DeleteOptions, Request
from apiserver.storage import documents
from apiserver.storage.transactions import Changed
from machinery.clocks import Clock

PODS = kinds.of(Pod)
NAMESPACES = kinds.of(Namespace)
DEFINITIONS = kinds.of(CustomResourceDefinition)
ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"
DEFAULT_GRACE = 30


class Deleting:
    def __init__(self, objects: Objects, admission: Admission, clock: Clock) -> None:
        self._objects = objects
        self._admission = admission
        self._clock = clock

    async def delete(self, request: Request, options: DeleteOptions, *, ruled: bool = True) -> tuple[bytes, bool]:
        """(what is answered, whether the object is gone). Not `ruled`: admission has been asked in another form.

        Raises NotFound, Conflict, or what admission refuses.
        """
        kind = request.kind
        current = await self._objects.current(kind, request.namespace, request.name)
        about = request.at(dry_run=request.dry_run or options.dry_run, options=options.shown())
        admitted = not ruled
        while True:
            try:
                self._check(kind, current, options)
                if not admitted:
                    await self._admission.pass_(about, None, current.obj)
                    admitted = True
                return await self._step(request, current, options)
            except (Timeout, Unavailable):
                raise  # it may have been done, and would then be refused, or done twice
            except ApiError:
                if current.proven:
                    raise
                # What was refused on the strength of the cache may be right now.
                latest = await self._objects.current(kind, request.namespace, request.name, proven=True)
                if latest.revision == current.revision:
                    raise
                current = latest
            except Changed as e:
                if e.current is None:
                    raise errors.not_found(kind.group_resource, request.name) from e
                current = await self._objects.read(kind, e.current)

    def _check(self, kind: Kind, current: Current, options: DeleteOptions) -> None:
        uid = current.obj.metadata.uid
        if options.uid and options.uid != uid:
            why = f"Precondition failed: UID in precondition: {options.uid}, UID in object meta: {uid}"
            raise errors.conflict(kind.group_resource, current.obj.metadata.name, why)
        if options.resource_version and options.resource_version != str(current.revision):
            why = (
                f"Precondition failed: ResourceVersion in precondition: {options.resource_version}, "
                f"ResourceVersion in object meta: {current.revision}"
            )
            raise errors.conflict(kind.group_resource, current.obj.metadata.name, why)

    async def _step(self, request: Request, current: Current, options: DeleteOptions) -> tuple[bytes, bool]:
        kind, dry = request.kind, request.dry_run or options.dry_run
        obj = meta.clone(current.obj)
        metadata = obj.metadata
        metadata.finalizers = _finalizers(kind, metadata.finalizers, options.propagation)
        if kind is DEFINITIONS and not metadata.deletionTimestamp:
            metadata.finalizers = definitions.guarded(metadata.finalizers)
        grace = _grace(kind, obj, options.grace_seconds)
        held = bool(metadata.finalizers) or (kind is NAMESPACES and bool(obj.spec.finalizers))
        if not grace and not held:
            if not dry:
                revision = await self._objects.delete(kind, current)
                return _gone(kind, current, revision), True
            return _gone(kind, current, current.revision), True
        self._mark(kind, obj, grace)
        if kind is DEFINITIONS:
            definitions.condemn(obj, times.format(self._clock.now()))
        if obj == current.obj:
            await self._objects.prove(kind, current)
            return current.served(), False
        if dry:
            metadata.resourceVersion = str(current.revision)
            return meta.encode(obj), False
        return await self._objects.update(kind, current, obj), False

    def _mark(self, kind: Kind, obj: Any, grace: int) -> None:
        """Say when the object will go. A second delete can only bring that moment nearer."""
        metadata = obj.metadata
        before = metadata.deletionGracePeriodSeconds
        if metadata.deletionTimestamp and (before is None or grace >= before):
            return
        start = self._clock.now()
        if metadata.deletionTimestamp:
            start = times.parse(metadata.deletionTimestamp) - (before or 0)
        elif metadata.generation:
            metadata.generation += 1
        metadata.deletionTimestamp = times.format(start + grace)
        metadata.deletionGracePeriodSeconds = grace
        if kind is NAMESPACES:
            metadata.deletionGracePeriodSeconds = None
            obj.status.phase = "Terminating"


def _grace(kind: Kind, obj: Any, asked: int | None) -> int:
    """Seconds until the object may go. Only pods have any: the kubelet needs them to stop the containers."""
    if kind is not PODS:
        return 0
    if not obj.spec.nodeName or obj.status.phase in ("Succeeded", "Failed"):
        return 0
    if asked is None:
        stated = obj.spec.terminationGracePeriodSeconds
        asked = DEFAULT_GRACE if stated is None else stated
    return asked if asked >= 0 else 1


def _finalizers(kind: Kind, present: list[str], propagation: str) -> list[str]:
    """The finalizers with those that the propagation policy asks of the garbage collector."""
    others = [f for f in present if f not in (ORPHAN, FOREGROUND)]
    if policies.resource(kind) in policies.WITHOUT_DEPENDENTS:
        return others
    if not propagation:
        if ORPHAN in present or FOREGROUND in present or policies.resource(kind) not in policies.ORPHANS_BY_DEFAULT:
            return present
        propagation = "Orphan"
    return others + {"Orphan": [ORPHAN], "Foreground": [FOREGROUND]}.get(propagation, [])


def _gone(kind: Kind, current: Current, revision: int) -> bytes:
    if policies.resource(kind) in policies.RETURNS_DELETED:
        return documents.serve(current.stored, revision)
    metadata = current.obj.metadata
    details = {"name": metadata.name} | ({"group": kind.group} if kind.group else {})
    details |= {"kind": kind.plural, "uid": metadata.uid}
    return success(details)


def success(details: dict[str, Any] | None = None, code: int = 0) -> bytes:
    """A Status that says that it was done."""
    status: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    return msgspec.json.encode(status | ({"details": details} if details else {}) | ({"code": code} if code else {}))
