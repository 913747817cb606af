import pytest

from api import meta
from cluster_dns.publishing import NAME, Place, Publisher, service_at
from tests.unit.cluster_dns.worlds import View, Writes

PLACE = Place("10.123.0.50", 53, "10.96.0.10")


class World:
    def __init__(self) -> None:
        self.services, self.slices = View(), View()
        self.client = Writes(Service=self.services, EndpointSlice=self.slices)
        self.publisher = self.at(PLACE)

    def at(self, place: Place) -> Publisher:
        return Publisher(self.client, self.services, self.slices, place)  # type: ignore[arg-type]

    async def settle(self) -> None:
        """The Service first; its appearance asks for the slice."""
        for _ in range(2):
            await self.publisher.reconcile(NAME)


@pytest.fixture
def world() -> World:
    return World()


async def test_the_service_is_made_with_this_server_as_its_endpoint(world: World) -> None:
    await world.settle()
    service = world.services.get(*NAME)
    assert service.spec.clusterIP == "10.96.0.10"
    assert [(p.name, p.protocol, p.port) for p in service.spec.ports] == [("dns", "UDP", 53), ("dns-tcp", "TCP", 53)]
    assert service.metadata.labels["k8s-app"] == "kube-dns"
    found = world.slices.get(*PLACE.slice)
    assert found.metadata.name == "kube-dns-10-123-0-50"
    assert found.endpoints[0].addresses == ["10.123.0.50"]
    assert found.metadata.ownerReferences[0].uid == service.metadata.uid


async def test_a_change_by_others_is_put_right_and_nothing_else_is_written(world: World) -> None:
    await world.settle()
    ours = world.slices.get(*PLACE.slice)
    await world.settle()
    assert world.slices.get(*PLACE.slice) is ours
    broken = meta.clone(ours)
    broken.endpoints = []
    world.slices.put(broken)
    await world.settle()
    assert world.slices.get(*PLACE.slice).endpoints == ours.endpoints


async def test_a_service_made_anew_gets_a_slice_of_its_own(world: World) -> None:
    await world.settle()
    again = service_at(PLACE.service_address)
    again.metadata.uid = "another"
    world.services.put(again)
    await world.settle()
    assert world.slices.get(*PLACE.slice).metadata.ownerReferences[0].uid == "another"


async def test_a_service_with_a_selector_is_left_to_whoever_made_it(world: World) -> None:
    await world.settle()
    theirs = meta.clone(world.services.get(*NAME))
    theirs.spec.selector = {"k8s-app": "kube-dns"}
    world.services.put(theirs)
    await world.settle()
    assert world.slices.objects == {}
    assert world.services.get(*NAME) is theirs


async def test_several_servers_have_a_slice_each(world: World) -> None:
    await world.settle()
    await world.at(Place("10.123.0.51", 53, "10.96.0.10")).reconcile(NAME)
    assert {k.name for k in world.slices.objects} == {"kube-dns-10-123-0-50", "kube-dns-10-123-0-51"}


async def test_a_server_that_goes_is_asked_only_when_no_other_is_there(world: World) -> None:
    await world.settle()
    await world.publisher.leave()
    conditions = world.slices.get(*PLACE.slice).endpoints[0].conditions
    assert (conditions.ready, conditions.serving, conditions.terminating) == (False, True, True)
    await world.settle()
    assert world.slices.get(*PLACE.slice).endpoints[0].conditions.ready


async def test_going_without_ever_having_been_there_is_no_error(world: World) -> None:
    await world.publisher.leave()
    assert world.slices.objects == {}
