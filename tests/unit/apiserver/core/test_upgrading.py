"""Stored objects get the defaults of this release, whatever becomes of single ones."""

import asyncio
from typing import Any

import pytest

from api import errors, kinds
from api.errors import ApiError, TooLarge, Unavailable
from api.kinds import Kind
from api.types import ObjectMeta, Secret
from apiserver.registry.objects import Current
from apiserver.registry.upgrading import RETRY_SECONDS, complete
from machinery.testing import FakeClock, settle

SECRETS = kinds.of(Secret)


class Stored:
    """Secrets without a type, of which some cannot be written, as `Objects` has them."""

    def __init__(self, names: list[str], failing: dict[str, ApiError]) -> None:
        self.names, self.failing, self.written = names, failing, list[str]()

    def names_cached(self, kind: Kind) -> list[str]:
        return [f"default/{name}" for name in self.names] if kind is SECRETS else []

    async def current(self, kind: Kind, namespace: str, name: str) -> Current:
        if name not in self.names:
            raise errors.not_found(kind.group_resource, name)
        return Current(Secret(metadata=ObjectMeta(namespace=namespace, name=name)), b"", 1, False)

    async def update(self, kind: Kind, current: Current, new: Any) -> bytes:
        name = new.metadata.name
        if name in self.failing:
            raise self.failing[name]
        assert new.type == "Opaque"
        self.written.append(name)
        return b""


@pytest.mark.parametrize("why", [Unavailable("etcd cannot be reached"), TooLarge("etcdserver: request is too large")])
async def test_one_that_cannot_be_written_keeps_nobody_waiting(why: ApiError) -> None:
    stored, clock = Stored(["a", "b", "c"], {"a": why}), FakeClock()
    completing = asyncio.create_task(complete(stored, clock))  # type: ignore[arg-type]
    await settle()
    assert stored.written == ["b", "c"]
    del stored.failing["a"]
    await clock.advance(RETRY_SECONDS)
    await completing
    # What is too large will always be.
    assert stored.written == ["b", "c", *(["a"] if isinstance(why, Unavailable) else [])]
