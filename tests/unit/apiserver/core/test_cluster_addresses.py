"""A service's addresses are told by objects, which come back if somebody takes them away."""

import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
import pytest_asyncio

from api import kinds, meta
from api.errors import Invalid, NotFound
from api.types import IPAddress, Service, ServiceCIDR
from apiserver.admission import standard
from apiserver.authorization import Groups
from apiserver.registry import Registry, cluster_addresses
from apiserver.registry.bootstrapping import bootstrap
from apiserver.requests import DeleteOptions, Request, User
from apiserver.storage.transactions import Store
from apiserver.storage.worlds import World
from machinery.testing import FakeClock

ADMIN = User("admin", groups=("system:masters",))
RANGE = "10.96.0.0/16"
admission = partial(standard, service_cluster_ip_range=RANGE, service_node_port_range="30000-30003")


@pytest_asyncio.fixture
async def registry(world: World, store: Store, clock: FakeClock) -> AsyncIterator[Registry]:
    found = Registry(world, store, Groups(), admission, clock)
    await bootstrap(found, "10.96.0.1", ["192.0.2.1"], 6443)
    await cluster_addresses.ensure(found, clock, [RANGE])
    yield found


def about(what: type[Any], verb: str, name: str = "") -> Request:
    kind = kinds.of(what)
    return Request(ADMIN, verb, kind, "default" if kind.namespaced else "", name)


async def get(registry: Registry, what: type[Any], name: str) -> Any:
    return meta.decode(await registry.get(about(what, "get", name)), what)


async def service(registry: Registry, name: str, **spec: Any) -> Service:
    body = json.dumps({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}).encode()
    return meta.decode(await registry.create(about(Service, "create"), body), Service)


async def test_a_cluster_begins_with_its_range_and_the_address_of_the_api(registry: Registry) -> None:
    default = await get(registry, ServiceCIDR, "kubernetes")
    assert (default.spec.cidrs, meta.is_true(default, "Ready")) == ([RANGE], True)
    parent = (await get(registry, IPAddress, "10.96.0.1")).spec.parentRef
    assert (parent.resource, parent.namespace, parent.name) == ("services", "default", "kubernetes")


async def test_what_the_controller_says_of_the_range_stands(registry: Registry, clock: FakeClock) -> None:
    default = await get(registry, ServiceCIDR, "kubernetes")
    default.status.conditions[0].status = "False"
    status = about(ServiceCIDR, "update", "kubernetes").at(subresource="status")
    await registry.update(status, meta.encode(default))
    await cluster_addresses.ensure(registry, clock, [RANGE])
    assert not meta.is_true(await get(registry, ServiceCIDR, "kubernetes"), "Ready")


async def test_an_address_comes_and_goes_with_its_service(registry: Registry) -> None:
    ip = (await service(registry, "one")).spec.clusterIP
    told = await get(registry, IPAddress, ip)
    assert (told.metadata.labels["ipaddress.kubernetes.io/managed-by"], told.metadata.uid != "") == (
        "ipallocator.k8s.io", True,
    )  # fmt: skip
    await registry.delete(about(Service, "delete", "one"), DeleteOptions())
    with pytest.raises(NotFound):
        await get(registry, IPAddress, ip)


async def test_a_service_that_needs_no_address_any_more_gives_it_back(registry: Registry) -> None:
    found = await service(registry, "one")
    body = json.dumps({"spec": {"type": "ExternalName", "externalName": "example.com", "clusterIP": ""}}).encode()
    await registry.patch(about(Service, "patch", "one"), body, "merge")
    with pytest.raises(NotFound):
        await get(registry, IPAddress, found.spec.clusterIP)


async def test_what_somebody_deletes_is_made_again_and_is_never_given_away(
    registry: Registry, clock: FakeClock
) -> None:
    await service(registry, "one", clusterIP="10.96.0.7")
    await registry.delete(about(IPAddress, "delete", "10.96.0.7"), DeleteOptions())
    with pytest.raises(Invalid, match="provided IP is already allocated"):
        await service(registry, "two", clusterIP="10.96.0.7")
    await cluster_addresses.ensure(registry, clock, [RANGE])
    assert (await get(registry, IPAddress, "10.96.0.7")).spec.parentRef.name == "one"
