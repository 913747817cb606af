"""Several API servers, and the endpoints of the Service by which pods reach them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from functools import partial

import pytest_asyncio

from api import kinds
from api.types import EndpointSlice
from apiserver.admission import standard
from apiserver.authorization import Groups
from apiserver.registry import Registry
from apiserver.registry.bootstrapping import USER, bootstrap, keep, reachable
from apiserver.requests import Request, WatchOptions
from apiserver.storage.etcd import Etcd
from apiserver.storage.members import Members
from apiserver.storage.transactions import Store
from apiserver.storage.worlds import World
from machinery.testing import FakeClock, settle

admission = partial(standard, service_cluster_ip_range="10.96.0.0/16", service_node_port_range="30000-30003")

SERVICE = "10.96.0.1"
A, B = "192.0.2.1", "192.0.2.2"


@pytest_asyncio.fixture
async def registry(world: World, store: Store, clock: FakeClock) -> Registry:
    return Registry(world, store, Groups(), admission, clock)


@asynccontextmanager
async def server(registry: Registry, clock: FakeClock, etcd: Etcd, address: str) -> AsyncIterator[Members]:
    """What one API server does for as long as it lives."""
    members = Members(etcd, address)
    await members.announce()
    await bootstrap(registry, SERVICE, await members.present(), 6443)
    keeping = asyncio.create_task(keep(registry, clock, members, SERVICE, 6443))
    await settle()
    try:
        yield members
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


async def until_endpoints(registry: Registry, *wanted: str) -> None:
    request = Request(USER, "watch", kinds.of(EndpointSlice), "default")
    async with asyncio.timeout(5), aclosing(await registry.watch(request, WatchOptions())) as batches:
        async for batch in batches:
            for event in batch:
                endpoints = json.loads(event.document).get("endpoints", [])
                if [ip for e in endpoints for ip in e["addresses"]] == list(wanted):
                    return


async def test_the_endpoints_are_the_servers_that_there_are(registry: Registry, clock: FakeClock, etcd: Etcd) -> None:
    async with server(registry, clock, etcd, A):
        async with server(registry, clock, etcd, B):
            await until_endpoints(registry, A, B)
        await until_endpoints(registry, A)


async def test_a_server_that_died_goes_when_its_lease_does(registry: Registry, clock: FakeClock, etcd: Etcd) -> None:
    async with server(registry, clock, etcd, A):
        other = Members(etcd, B)
        await other.announce()
        await bootstrap(registry, SERVICE, await other.present(), 6443)
        await until_endpoints(registry, A, B)
        await other.withdraw()  # to those who watch, the end of its lease looks the same
        await until_endpoints(registry, A)


async def test_the_last_server_leaves_its_endpoint(registry: Registry, clock: FakeClock, etcd: Etcd) -> None:
    async with server(registry, clock, etcd, A) as members:
        pass
    assert await members.present() == []
    await bootstrap(registry, SERVICE, await members.present(), 6443)
    await until_endpoints(registry, A)


async def test_nobody_is_told_of_a_loopback_address(etcd: Etcd) -> None:
    members = Members(etcd, reachable("127.0.0.1"))
    await members.announce()
    assert await members.present() == []
