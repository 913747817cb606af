import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import msgspec
import pytest

from api import errors
from apiserver.requests import ANONYMOUS, Event, Item, Listing, User
from apiserver.rest.serving import Rest, Settings
from machinery.testing import FakeClock

ADMIN = User("admin", groups=("system:masters",))
NOW = 1_700_000_000.0


class FakeRegistry:
    """Objects in a dictionary; it notes what it was asked, and watches say what the test puts into `events`."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], bytes] = {}
        self.asked = []
        self.events: asyncio.Queue[list[Event] | None] = asyncio.Queue()
        self.watches_ended = asyncio.Event()
        self.warnings: list[str] = []

    def add(self, plural: str, obj: dict) -> bytes:
        document = msgspec.json.encode(obj)
        metadata = obj["metadata"]
        self.objects[plural, metadata.get("namespace", ""), metadata["name"]] = document
        return document

    def _find(self, request) -> bytes:
        self.asked.append(request)
        try:
            return self.objects[request.kind.plural, request.namespace, request.name]
        except KeyError:
            raise errors.not_found(request.kind.group_resource, request.name) from None

    async def get(self, request, resource_version=""):
        return self._find(request)

    async def list(self, request, options):
        self.asked.append((request, options))
        items = [
            Item(namespace, name, 1, document)
            for (plural, namespace, name), document in self.objects.items()
            if plural == request.kind.plural and request.namespace in ("", namespace)
        ]
        return Listing("42", items)

    async def watch(self, request, options):
        self.asked.append((request, options))
        if options.label_selector == "refused":
            raise errors.Forbidden("no")
        return self._watch()

    async def _watch(self):
        try:
            while (batch := await self.events.get()) is not None:
                yield batch
        finally:
            self.watches_ended.set()

    async def connect(self, request, options):
        self.asked.append((request, options))

    async def create(self, request, body):
        self.asked.append((request, body))
        if body == b"explode":
            raise ZeroDivisionError("secret")
        request.warnings += self.warnings
        return body

    async def update(self, request, body):
        self.asked.append((request, body))
        return body, request.name == "new"

    async def patch(self, request, body, patch_type):
        self.asked.append((request, body, patch_type))
        return b'{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a"}}', False

    async def delete(self, request, options):
        self.asked.append((request, options))
        return b'{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success"}', options.propagation == ""

    async def delete_collection(self, request, listing, options):
        self.asked.append((request, listing, options))
        return Listing("43", [])


async def authenticate(certificate, authorization, headers=None):
    if authorization == "Bearer bad":
        raise errors.Unauthorized("Unauthorized")
    return ANONYMOUS if authorization == "" and certificate is None else ADMIN


@asynccontextmanager
async def served(registry, settings=None, checks=None, **options) -> AsyncIterator[Rest]:
    rest = Rest(
        settings or Settings("127.0.0.1", 0), registry, authenticate, checks or {}, clock=FakeClock(NOW), **options
    )
    task = asyncio.create_task(rest.run())
    await rest.bound()
    try:
        yield rest
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def registry() -> FakeRegistry:
    return FakeRegistry()


@pytest.fixture
async def rest(registry):
    """A client session on a door over plain HTTP, as an administrator."""
    async with served(registry) as running:
        headers = {
            "Authorization": "Bearer good",
            "User-Agent": "kubectl/v1.37.1 (linux/amd64)",
            "Content-Type": "application/json",
        }
        base = f"http://127.0.0.1:{await running.bound()}"
        async with aiohttp.ClientSession(base, headers=headers, auto_decompress=False) as session:
            yield session


def pod(name="a", namespace="default", **more) -> dict:
    metadata = {
        "name": name,
        "namespace": namespace,
        "resourceVersion": "7",
        "creationTimestamp": "2023-11-14T22:08:20Z",
    }
    return {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": {"containers": [{"name": "c"}]}} | more


@pytest.fixture
def make_pod():
    return pod
