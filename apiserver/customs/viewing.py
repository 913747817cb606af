"""Stored documents in the version that was asked for.

    stored ▸ prune, default by the schema they were stored under ▸ convert ▸ prune by the schema that was asked for

What comes out is remembered by the stored document itself: one revision is converted once for everybody.
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/
"""

import copy
import uuid
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import msgspec

from api import custom, errors, meta
from api.custom import CustomObject
from api.kinds import Kind
from apiserver.customs import defaulting, objects
from apiserver.customs.shapes import Definition, Shape
from apiserver.requests import Event

Tree = dict[str, Any]
REMEMBERED = 16_384
SECONDS = 30.0


class Caller(Protocol):
    """What calls conversion webhooks: apiserver.webhooks.Caller."""

    async def call(self, client_config: Any, body: Tree, timeout: float) -> Tree: ...


class Views:
    """`caller` None: definitions with a webhook cannot be read in another version than the stored one."""

    def __init__(self, caller: Caller | None = None) -> None:
        self._caller = caller
        self._known: dict[tuple[int, str], tuple[bytes, Shape, bytes]] = {}
        self._events: dict[tuple[int, str], tuple[Event, Shape, Event]] = {}

    # --- reading

    async def document(self, kind: Kind, document: bytes) -> bytes:
        """A served document of a custom kind, in that kind's version."""
        return (await self.documents(kind, [document]))[0]

    async def documents(self, kind: Kind, documents: Sequence[bytes]) -> list[bytes]:
        found: list[bytes | None] = []
        for each in documents:
            known = self._known.get((id(each), kind.api_version))
            found.append(known[2] if known is not None and known[0] is each and known[1] is kind.shape else None)
        missing = [at for at, view in enumerate(found) if view is None]
        if missing:
            trees = await self.trees(kind, [msgspec.json.decode(documents[at]) for at in missing])
            for at, tree in zip(missing, trees, strict=True):
                found[at] = self._remember(kind, documents[at], tree)
        return found  # type: ignore[return-value]

    def _remember(self, kind: Kind, document: bytes, tree: Tree) -> bytes:
        encoded = meta.encode(tree)
        view = document if encoded == document else encoded
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[id(document), kind.api_version] = document, kind.shape, view
        return view

    async def trees(self, kind: Kind, trees: list[Tree]) -> list[Tree]:
        """Decoded documents in the version of `kind`; they belong to the caller, and may be changed in place."""
        shape: Shape = kind.shape
        for tree in trees:
            self._settle(shape.definition, tree)
        return await self._converted(kind, trees)

    def _settle(self, definition: Definition, tree: Tree) -> None:
        """What the schema says by now of what was stored under an older one."""
        stored = definition.kinds.get(str(tree.get("apiVersion", "")).rpartition("/")[2])
        if stored is not None:
            objects.tidy(stored, tree)
            defaulting.default(tree, stored.shape.schema)

    async def object(self, kind: Kind, document: bytes) -> tuple[CustomObject, bool]:
        """(the object in the version of `kind`, whether it is stored in another one than it should be)."""
        tree = msgspec.json.decode(document)
        outdated = tree.get("apiVersion") != kind.shape.definition.stored.api_version
        (found,) = await self.trees(kind, [tree])
        return custom.from_tree(found), outdated

    async def events(self, kind: Kind, events: Iterable[Event]) -> list[Event]:
        """The events of a watch; what happened in one moment is converted at once."""
        given = list(events)
        changed = [e for e in given if e.type not in ("BOOKMARK", "ERROR") and self._event(kind, e) is None]
        views = await self.documents(kind, [e.document for e in changed]) if changed else []
        for event, view in zip(changed, views, strict=True):
            if len(self._events) >= REMEMBERED:
                self._events.clear()
            new = event if view is event.document else Event(event.type, view)
            self._events[id(event), kind.api_version] = event, kind.shape, new
        return [self._event(kind, e) or _renamed(kind, e) for e in given]

    def _event(self, kind: Kind, event: Event) -> Event | None:
        known = self._events.get((id(event), kind.api_version))
        return known[2] if known is not None and known[0] is event and known[1] is kind.shape else None

    # --- writing

    async def stored(self, kind: Kind, obj: CustomObject) -> CustomObject:
        """An object of `kind` as it is to be stored."""
        target = kind.shape.definition.stored
        if target.api_version == kind.api_version:
            return obj
        (tree,) = await self._converted(target, [copy.deepcopy(custom.to_tree(obj))])
        return custom.from_tree(tree)

    # --- converting

    async def _converted(self, kind: Kind, trees: list[Tree]) -> list[Tree]:
        at = [i for i, tree in enumerate(trees) if tree.get("apiVersion") != kind.api_version]
        if not at:
            return trees
        definition: Definition = kind.shape.definition
        if definition.webhook is None:
            for i in at:
                trees[i]["apiVersion"] = kind.api_version
        else:
            for i, tree in zip(at, await self._ask(kind, [trees[i] for i in at]), strict=True):
                trees[i] = tree
        for i in at:
            objects.tidy(kind, trees[i])
        return trees

    async def _ask(self, kind: Kind, trees: list[Tree]) -> list[Tree]:
        """Raises InternalError for a webhook that does not do what it should."""
        webhook = kind.shape.definition.webhook
        about = f"conversion webhook for {trees[0]['apiVersion']}, Kind={kind.name} failed: "
        version = next((v for v in webhook.conversionReviewVersions if v in ("v1", "v1beta1")), "v1")
        uid, review = str(uuid.uuid4()), f"apiextensions.k8s.io/{version}"
        asked = {"uid": uid, "desiredAPIVersion": kind.api_version, "objects": trees}
        body = {"kind": "ConversionReview", "apiVersion": review, "request": asked}
        if self._caller is None or webhook.clientConfig is None:
            raise errors.InternalError(about + "there is nothing to call")
        try:
            answer = await self._caller.call(webhook.clientConfig, body, SECONDS)
        except errors.ApiError:
            raise
        except Exception as e:  # of whatever kind the transport's faults are: the client is told, the server goes on
            raise errors.InternalError(about + str(e)) from e
        try:
            return _answered(kind, trees, answer, uid, review)
        except ValueError as e:
            raise errors.InternalError(about + str(e)) from e


