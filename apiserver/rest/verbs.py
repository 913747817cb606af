"""What this door needs of the registry: so much can stand in for it in a test."""

from collections.abc import AsyncIterator
from typing import Any, Protocol

from apiserver.requests import DeleteOptions, Event, Listing, ListOptions, Request, WatchOptions

Batches = AsyncIterator[list[Event]]


class Verbs(Protocol):
    """The part of `apiserver.registry.Registry` that REST calls; it says there what each answers and raises."""

    async def get(self, request: Request, resource_version: str = "") -> bytes: ...

    async def watch(self, request: Request, options: WatchOptions) -> Batches: ...

    async def create(self, request: Request, body: bytes) -> bytes: ...

    async def update(self, request: Request, body: bytes) -> tuple[bytes, bool]: ...

    async def patch(self, request: Request, body: bytes, patch_type: str) -> tuple[bytes, bool]: ...

    async def delete(self, request: Request, options: DeleteOptions) -> tuple[bytes, bool]: ...

    async def delete_collection(self, request: Request, listing: ListOptions, options: DeleteOptions) -> Listing: ...

    async def list(self, request: Request, options: ListOptions) -> Listing: ...

    async def connect(self, request: Request, options: Any) -> None: ...
