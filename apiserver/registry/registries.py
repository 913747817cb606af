"""The verbs that both doors call, each from the request to its answer.

authorize ▸ decode and default ▸ mutating admission ▸ validate ▸ validating admission ▸ transaction
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

import msgspec

from api import errors, kinds, meta
from api.errors import ApiError, BadRequest, MethodNotAllowed, NotFound
from api.kinds import Kind
from api.paths import Path, invalid, refusal
from api.types import CustomResourceDefinition, ManagedFieldsEntry, Pod
from apiserver import rules
from apiserver.admission import Admission
from apiserver.authentication import Authenticator
from apiserver.authorization import Authorizer
from apiserver.catalogue import Catalogue
from apiserver.customs.viewing import Views
from apiserver.patching import scale_managers
from apiserver.registry import patches, pods, policies, reviews, scales, versions
from apiserver.registry.components import STATUSES, Components
from apiserver.registry.deleting import Deleting, success
from apiserver.registry.evictions import Evictions
from apiserver.registry.objects import Current, Objects
from apiserver.registry.patches import Tree
from apiserver.registry.reading import Batches, Reading
from apiserver.registry.tokens import Tokens
from apiserver.registry.writing import Writing, check_place, check_uid
from apiserver.requests import DeleteOptions, Item, Listing, ListOptions, Request, WatchOptions
from apiserver.rules import conversions, decoding, strictness
from apiserver.rules.decoding import UnfitDocument
from apiserver.storage.transactions import Store
from apiserver.storage.worlds import World
from machinery.clocks import Clock

PODS = kinds.of(Pod)
CRDS = kinds.of(CustomResourceDefinition)
AT_ONCE = 16
UPDATABLE = frozenset({"", "approval", "ephemeralcontainers", "finalize", "resize", "scale", "status"})
"""Subresources that are read, replaced and patched as (a part of) the object."""
UNMET = "uid mismatch: the provided object specified uid {uid}, and no existing object was found"


class Unstored(Protocol):
    """Answers for a kind whose objects are made when somebody asks for them."""

    async def get(self, request: Request) -> bytes: ...

    async def list(self, request: Request, options: ListOptions) -> Listing: ...


class Registry:
    """Safe for any number of concurrent callers. Every method raises errors of api.errors."""

    def __init__(
        self,
        world: World,
        store: Store,
        authorizer: Authorizer,
        admission: Callable[[Objects], Admission],
        clock: Clock,
        identity: Authenticator | None = None,
        catalogue: Catalogue | None = None,
        settled: Callable[[], Awaitable[None]] | None = None,
        views: Views | None = None,
        unstored: Mapping[Kind, Unstored] | None = None,
    ) -> None:
        """`settled` returns when the catalogue shows all kinds whose definitions are stored by now."""
        self.catalogue = catalogue or Catalogue()
        self._settled = settled
        self._views = views or Views()
        self.objects = Objects(world, store, self._views, clock)
        self._tokens = Tokens(identity, self.objects, clock)
        self._admission = admitted = admission(self.objects)
        self._authorizer = authorizer
        self._reading = Reading(world)
        self._unstored: dict[Kind, Unstored] = {STATUSES: Components(world, self.objects, clock), **(unstored or {})}
        self._writing = Writing(self.objects, admitted, clock)
        self._deleting = Deleting(self.objects, admitted, clock)
        self._evictions = Evictions(self.objects, self._writing, self._deleting, admitted)

    async def find(self, group: str, version: str, plural: str) -> Kind | None:
        """The kind that is served under these names; None if there is none."""
        kind = self.catalogue.by_resource(group, version, plural)
        if kind is None and self._settled is not None:
            await self._settled()
            kind = self.catalogue.by_resource(group, version, plural)
        return kind

    # --- reading

    async def get(self, request: Request, resource_version: str = "") -> bytes:
        self._check(request)
        kind = request.kind
        if request.subresource not in UPDATABLE:
            raise self._not_allowed(request)
        if (unstored := self._unstored.get(kind)) is not None:
            return await unstored.get(request)
        item = await self._reading.item(
            conversions.stored_kind(kind), request.namespace, request.name, resource_version
        )
        document = await self._views.document(kind, item.document) if kind.custom else item.document
        if request.subresource == "scale":
            return scales.document(kind, document)
        return conversions.document(kind, document)

    async def list(self, request: Request, options: ListOptions) -> Listing:
        request.field_selector, request.label_selector = options.field_selector, options.label_selector
        self._check(request)
        if (unstored := self._unstored.get(request.kind)) is not None:
            return await unstored.list(request, options)
        return await versions.list(self._reading, self._views, request, options)

    async def watch(self, request: Request, options: WatchOptions) -> Batches:
        """Batches of events, none empty, until the time is up (then it just stops) or after an ERROR event.

        What can be refused is refused by the call itself, before there is a stream.
        """
        request.field_selector, request.label_selector = options.field_selector, options.label_selector
        self._check(request)
        return await versions.watch(self._reading, self._views, request, options)

    # --- writing

    async def create(self, request: Request, body: bytes) -> bytes:
        self._check(request)
        if request.kind.verbs == kinds.CREATE_ONLY or request.subresource:
            return await self._create_unstored(request, body)
        if request.kind.custom and request.kind.shape.definition.terminating:
            raise MethodNotAllowed("create not allowed while custom resource definition is terminating")
        document = await self._writing.create(versions.stored(request), self._decoder(request, body))
        await self._take_up(request)
        return conversions.document(request.kind, document)

    async def _create_unstored(self, request: Request, body: bytes) -> bytes:
        """What is only answered, or is a part of another object."""
        if request.kind.name in reviews.KINDS and not request.subresource:
            review = self._decoder(request, body)()
            await self._admission.pass_(request, review, None)
            return reviews.answer(request, review, self._authorizer, self._writing.now())
        if request.kind.name == "TokenReview":
            return await self._tokens.review(body, partial(self._admission.pass_, request))
        if not request.subresource and request.kind.name != "Binding":
            raise self._not_allowed(request)  # nothing of these kinds is ever stored
        return await self._create_subresource(request, body)

    async def update(self, request: Request, body: bytes) -> tuple[bytes, bool]:
        self._check(request)
        if request.subresource == "scale":
            scale = scales.read(body)
            check_place(request, scale)
            document, _ = await self._writing.update(
                request, lambda current: scales.scaled(request.kind, current, scale)
            )
            return scales.document(request.kind, document), False
        if request.subresource not in UPDATABLE:
            raise self._not_allowed(request)
        decode = self._decoder(request, body)
        first = [decode()]
        check_place(request, first[0])
        stored = versions.stored(request)

        def make(_: Current | None) -> Any:
            obj = first.pop() if first else decode()
            check_place(request, obj)
            return obj

        async def create() -> bytes:
            self._authorizer.authorize(request.at(verb="create"))

            def first() -> Any:
                obj = make(None)
                check_uid(request, obj.metadata.uid, "")
                obj.metadata.resourceVersion = ""
                return obj

            return await self._writing.create(stored, first)

        creates = not request.subresource and policies.resource(stored.kind) in policies.CREATED_BY_UPDATE
        document, created = await self._writing.update(stored, make, on_missing=create if creates else None)
        await self._take_up(request)
        return conversions.document(request.kind, document), created

    async def patch(self, request: Request, body: bytes, patch_type: str) -> tuple[bytes, bool]:
        self._check(request)
        if request.subresource not in UPDATABLE:
            raise self._not_allowed(request)
        if patch_type == "strategic" and request.kind.custom:
            raise patches.unsupported("strategic")
        if patch_type == "apply":
            return await self._apply(request, body)
        if request.field_validation != "Ignore":
            request = request.at(repeated=strictness.of_patch(body, patch_type))
        if request.subresource == "scale":
            change = patches.patch_of(request.kind, body, patch_type, "Scale")
            document, _ = await self._writing.update(request, lambda current: self._rescaled(request, current, change))
            return scales.document(request.kind, document), False
        change = patches.patch_of(request.kind, body, patch_type)
        document, created = await self._writing.update(
            versions.stored(request),
            lambda current: self._changed(
                request, change(conversions.to_served(request.kind, current.tree())), body, patch_type
            ),
        )
        await self._take_up(request)
        return conversions.document(request.kind, document), created

    async def delete(self, request: Request, options: DeleteOptions) -> tuple[bytes, bool]:
        self._check(request)
        document, done = await self._deleting.delete(versions.stored(request), options)
        return conversions.document(request.kind, document), done

    async def delete_collection(self, request: Request, listing: ListOptions, options: DeleteOptions) -> Listing:
        """What was there, and is now gone or on its way."""
        request.field_selector, request.label_selector = listing.field_selector, listing.label_selector
        self._check(request)
        found = await versions.list(self._reading, self._views, request, listing)
        room = asyncio.Semaphore(AT_ONCE)

        async def delete(item: Item) -> None:
            async with room:
                one = request.at(verb="delete", namespace=item.namespace, name=item.name)
                with suppress(NotFound):
                    await self._deleting.delete(versions.stored(one), options)

        try:
            async with asyncio.TaskGroup() as group:
                for item in found.items:
                    group.create_task(delete(item))
        except* ApiError as e:
            raise _first(e) from e
        return found

    async def connect(self, request: Request, options: Any) -> None:
        """Whether admission lets somebody connect to a pod, a service or a node; it may change the options."""
        await self._admission.pass_(request.at(verb="connect"), options, None)

    # --- parts of verbs

    def _check(self, request: Request) -> None:
        self._authorizer.authorize(request)
        kind = request.kind
        if request.verb not in kind.verbs or (request.subresource and request.subresource not in kind.subresources):
            raise self._not_allowed(request)
        if kind.namespaced and not request.namespace and request.verb not in ("list", "watch", "deletecollection"):
            raise BadRequest("an empty namespace may not be set during creation")
        if request.verb != "create":
            self.objects.check_readable(kind, request.namespace, request.name)

    async def _take_up(self, request: Request) -> None:
        """A definition is served as it was written before its writer hears of it, and goes on with what it defines."""
        if request.kind is CRDS and self._settled is not None:
            with suppress(ApiError):  # it is written, whatever becomes of etcd now
                await self._settled()

    def _not_allowed(self, request: Request) -> MethodNotAllowed:
        return MethodNotAllowed("the server does not allow this method on the requested resource")

    def _decoder(self, request: Request, body: bytes) -> Callable[[], Any]:
        """Decodes and defaults; a new object at each call, its warnings only once."""

        def decode() -> Any:
            obj, warnings = rules.decode(
                request.kind, body, validation=request.field_validation, repeated=request.repeated
            )
            request.warn(warnings)
            rules.default(request.kind, obj)
            return versions.converted(request, obj)

        return decode

    def _changed(self, request: Request, tree: Tree, body: bytes, patch_type: str) -> Any:
        """As `_patched`, but a document that cannot be read is the fault of the patch in `body`.  Raises Invalid."""
        try:
            return self._patched(request, tree)
        except UnfitDocument as e:
            wrong, why = meta.encode(tree).decode(), e.why
            if patch_type == "strategic":
                wrong, why = patches.shown(body), decoding.unrestorable(request.kind, tree) or why
            raise refusal("", "", "", [invalid(Path("patch"), wrong, why)]) from e

    def _patched(self, request: Request, tree: Tree) -> Any:
        obj = self._decoder(request, meta.encode(tree))()
        check_place(request, obj)
        return obj

    def _rescaled(self, request: Request, current: Current, change: patches.Patch) -> Any:
        before = meta.encode(scales.scale_of(request.kind, current.obj, current.revision))
        after = meta.encode(change(meta.decode(before, dict)))
        return scales.scaled(request.kind, current, scales.read(after))

    def _scale_applied(self, request: Request, current: Current, wanted: Tree, now: str) -> Any:
        live = meta.decode(meta.encode(scales.scale_of(request.kind, current.obj, current.revision)), dict)
        path, before = scales.path_of(request.kind), current.tree()["metadata"].get("managedFields") or []
        live["metadata"]["managedFields"] = scale_managers.of_scale(before, path)
        after = patches.applied(request, live, wanted, now, "Scale")
        entries = after["metadata"].pop("managedFields", [])
        new = scales.scaled(request.kind, current, scales.read(meta.encode(after)))
        listed = scale_managers.of_object(before, entries, path, request.kind.api_version)
        new.metadata.managedFields = msgspec.convert(listed, list[ManagedFieldsEntry])
        return new

    async def _apply(self, request: Request, body: bytes) -> tuple[bytes, bool]:
        wanted = patches.configuration(body)
        if request.repeated and request.field_validation == "Strict":
            raise patches.repeated(request.repeated)
        now = self._writing.now()

        def make(current: Current | None) -> Any:
            if request.subresource == "scale" and current is not None:
                return self._scale_applied(request, current, wanted, now)
            live = conversions.to_served(request.kind, current.tree()) if current is not None else None
            return self._patched(request, patches.applied(request, live, wanted, now))

        def first() -> Any:
            obj = make(None)
            if uid := obj.metadata.uid:
                raise errors.conflict(request.kind.group_resource, request.name, UNMET.format(uid=uid))
            return obj

        async def create() -> bytes:
            if request.subresource:
                raise NotFound(f'{request.kind.group_resource} "{request.name}" not found')
            self._authorizer.authorize(request.at(verb="create"))
            return await self._writing.create(stored, first, tracked=True)

        scale, stored = request.subresource == "scale", versions.stored(request)
        document, created = await self._writing.update(stored, make, tracked=True, on_missing=create)
        if scale:
            return scales.document(request.kind, document), created
        await self._take_up(request)
        return conversions.document(request.kind, document), created

    async def _create_subresource(self, request: Request, body: bytes) -> bytes:
        if request.subresource == "eviction":
            await self._evictions.evict(request, pods.read_eviction(body, request.name))
            return success(code=201)
        if request.subresource == "token":
            return await self._tokens.issue(request, body, partial(self._admission.pass_, request))
        if request.subresource != "binding" and request.kind.name != "Binding":
            raise self._not_allowed(request)
        binding = pods.read_binding(body, request.name)
        about = request.at(kind=PODS, name=request.name or binding.metadata.name, subresource="binding", verb="create")
        await self._admission.pass_(request, binding, None)
        now = self._writing.now()
        # As upstream, nobody owns a pod's node: it was not set by a write to the pod.
        await self._writing.update(about, lambda current: pods.bound(current, binding, now), ruled=False, tracked=True)
        return success(code=201)


def _first(group: BaseExceptionGroup[ApiError]) -> ApiError:
    for e in group.exceptions:
        return _first(e) if isinstance(e, BaseExceptionGroup) else e
    raise AssertionError("a group is never empty")
