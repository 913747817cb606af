import dns.message
import dns.rcode
import pytest

from api.meta import Key, PartialObject
from api.types import ObjectMeta
from cluster_dns.answers import Answers
from cluster_dns.following import Follower
from cluster_dns.forwarding import Forwarder
from cluster_dns.names import Names
from cluster_dns.records import Layout
from machinery.testing import settle
from tests.unit.cluster_dns.objects import endpoint, service, slice_of
from tests.unit.cluster_dns.worlds import View

WEB = "web.default.svc.cluster.local."


class World:
    def __init__(self) -> None:
        self.services, self.slices, self.namespaces = View(), View(), View()
        self.names = Names(Layout())
        self.answers = Answers(self.names, Forwarder([]))
        Follower(self.services, self.slices, self.namespaces, self.names, self.answers)  # type: ignore[arg-type]

    def answered(self, name: str) -> str:
        """What whoever asks for its address is told, the first time or again."""
        wire = self.answers.at_once(dns.message.make_query(name, "A").to_wire(), datagram=True)
        assert wire
        return dns.rcode.to_text(dns.message.from_wire(wire).rcode())

    def addresses(self, name: str) -> list[str] | None:
        found = self.names.find(name, "A")
        assert found is not None
        return [owned.record.data for owned in found.answer] if found.exists else None


@pytest.fixture
def world() -> World:
    return World()


async def test_a_service_and_its_slices_may_come_in_any_order(world: World) -> None:
    world.slices.put(slice_of(endpoint("10.244.0.2")))
    await settle()
    assert world.addresses(WEB) is None
    world.services.put(service(ip="None"))
    await settle()
    assert world.addresses(WEB) == ["10.244.0.2"]


async def test_a_slice_that_changes_or_goes_takes_its_addresses_along(world: World) -> None:
    world.services.put(service(ip="None"))
    world.slices.put(slice_of(endpoint("10.244.0.2")))
    world.slices.put(slice_of(endpoint("10.244.0.3"), name="web-2"))
    await settle()
    assert world.addresses(WEB) == ["10.244.0.2", "10.244.0.3"]
    world.slices.put(slice_of(endpoint("10.244.0.2", ready=False)))
    await settle()
    assert world.addresses(WEB) == ["10.244.0.3"]
    world.slices.drop(Key("default", "web-2"))
    await settle()
    assert world.addresses(WEB) is None


async def test_a_service_that_cannot_be_told_keeps_no_other_from_its_name(world: World) -> None:
    names = [f"web{n}" for n in range(20)]
    for each in names:
        world.services.put(service(each, "10.96.0.7"))
    world.services.put(service("bad", "None"))
    world.slices.put(slice_of(endpoint("2001:db8::1%eth0"), of="bad", family="IPv6"))
    await settle()
    assert [world.addresses(f"{each}.default.svc.cluster.local.") for each in names] == [["10.96.0.7"]] * 20


async def test_a_service_is_not_mixed_up_with_a_namespace(world: World) -> None:
    world.namespaces.put(PartialObject(metadata=ObjectMeta(name="shop")))
    world.services.put(service("shop", namespace="namespace"))
    await settle()
    assert world.addresses("10-244-0-7.shop.pod.cluster.local.") == ["10.244.0.7"]
    assert world.addresses("shop.namespace.svc.cluster.local.") == ["10.96.0.7"]
    world.services.drop(Key("namespace", "shop"))
    await settle()
    assert world.addresses("10-244-0-7.shop.pod.cluster.local.") == ["10.244.0.7"]


async def test_a_slice_that_changes_hands_leaves_the_first_service(world: World) -> None:
    for name in ("web", "db"):
        world.services.put(service(name, "None"))
    world.slices.put(slice_of(endpoint("10.244.0.2")))
    await settle()
    world.slices.put(slice_of(endpoint("10.244.0.2"), of="db"))
    await settle()
    assert world.addresses(WEB) is None
    assert world.addresses("db.default.svc.cluster.local.") == ["10.244.0.2"]


async def test_names_of_two_namespaces_live_side_by_side(world: World) -> None:
    world.services.put(service())
    world.services.put(service(ip="10.96.0.8", namespace="shop"))
    world.slices.put(slice_of(endpoint("10.244.0.2"), namespace="shop"))
    await settle()
    assert world.addresses(WEB) == ["10.96.0.7"]
    assert world.addresses("web.shop.svc.cluster.local.") == ["10.96.0.8"]
    assert world.addresses("10-244-0-2.web.default.svc.cluster.local.") is None
    world.services.drop(Key("default", "web"))
    await settle()
    assert world.addresses(WEB) is None


def test_pods_have_names_in_namespaces_that_exist(world: World) -> None:
    name = "10-244-0-7.shop.pod.cluster.local."
    assert world.addresses(name) is None
    shop = PartialObject(metadata=ObjectMeta(name="shop"))
    world.namespaces.put(shop)
    assert world.addresses(name) == ["10.244.0.7"]
    world.namespaces.drop(Key("", "shop"))
    assert world.addresses(name) is None


async def test_a_pods_name_that_was_asked_for_before_comes_and_goes_with_its_namespace(world: World) -> None:
    name = "10-244-0-7.shop.pod.cluster.local."
    assert world.answered(name) == "NXDOMAIN"
    world.namespaces.put(PartialObject(metadata=ObjectMeta(name="shop")))
    assert world.answered(name) == "NOERROR"
    world.namespaces.drop(Key("", "shop"))
    assert world.answered(name) == "NXDOMAIN"


async def test_an_alias_that_was_asked_for_before_leads_to_what_comes_later(world: World) -> None:
    world.services.put(service("alias", "", type="ExternalName", externalName=WEB))
    await settle()
    assert world.answered("alias.default.svc.cluster.local.") == "NXDOMAIN"
    world.services.put(service())
    await settle()
    assert world.answered("alias.default.svc.cluster.local.") == "NOERROR"
