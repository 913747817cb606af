"""An API in memory with the client's methods, and a term of controllers that work on it.

It keeps what the controllers rely on: revisions and conflicts, uids, generations, finalizers, owner references merged
by uid, watches. It knows no defaults and refuses nothing else.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from api import errors, kinds, labels, meta, times
from api.kinds import Kind
from api.meta import Key
from api.types import Event, Scale
from controller_manager.configs import Config
from controller_manager.running import Term
from machinery.client import Listing, WatchEvent
from machinery.testing import FakeClock, settle

Document = dict[str, Any]
Batch = list[WatchEvent[Any]]


class World:
    """Stands in for machinery.client.Client."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.revision = 0
        self.objects: dict[Kind, dict[Key, Document]] = {}
        self.log: list[tuple[int, Kind, str, Document]] = []
        self.changed = asyncio.Condition()
        self.writes: list[tuple[str, str, str]] = []
        self.refusals: list[tuple[str, str, errors.ApiError]] = []
        self.graceful = False
        self.deaf = False
        self.deaf_to: set[str] = set()
        """Kinds of which watches say nothing; `hear_again` ends both."""

    # The client's methods

    async def get(self, what: type[Any], name: str, namespace: str = "") -> Any:
        await asyncio.sleep(0)
        return _typed(self._find(kinds.of(what), Key(namespace, name)), what)

    async def list(
        self, what: type[Any], namespace: str = "", *, label_selector: str = "", field_selector: str = "",
        resource_version: str = "",
    ) -> Listing[Any]:  # fmt: skip
        await asyncio.sleep(0)
        selector = labels.parse(label_selector)
        found = [
            _typed(d, what)
            for d in self._of(kinds.of(what)).values()
            if _in_scope(d, namespace, field_selector) and selector.matches(d["metadata"].get("labels", {}))
        ]
        return Listing(str(self.revision), found)

    async def watch(
        self, what: type[Any], namespace: str = "", *, resource_version: str, label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncIterator[Batch]:  # fmt: skip
        kind, at = kinds.of(what), int(resource_version)
        while True:
            async with self.changed:
                while self.deaf or kind.name in self.deaf_to or not self.log or self.log[-1][0] <= at:
                    await self.changed.wait()
            news = [entry for entry in self.log if entry[0] > at]
            at = news[-1][0]
            batch = [
                WatchEvent(event, _typed(d, what))
                for _, k, event, d in news
                if k is kind and _in_scope(d, namespace, field_selector)
            ]
            if batch:
                yield batch

    async def create(self, obj: Any, *, field_manager: str = "") -> Any:
        await asyncio.sleep(0)
        kind, document = meta.kind_of(obj), _document(obj)
        self._refuse("create", kind)
        m = document["metadata"]
        uid = f"uid-{self.revision + 1}"
        m["name"] = m.get("name") or f"{m['generateName']}{self.revision + 1:05d}"
        key = Key(m.get("namespace", ""), m["name"])
        if key in self._of(kind):
            raise errors.already_exists(kind.group_resource, key.name)
        m |= {"uid": uid, "creationTimestamp": times.format(self.clock.now()), "generation": 1}
        self._note("create", kind, key)
        return _typed(await self._store("ADDED", kind, key, document), type(obj))

    async def update(self, obj: Any, *, subresource: str = "") -> Any:
        await asyncio.sleep(0)
        kind, key, document = meta.kind_of(obj), meta.key(obj), _document(obj)
        self._refuse("update", kind)
        old = self._find(kind, key)
        if document["metadata"].get("resourceVersion") not in ("", None, old["metadata"]["resourceVersion"]):
            raise errors.conflict(kind.group_resource, key.name, errors.STALE)
        kept = {"status": "spec", "": "status", "finalize": "status"}[subresource]
        document.pop(kept, None)
        if kept in old:
            document[kept] = old[kept]
        self._note(f"update {subresource}".strip(), kind, key)
        return _typed(await self._replace(kind, key, old, document), type(obj))

    async def update_status(self, obj: Any) -> Any:
        return await self.update(obj, subresource="status")

    async def get_subresource(self, kind: Kind, name: str, namespace: str, subresource: str, what: type[Any]) -> Any:
        await asyncio.sleep(0)
        assert (subresource, what) == ("scale", Scale)
        found = self._find(kind, Key(namespace, name))
        selector = ",".join(f"{k}={v}" for k, v in found["spec"]["selector"]["matchLabels"].items())
        replicas = found.get("status", {}).get("replicas", 0)
        metadata = {"name": name, "namespace": namespace}
        spec = {"replicas": found["spec"].get("replicas", 1)}
        return _typed(
            {"metadata": metadata, "spec": spec, "status": {"replicas": replicas, "selector": selector}}, what
        )

    async def update_subresource(self, kind: Kind, name: str, namespace: str, subresource: str, obj: Any) -> Any:
        await asyncio.sleep(0)
        old = self._find(kind, Key(namespace, name))
        self._note("scale", kind, Key(namespace, name))
        await self._replace(kind, Key(namespace, name), old, _merged(old, {"spec": {"replicas": obj.spec.replicas}}))
        return obj

    async def patch(
        self, what: type[Any], name: str, namespace: str, patch: Any, *, kind: str = "merge", subresource: str = "",
        field_manager: str = "", force: bool = False,
    ) -> Any:  # fmt: skip
        await asyncio.sleep(0)
        of, key = kinds.of(what), Key(namespace, name)
        self._refuse("patch", of)
        old, change = self._find(of, key), msgspec.to_builtins(patch)
        for field in ("uid", "resourceVersion"):
            if change.get("metadata", {}).get(field, old["metadata"][field]) != old["metadata"][field]:
                raise errors.conflict(of.group_resource, name, errors.STALE)
        references = change.get("metadata", {}).pop("ownerReferences", None) if kind == "strategic" else None
        gone = change.get("metadata", {}).pop("$deleteFromPrimitiveList/finalizers", ())
        document = _merged(old, change)
        if gone:
            left = [f for f in old["metadata"].get("finalizers", []) if f not in gone]
            document["metadata"]["finalizers"] = left
        if references is not None:
            document["metadata"]["ownerReferences"] = _merged_references(old, references)
        self._note("patch", of, key)
        return _typed(await self._replace(of, key, old, document), what)

    async def delete(
        self, what: type[Any], name: str, namespace: str = "", *, uid: str = "", resource_version: str = "",
        propagation: str = "", grace_seconds: int | None = None,
    ) -> None:  # fmt: skip
        await asyncio.sleep(0)
        kind, key = kinds.of(what), Key(namespace, name)
        self._refuse("delete", kind)
        old = self._find(kind, key)
        m = old["metadata"]
        if (uid and uid != m["uid"]) or (resource_version and resource_version != m["resourceVersion"]):
            raise errors.conflict(kind.group_resource, name, errors.STALE)
        self._note(f"delete {propagation}".strip(), kind, key)
        document = _merged(old, {})
        finalizer = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}.get(propagation)
        if finalizer and finalizer not in document["metadata"].get("finalizers", []):
            document["metadata"]["finalizers"] = [*document["metadata"].get("finalizers", []), finalizer]
        lingers = document["metadata"].get("finalizers") or document.get("spec", {}).get("finalizers")
        if lingers or (self.graceful and kind.name == "Pod" and grace_seconds != 0):
            document["metadata"].setdefault("deletionTimestamp", times.format(self.clock.now()))
            await self._store("MODIFIED", kind, key, document)
        else:
            await self._remove(kind, key)

    async def delete_collection(self, what: type[Any], namespace: str = "", **options: Any) -> None:
        for key in [k for k in self._of(kinds.of(what)) if k.namespace == namespace]:
            await self.delete(what, key.name, namespace, propagation=options.get("propagation", ""))

    # What a test does and sees

    def all(self, what: type[Any], namespace: str = "") -> Sequence[Any]:
        return [_typed(d, what) for k, d in self._of(kinds.of(what)).items() if namespace in ("", k.namespace)]

    def one(self, what: type[Any], name: str, namespace: str = "default") -> Any:
        scope = namespace if kinds.of(what).namespaced else ""
        return _typed(self._find(kinds.of(what), Key(scope, name)), what)

    async def finish(self, what: type[Any], name: str, namespace: str = "default") -> None:
        """Take the object out, as a kubelet does at the end of a pod."""
        await self._remove(kinds.of(what), Key(namespace, name))

    async def hear_again(self) -> None:
        """End a time in which watches said nothing."""
        self.deaf = False
        self.deaf_to.clear()
        async with self.changed:
            self.changed.notify_all()
        await settle()

    def refuse(self, verb: str, kind: str, error: errors.ApiError) -> None:
        self.refusals.append((verb, kind, error))

    def events(self, reason: str) -> Sequence[str]:
        return [e.message for e in self.all(Event) if e.reason == reason]

    # Its inside

    def _of(self, kind: Kind) -> dict[Key, Document]:
        return self.objects.setdefault(kind, {})

    def _find(self, kind: Kind, key: Key) -> Document:
        found = self._of(kind).get(key)
        if found is None:
            raise errors.not_found(kind.group_resource, key.name)
        return found

    def _refuse(self, verb: str, kind: Kind) -> None:
        for v, k, error in self.refusals:
            if (v, k) == (verb, kind.name):
                raise error

    def _note(self, verb: str, kind: Kind, key: Key) -> None:
        if kind.name != "Event":
            self.writes.append((verb, kind.name, str(key)))

    async def _replace(self, kind: Kind, key: Key, old: Document, new: Document) -> Document:
        if new == old:
            return old
        if new.get("spec") != old.get("spec"):
            new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
        finalizers = new["metadata"].get("finalizers") or new.get("spec", {}).get("finalizers")
        had = old["metadata"].get("finalizers") or old.get("spec", {}).get("finalizers")
        stopping = self.graceful and kind.name == "Pod"
        if had and not finalizers and new["metadata"].get("deletionTimestamp") and not stopping:
            await self._remove(kind, key)
            return new
        return await self._store("MODIFIED", kind, key, new)

    async def _store(self, event: str, kind: Kind, key: Key, document: Document) -> Document:
        self.revision += 1
        document["metadata"]["resourceVersion"] = str(self.revision)
        self._of(kind)[key] = document
        await self._tell(kind, event, document)
        return document

    async def _remove(self, kind: Kind, key: Key) -> None:
        gone = _merged(self._find(kind, key), {})
        del self._of(kind)[key]
        self.revision += 1
        gone["metadata"]["resourceVersion"] = str(self.revision)
        await self._tell(kind, "DELETED", gone)

    async def _tell(self, kind: Kind, event: str, document: Document) -> None:
        self.log.append((self.revision, kind, event, document))
        async with self.changed:
            self.changed.notify_all()


