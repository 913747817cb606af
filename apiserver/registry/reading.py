"""The verbs that only read: get, list, watch.

https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions
"""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Iterator

from api import errors
from api.errors import BadRequest, Expired, Timeout
from api.kinds import Kind
from api.meta import encode
from apiserver.registry.selecting import LATEST, filter_for, read_token, revision, token
from apiserver.requests import Event, Item, Listing, ListOptions, Request, WatchOptions, page_limit
from apiserver.storage import keys
from apiserver.storage.etcd import Compacted
from apiserver.storage.tables import Filter, Gone, Page
from apiserver.storage.watching import BATCH_BYTES
from apiserver.storage.worlds import World

SHORTEST_WATCH = 1800.0
INITIAL_EVENTS_END = '{"k8s.io/initial-events-end":"true"}'
Events = list[Event]
Batches = AsyncIterator[Events]

TOO_OLD_PAGE = (
    "The provided continue parameter is too old to display a consistent list result. "
    "You can start a new list without the continue parameter, or use the continue token in this response to retrieve "
    "the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that "
    "were created, modified, or deleted between the time the first chunk was returned and now may show up in the list."
)
TOO_OLD_LIST = "The resourceVersion for the provided list is too old."


class Reading:
    def __init__(self, world: World) -> None:
        self._world = world

    async def item(self, kind: Kind, namespace: str, name: str, resource_version: str = "") -> Item:
        """`resource_version` "" reads the latest, "0" whatever is at hand, else at least that one.  Raises NotFound."""
        await self._reach(resource_version)
        found = self._world.resource(kind).table.items.get(keys.within(namespace, name))
        if found is None:
            raise errors.not_found(kind.group_resource, name)
        return found

    async def list(self, request: Request, options: ListOptions) -> Listing:
        resource = self._world.resource(request.kind)
        filter_ = filter_for(request.kind, resource.table.index, options.label_selector, options.field_selector)
        if request.name:
            raise BadRequest("a list is of a resource, not of one object")
        if options.continue_:
            return await self._continued(request, filter_, options)
        match = options.resource_version_match
        if match not in ("", "Exact", "NotOlderThan") or (match and not options.resource_version):
            raise BadRequest(f'resourceVersionMatch "{match}" makes no sense here')
        exact = match == "Exact" or (options.limit > 0 and not match and options.resource_version not in ("", "0"))
        await self._reach(options.resource_version)
        if exact:
            at = revision(options.resource_version)
            return await self._past(request, filter_, at, "", options.limit, Expired(TOO_OLD_LIST))
        limit = page_limit(options.limit, options.resource_version, "")
        page = resource.table.select(request.namespace, filter_, limit=limit)
        return _listing(page, self._world.revision)

    async def _continued(self, request: Request, filter_: Filter, options: ListOptions) -> Listing:
        """The page after another one: of the same revision, or of the latest if the token was given for that."""
        if options.resource_version not in ("", "0"):
            raise BadRequest("specifying resource version is not allowed when using continue")
        at, after = read_token(options.continue_)
        if at == LATEST:
            await self._world.fresh()
            table = self._world.resource(request.kind).table
            page = table.select(request.namespace, filter_, after=after, limit=options.limit)
            return _listing(page, self._world.revision)
        too_old = Expired(TOO_OLD_PAGE, continue_=token(LATEST, after))
        return await self._past(request, filter_, at, after, options.limit, too_old)

    async def _past(
        self, request: Request, filter_: Filter, at: int, after: str, limit: int, too_old: Expired
    ) -> Listing:
        await self._world.at_least(at)
        try:
            page = await self._world.past(request.kind, at, request.namespace, filter_, after=after, limit=limit)
        except Compacted as e:
            raise too_old from e
        return _listing(page, at)

    async def watch(self, request: Request, options: WatchOptions) -> Batches:
        """The stream of events. What can be refused is refused before it begins, except a revision that is too old:
        upstream tells that by an ERROR event, and clients rely on it."""
        table = self._world.resource(request.kind).table
        if request.name:
            options_fields = options.field_selector
            name = f"metadata.name={request.name}"
            selector = f"{name},{options_fields}" if options_fields else name
        else:
            selector = options.field_selector
        filter_ = filter_for(request.kind, table.index, options.label_selector, selector)
        since = revision(options.resource_version)
        if not since or options.send_initial_events:
            await self._reach(options.resource_version)
        return self._stream(request, filter_, options)

    async def _stream(self, request: Request, filter_: Filter, options: WatchOptions) -> Batches:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (options.timeout_seconds or SHORTEST_WATCH * (1 + random.random()))
        try:  # a revision that another API server made may be on its way: upstream waits for it too
            await self._world.at_least(revision(options.resource_version), seconds=deadline - loop.time())
        except Timeout:
            return
        with self._world.watcher(
            request.kind, request.namespace, filter_, bookmarks=options.bookmarks, sink=options.sink
        ) as watcher:
            try:
                first = self._first(request, filter_, options)
            except Gone as e:
                gone = Expired(f"too old resource version: {revision(options.resource_version)} ({e.oldest})")
                yield [Event("ERROR", encode(gone.to_status()))]
                return
            for batch in _batches(first):
                yield batch
            while True:
                try:
                    async with asyncio.timeout_at(deadline):
                        batch = await watcher.take()
                except TimeoutError:
                    return
                if not batch:
                    return
                yield batch

    def _first(self, request: Request, filter_: Filter, options: WatchOptions) -> Events:
        """What the watch begins with: the state, or what has happened since the revision that the client knows."""
        resource = self._world.resource(request.kind)
        since = revision(options.resource_version)
        initial = options.send_initial_events
        if initial is None:
            initial = since == 0
        if initial:
            page = resource.table.select(request.namespace, filter_)
            events = [Event("ADDED", item.document) for item in page.items]
            if options.send_initial_events and options.bookmarks:
                events.append(resource.bookmark(self._world.revision, INITIAL_EVENTS_END))
            return events
        if since == 0:
            return []
        changes = resource.table.changes_since(since)
        if request.namespace:
            prefix = f"{request.namespace}/"
            changes = (c for c in changes if c.key.startswith(prefix))
        return [e for c in changes if (e := c.seen_through(filter_))]

    async def _reach(self, resource_version: str) -> None:
        if resource_version == "":
            await self._world.fresh()
        elif resource_version != "0":
            await self._world.at_least(revision(resource_version))


def _listing(page: Page, at: int) -> Listing:
    following = ""
    if page.more:
        last = page.items[-1]
        following = token(at, keys.within(last.namespace, last.name))
    return Listing(str(at), page.items, following, page.remaining)


def _batches(events: Iterable[Event]) -> Iterator[Events]:
    """About a megabyte each, so that no door has to hold the encoding of a whole large resource."""
    batch: Events = []
    size = 0
    for event in events:
        batch.append(event)
        size += len(event.document)
        if size > BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