def _answered(kind: Kind, trees: list[Tree], answer: Tree, uid: str, version: str) -> list[Tree]:
    """The objects of a webhook's answer.  Raises ValueError if it is not what was asked for."""
    if (answer.get("apiVersion"), answer.get("kind")) != (version, "ConversionReview"):
        found = f"{answer.get('apiVersion')}, Kind={answer.get('kind')}"
        raise ValueError(f"invalid response: expected {version}, Kind=ConversionReview, got {found}")
    response = answer.get("response")
    if not isinstance(response, dict):
        raise ValueError("invalid response: no response provided")
    if response.get("uid") != uid:
        got = response.get("uid", "")
        raise ValueError(f'invalid response: expected response.uid="{uid}", got "{got}"')
    result = response.get("result") or {}
    if result.get("status") != "Success":
        raise ValueError(result.get("message") or "response.result.status was not 'Success'")
    converted: list[Tree] = response.get("convertedObjects") or []
    if len(converted) != len(trees):
        raise ValueError(f"webhook returned {len(converted)} objects, expected {len(trees)}")
    for at, (before, after) in enumerate(zip(trees, converted, strict=True)):
        _check(kind, at, before, after)
    return converted


def _check(kind: Kind, at: int, before: Tree, after: Any) -> None:
    """Conversion keeps an object's identity, and of metadata it may change labels and annotations only."""
    where = f"invalid converted object at index {at}: "
    if not isinstance(after, dict) or after.get("apiVersion") != kind.api_version:
        found = after.get("apiVersion") if isinstance(after, dict) else None
        raise ValueError(f"{where}invalid groupVersion (expected {kind.api_version}, received {found})")
    if after.get("kind") != kind.name:
        raise ValueError(f"{where}invalid kind (expected {kind.name}, received {after.get('kind')})")
    old, new = before.get("metadata") or {}, after.get("metadata")
    if not isinstance(new, dict):
        raise ValueError(f"{where}missing metadata")
    for name in ("name", "namespace", "uid"):
        if (old.get(name) or "") != (new.get(name) or ""):
            raise ValueError(f"{where}must have the same {name}: {old.get(name)} != {new.get(name)}")
    kept = {name: value for name, value in old.items() if name not in ("labels", "annotations")}
    kept |= {name: new[name] for name in ("labels", "annotations") if new.get(name)}
    identity = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": kept}
    content = {name: value for name, value in after.items() if name not in identity}
    after.clear()
    after.update(identity | content)


def _renamed(kind: Kind, event: Event) -> Event:
    """Bookmarks are objects of the kind that is being watched."""
    if event.type != "BOOKMARK":
        return event
    tree = msgspec.json.decode(event.document)
    return Event("BOOKMARK", meta.encode(tree | {"kind": kind.name, "apiVersion": kind.api_version}))
