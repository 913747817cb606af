import asyncio
from contextlib import AsyncExitStack

import pytest

from api import errors, kinds, meta
from api.types import ConfigMap, ObjectMeta, Pod
from machinery.channels import ENDS_STREAMS
from tests.unit.machinery.resources import Line, Resources, client_of, connected, served


def config_map(name: str, **data: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="default"), data=data)


async def test_what_was_created_can_be_read():
    async with connected() as (_, client):
        created = await client.create(config_map("a", x="1"))
        assert created.metadata.resourceVersion == "1"
        assert await client.get(ConfigMap, "a", "default") == created


async def test_errors_arrive_as_what_they_are():
    async with connected() as (_, client):
        with pytest.raises(errors.NotFound, match='configmaps "missing" not found'):
            await client.get(ConfigMap, "missing", "default")
        await client.create(config_map("a"))
        with pytest.raises(errors.AlreadyExists):
            await client.create(config_map("a"))


async def test_an_update_of_a_stale_object_is_a_conflict():
    async with connected() as (_, client):
        first = await client.create(config_map("a"))
        second = meta.clone(first)
        second.data["x"] = "1"
        await client.update(second)
        with pytest.raises(errors.Conflict):
            await client.update(first)


async def test_many_operations_share_one_stream_and_all_are_answered():
    async with connected() as (service, client):
        await asyncio.gather(*[client.create(config_map(f"c{i}")) for i in range(500)])
        listing = await client.list(ConfigMap, "default")
        assert {o.metadata.name for o in listing.items} == {f"c{i}" for i in range(500)}
        assert listing.resource_version == str(service.revision)


async def test_a_server_that_went_is_unavailable_and_is_found_again_when_it_returns():
    service = Resources()
    async with AsyncExitStack() as stack:
        async with served(service) as port:
            client = await stack.enter_async_context(client_of(port))
            await client.create(config_map("a"))
        with pytest.raises(errors.Unavailable):
            await client.get(ConfigMap, "a", "default")
        async with served(service, port), asyncio.timeout(10):
            while True:
                try:
                    assert (await client.get(ConfigMap, "a", "default")).metadata.name == "a"
                    break
                except errors.Unavailable:
                    continue


async def test_a_watch_ends_when_its_connection_is_lost_without_a_word():
    """However long it has only listened."""
    line, times = Line(), {"keepalive_time_ms": 100, "http2__ping_timeout_ms": 100}
    async with served(Resources()) as port, line.to(port) as begin, client_of(begin, **times) as client:
        watching = asyncio.ensure_future(anext(client.watch(ConfigMap, resource_version="0")))
        async with asyncio.timeout(20):
            for _ in range(6):
                await line.sent.get()
            line.silent = True
            with pytest.raises(errors.Unavailable):
                await watching


async def test_what_a_server_leaves_alone_is_asked_of_the_next_in_the_same_order():
    async with connected() as (service, client):
        await client.create(config_map("a"))
        service.leaving = 2
        await asyncio.gather(*[client.create(config_map(f"c{i}")) for i in range(300)])
        assert service.leaving == 0
        assert ENDS_STREAMS in service.metadata
        assert [obj["metadata"]["name"] for *_, obj in service.history] == ["a", *(f"c{i}" for i in range(300))]


async def test_metadata_is_enough_for_those_who_want_no_more():
    async with connected() as (_, client):
        await client.create(config_map("a", x="1"))
        found = await client.get(meta.partial(kinds.of(ConfigMap)), "a", "default")
        assert (found.metadata.name, found.kind, hasattr(found, "data")) == ("a", "ConfigMap", False)


async def test_a_cancelled_caller_leaves_the_stream_to_the_others():
    async with connected() as (_, client):
        cancelled = asyncio.ensure_future(client.get(Pod, "x", "default"))
        await asyncio.sleep(0)
        cancelled.cancel()
        await client.create(config_map("a"))
        assert (await client.get(ConfigMap, "a", "default")).metadata.name == "a"


async def test_large_objects_do_not_share_a_message_that_no_server_takes():
    async with connected() as (_, client):
        await asyncio.gather(*[client.create(config_map(f"c{i}", x="x" * 10**6)) for i in range(20)])
        assert (await client.get(ConfigMap, "c19", "default")).data["x"] == "x" * 10**6
