"""Ranges of service addresses: ready while they are wanted, here while they are used."""

from typing import Any

from api import meta
from api.types import IPAddress, ObjectMeta, ServiceCIDR, ServiceCIDRSpec
from controller_manager.service_cidrs import ALLOCATOR, FINALIZER, MANAGED_BY
from tests.unit.controller_manager.worlds import World, controllers, rest

NAME = "service-cidr-controller"


def cidr(name: str, *cidrs: str) -> ServiceCIDR:
    return ServiceCIDR(metadata=ObjectMeta(name=name), spec=ServiceCIDRSpec(cidrs=list(cidrs)))


def address(ip: str, **labels: str) -> IPAddress:
    return IPAddress(metadata=ObjectMeta(name=ip, labels=labels or {MANAGED_BY: ALLOCATOR}))


def ready(world: World, name: str) -> tuple[str, str]:
    condition: Any = meta.condition(world.one(ServiceCIDR, name, ""), "Ready")
    return condition.status, condition.reason


async def test_a_new_range_is_ready_and_held(world: World) -> None:
    async with controllers(world, NAME):
        await world.create(cidr("more", "10.0.0.0/24"))
        await rest()
        assert ready(world, "more") == ("True", "")
        assert world.one(ServiceCIDR, "more", "").metadata.finalizers == [FINALIZER]


async def test_a_range_in_use_goes_when_its_last_address_has_gone(world: World) -> None:
    async with controllers(world, NAME):
        await world.create(cidr("more", "10.0.0.0/24"))
        await world.create(address("10.0.0.7"))
        await world.create(address("10.0.0.8", somebody="else's"))
        await rest()
        await world.delete(ServiceCIDR, "more")
        await rest()
        assert ready(world, "more") == ("False", "Terminating")
        await world.delete(IPAddress, "10.0.0.7")
        await rest()
        assert world.all(ServiceCIDR) == []


async def test_a_range_whose_addresses_another_one_covers_goes_at_once(world: World) -> None:
    async with controllers(world, NAME):
        for name, size in (("wide", 16), ("narrow", 24)):
            await world.create(cidr(name, f"10.0.0.0/{size}"))
        await world.create(address("10.0.0.7"))
        await rest()
        await world.delete(ServiceCIDR, "narrow")
        await rest()
        assert [r.metadata.name for r in world.all(ServiceCIDR)] == ["wide"]
