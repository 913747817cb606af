"""Addresses of load balancers: one for each service, kept, and given on."""

import argparse
from ipaddress import IPv4Address
from typing import Any

import pytest

from api import meta
from api.types import LoadBalancerIngress, ObjectMeta, Service, ServicePort, ServiceSpec
from controller_manager.configs import spans
from controller_manager.service_addresses import FINALIZER, NoAddress, choose
from tests.unit.controller_manager.worlds import World, controllers, rest

NAME = "service-lb-controller"
POOL = spans("192.0.2.10-192.0.2.11")


def service(name: str, **spec: Any) -> Service:
    ports = [ServicePort(port=80, protocol="TCP")]
    return Service(
        metadata=ObjectMeta(name=name, namespace="default"),
        spec=ServiceSpec(**{"type": "LoadBalancer", "ports": ports, **spec}),
    )


def ingress(world: World, name: str) -> list[tuple[str, str]]:
    return [(i.ip, i.ipMode) for i in world.one(Service, name).status.loadBalancer.ingress]


async def test_each_service_gets_an_address_of_its_own_and_hears_of_it(world: World) -> None:
    async with controllers(world, NAME, service_lb_addresses=POOL):
        for name in ("a", "b"):
            await world.create(service(name))
        await world.create(service("inside", type="ClusterIP"))
        await world.create(service("classy", loadBalancerClass="example.com/other"))
        await rest()
        assert sorted([*ingress(world, "a"), *ingress(world, "b")]) == [("192.0.2.10", "VIP"), ("192.0.2.11", "VIP")]
        assert ingress(world, "inside") == ingress(world, "classy") == []
        assert len(world.events("EnsuringLoadBalancer")) == len(world.events("EnsuredLoadBalancer")) == 2


async def test_without_a_pool_nothing_is_given(world: World) -> None:
    async with controllers(world, NAME):
        await world.create(service("a"))
        await rest()
        assert ingress(world, "a") == []
        assert world.events("SyncLoadBalancerFailed") == []


async def test_who_comes_too_late_waits_for_the_next_address_that_is_let_go(world: World) -> None:
    async with controllers(world, NAME, service_lb_addresses=POOL):
        for name in ("a", "b", "c"):
            await world.create(service(name))
            await rest()
        assert ingress(world, "c") == []
        [told] = world.events("SyncLoadBalancerFailed")
        assert told.startswith("Error syncing load balancer: failed to ensure load balancer: no address is left")
        freed = ingress(world, "a")
        await world.delete(Service, "a", "default")
        await rest()
        assert ingress(world, "c") == freed


async def test_a_service_of_another_type_gives_its_address_back(world: World) -> None:
    async with controllers(world, NAME, service_lb_addresses=spans("192.0.2.10")):
        await world.create(service("a"))
        await rest()
        await world.create(service("b"))
        await world.patch(Service, "a", "default", {"spec": {"type": "ClusterIP"}})
        await rest()
        assert (ingress(world, "a"), ingress(world, "b")) == ([], [("192.0.2.10", "VIP")])


async def test_another_term_keeps_what_the_last_one_gave(world: World) -> None:
    async with controllers(world, NAME, service_lb_addresses=POOL):
        await world.create(service("wants", loadBalancerIP="192.0.2.11"))
        await rest()
    async with controllers(world, NAME, service_lb_addresses=POOL):
        await world.create(service("more"))
        await rest()
        assert (ingress(world, "wants"), ingress(world, "more")) == (
            [("192.0.2.11", "VIP")],
            [("192.0.2.10", "VIP")],
        )


async def test_a_deleted_service_is_not_held_by_the_finalizer_of_another_balancer(world: World) -> None:
    async with controllers(world, NAME, service_lb_addresses=POOL):
        held = service("a")
        held.metadata.finalizers = [FINALIZER]
        await world.create(held)
        await rest()
        await world.delete(Service, "a", "default")
        await rest()
        assert world.all(Service) == []


def having(name: str, *addresses: str, since: str = "2026-01-01T00:00:00Z", wants: str = "") -> Service:
    found = service(name, loadBalancerIP=wants)
    found.metadata.uid, found.metadata.creationTimestamp = name, since
    found.status.loadBalancer.ingress = [LoadBalancerIngress(ip=a) for a in addresses]
    return meta.clone(found)


def test_of_two_with_one_address_the_older_keeps_it() -> None:
    old, young = having("old", "192.0.2.10"), having("young", "192.0.2.10", since="2026-02-01T00:00:00Z")
    assert choose(POOL, old, [old, young]) == "192.0.2.10"
    assert choose(POOL, young, [old, young]) == "192.0.2.11"


def test_an_address_that_is_asked_for_must_be_free_and_of_the_pool() -> None:
    other = having("other", "192.0.2.10")
    with pytest.raises(NoAddress, match=r"192\.0\.2\.10 is in use"):
        choose(POOL, having("mine", wants="192.0.2.10"), [other])
    with pytest.raises(NoAddress, match="not one of the addresses"):
        choose(POOL, having("mine", wants="192.0.2.99"), [other])
    assert choose(POOL, having("mine", "192.0.2.10", wants="192.0.2.11"), []) == "192.0.2.11"


def test_an_address_outside_of_the_pool_is_replaced() -> None:
    assert choose(POOL, having("mine", "198.51.100.1"), []) == "192.0.2.10"


def test_a_pool_is_read_as_addresses_ranges_and_networks() -> None:
    a, b = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.4")
    assert spans("192.0.2.1,192.0.2.1-192.0.2.4,192.0.2.0/30") == (
        (a, a),
        (a, b),
        (IPv4Address("192.0.2.0"), IPv4Address("192.0.2.3")),
    )
    for wrong in ("192.0.2.4-192.0.2.1", "here"):
        with pytest.raises(argparse.ArgumentTypeError):
            spans(wrong)