def _typed(document: Document, what: type[Any]) -> Any:
    return meta.decode(meta.encode(document), what)


def _document(obj: Any) -> Document:
    return msgspec.json.decode(meta.encode(obj))  # type: ignore[no-any-return]


def _in_scope(document: Document, namespace: str, field_selector: str) -> bool:
    m = document["metadata"]
    field, _, value = field_selector.partition("=")
    assert field in ("", "metadata.name", "type")
    found = m["name"] if field == "metadata.name" else document.get("type", "")
    return namespace in ("", m.get("namespace", "")) and (not field or found == value)


def _merged(old: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    base = dict(old) if isinstance(old, dict) else {}
    copied = {k: _merged(v, {}) if isinstance(v, dict) else v for k, v in base.items()}
    for k, v in patch.items():
        if v is None:
            copied.pop(k, None)
        else:
            copied[k] = _merged(base.get(k), v)
    return copied


def _merged_references(old: Document, changes: Iterable[Document]) -> list[Document]:
    by_uid = {r["uid"]: r for r in old["metadata"].get("ownerReferences", [])}
    for change in changes:
        if change.get("$patch") == "delete":
            by_uid.pop(change["uid"], None)
        else:
            by_uid[change["uid"]] = by_uid.get(change["uid"], {}) | change
    return [*by_uid.values()]


@asynccontextmanager
async def controllers(world: World, *names: str, **options: Any) -> AsyncIterator[Term]:
    """A term with these controllers at work on the world."""
    config = Config(controllers=names, **options)
    term = Term(config, world, world.clock)  # type: ignore[arg-type]
    running = asyncio.create_task(term.run())
    try:
        await rest()
        yield term
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def rest(rounds: int = 10) -> None:
    """Let everything come to rest, also what has to be tried again."""
    for _ in range(rounds):
        await settle()
