"""Endpoints that somebody keeps by hand, told in slices."""

from api import meta
from api.types import EndpointAddress, EndpointPort, Endpoints, EndpointSlice, EndpointSubset, ObjectMeta
from controller_manager.mirrored_slices import CAPACITY, plan
from tests.unit.controller_manager.making import service
from tests.unit.controller_manager.worlds import World, controllers, rest

MIRRORING = "endpointslice-mirroring-controller"


def subset(*ready: str, unready: tuple[str, ...] = (), port: int = 80) -> EndpointSubset:
    return EndpointSubset(
        addresses=[EndpointAddress(ip=ip) for ip in ready],
        notReadyAddresses=[EndpointAddress(ip=ip) for ip in unready],
        ports=[EndpointPort(name="http", port=port, protocol="TCP")],
    )


def kept(*subsets: EndpointSubset, **labels: str) -> Endpoints:
    return Endpoints(metadata=ObjectMeta(name="web", namespace="default", labels=labels), subsets=list(subsets))


def addresses(s: EndpointSlice) -> list[str]:
    return [e.addresses[0] for e in s.endpoints]


def test_families_and_ports_have_slices_of_their_own() -> None:
    made = plan(kept(subset("10.0.0.1", "fd00::1"), subset("10.0.0.2", port=81)), []).create
    told = sorted((s.addressType, s.ports[0].port, addresses(s)) for s in made)
    assert told == [("IPv4", 80, ["10.0.0.1"]), ("IPv4", 81, ["10.0.0.2"]), ("IPv6", 80, ["fd00::1"])]


def test_two_ports_of_the_same_addresses_are_told_in_one_slice() -> None:
    (s,) = plan(kept(subset("10.0.0.2", "10.0.0.1"), subset("10.0.0.1", "10.0.0.2", port=81)), []).create
    assert ([p.port for p in s.ports], addresses(s)) == ([80, 81], ["10.0.0.1", "10.0.0.2"])


def test_an_address_that_is_ready_for_one_port_only_is_told_twice() -> None:
    made = plan(kept(subset("10.0.0.1"), subset(unready=("10.0.0.1",), port=81)), []).create
    told = sorted((s.ports[0].port, e.conditions.ready) for s in made for e in s.endpoints if e.conditions is not None)
    assert told == [(80, True), (81, False)]


def test_unready_addresses_say_so() -> None:
    (s,) = plan(kept(subset("10.0.0.1", unready=("10.0.0.2",))), []).create
    assert [(e.addresses[0], e.conditions.ready) for e in s.endpoints if e.conditions is not None] == [
        ("10.0.0.1", True), ("10.0.0.2", False),
    ]  # fmt: skip


def test_more_addresses_than_may_be_told_are_cut_off() -> None:
    many = [f"10.{n // 65536}.{n // 256 % 256}.{n % 256}" for n in range(CAPACITY + 5)]
    (s,) = plan(kept(subset(*many)), []).create
    assert len(s.endpoints) == CAPACITY


async def test_whoever_keeps_too_many_addresses_is_told_that_some_are_left_out(world: World) -> None:
    many = [f"10.{n // 65536}.{n // 256 % 256}.{n % 256}" for n in range(CAPACITY + 5)]
    async with controllers(world, MIRRORING):
        await world.create(service(selector={}))
        await world.create(kept(subset(*many)))
        await rest()
        (said,) = world.events("TooManyAddressesToMirror")
        assert said.startswith("A max of 1000 addresses can be mirrored")
        assert said.endswith("5 addresses were skipped")


def test_a_slice_is_changed_in_place_and_what_is_left_over_goes() -> None:
    first = plan(kept(subset("10.0.0.1"), subset("10.0.0.2", port=81)), []).create
    same = plan(kept(subset("10.0.0.1"), subset("10.0.0.2", port=81)), first)
    assert (same.create, same.update, same.delete) == ([], [], [])
    changes = plan(kept(subset("10.0.0.7")), first)
    assert [addresses(s) for s in changes.update] == [["10.0.0.7"]]
    assert [s.ports[0].port for s in changes.delete] == [81]


async def test_endpoints_of_a_service_without_a_selector_are_mirrored(world: World) -> None:
    async with controllers(world, MIRRORING):
        await world.create(service(selector={}))
        await world.create(kept(subset("10.0.0.1"), team="blue"))
        await rest()
        (s,) = world.all(EndpointSlice)
        assert (addresses(s), meta.controller_of(s).kind) == (["10.0.0.1"], "Endpoints")
        assert s.metadata.labels == {
            "team": "blue", "kubernetes.io/service-name": "web",
            "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io",
        }  # fmt: skip
        changed = world.one(Endpoints, "web")
        changed.subsets = [subset("10.0.0.2")]
        await world.update(changed)
        await rest()
        (s,) = world.all(EndpointSlice)
        assert addresses(s) == ["10.0.0.2"]
        await world.delete(Endpoints, "web", "default")
        await rest()
        assert world.all(EndpointSlice) == []


async def test_others_endpoints_are_left_alone(world: World) -> None:
    async with controllers(world, MIRRORING):
        await world.create(service())
        await world.create(kept(subset("10.0.0.1")))
        alone = kept(subset("10.0.0.1"))
        alone.metadata.name = "alone"
        await world.create(alone)
        skipped = kept(subset("10.0.0.1"), **{"endpointslice.kubernetes.io/skip-mirror": "true"})
        skipped.metadata.name = "skipped"
        await world.create(service("skipped", selector={}))
        await world.create(skipped)
        await rest()
        assert world.all(EndpointSlice) == []
