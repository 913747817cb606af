"""What stands behind a service, in both of its forms."""

from typing import Any

import pytest

from api import meta
from api.types import Endpoints, EndpointSlice, Event, Pod, PodStatus, Service, ServicePort
from controller_manager.service_backends import backends
from controller_manager.slices import CAPACITY, Changes, plan
from machinery.testing import settle
from tests.unit.controller_manager.making import make_ready, node, pod, service
from tests.unit.controller_manager.worlds import World, controllers, rest

BOTH = ("endpoints-controller", "endpointslice-controller")


def behind(*pods: Pod, **spec: Any) -> list[Any]:
    return backends(service(**spec), pods)


def planned(svc: Service, pods: list[Pod], current: list[EndpointSlice] | None = None) -> Changes:
    return plan(svc, backends(svc, pods), current or [], lambda name: "")


def many(count: int, first: int = 0) -> list[Pod]:
    return [pod(f"p{n:04d}", ip=f"10.244.{n // 250}.{n % 250}", ready=True) for n in range(first, first + count)]


# What a pod is to a service


def test_a_pod_without_an_address_or_with_nothing_more_to_do_is_not_behind_it() -> None:
    assert behind(pod(ready=True), pod(ip="10.0.0.1", phase="Succeeded"), pod(ip="10.0.0.2", phase="Failed")) == []


def test_a_named_port_is_what_each_pod_calls_by_that_name() -> None:
    (found,) = behind(pod(ip="10.0.0.1", ready=True), target="http")
    assert found.ports[0].port == 8080
    (unnamed,) = behind(pod(ip="10.0.0.1", ready=True), target="grpc")
    assert unnamed.ports == ()


@pytest.mark.parametrize(
    ("ready", "deleted", "publish", "expected"),
    [
        (True, False, False, (True, True, False)),
        (False, False, False, (False, False, False)),
        (True, True, False, (False, True, True)),
        (False, False, True, (True, False, False)),
    ],
)
def test_conditions_tell_ready_serving_and_terminating_apart(
    ready: bool, deleted: bool, publish: bool, expected: tuple[bool, bool, bool]
) -> None:
    p = pod(ip="10.0.0.1", ready=ready)
    p.metadata.deletionTimestamp = "2026-11-23T12:00:00Z" if deleted else ""
    (found,) = behind(p, publishNotReadyAddresses=publish)
    assert (found.ready, found.serving, found.terminating) == expected


def test_a_hostname_counts_only_under_its_own_subdomain() -> None:
    (found,) = behind(pod(ip="10.0.0.1", hostname="a", subdomain="web"))
    assert found.hostname == "a"
    (other,) = behind(pod(ip="10.0.0.1", hostname="a", subdomain="elsewhere"))
    assert other.hostname == ""


# Slices


def test_a_service_without_pods_has_one_empty_slice() -> None:
    svc = service()
    changes = planned(svc, [])
    (placeholder,) = changes.create
    assert (placeholder.endpoints, placeholder.ports) == ([], [])
    again = planned(svc, [], [placeholder])
    assert (again.create, again.update, again.delete) == ([], [], [])


def test_the_empty_slice_becomes_the_first_one_with_endpoints_and_back() -> None:
    svc = service()
    (placeholder,) = planned(svc, []).create
    changes = planned(svc, many(1), [placeholder])
    assert (changes.create, changes.delete) == ([], [])
    (filled,) = changes.update
    assert filled.ports[0].port == 8080
    (emptied,) = planned(svc, [], [filled]).update
    assert (emptied.endpoints, emptied.ports) == ([], [])


def test_no_slice_holds_more_than_a_hundred() -> None:
    changes = planned(service(), many(250))
    assert [len(s.endpoints) for s in changes.create] == [CAPACITY, CAPACITY, 50]


def test_one_new_pod_changes_one_slice() -> None:
    svc = service()
    slices = planned(svc, many(250)).create
    changes = planned(svc, many(251), slices)
    assert (changes.create, changes.delete) == ([], [])
    assert [len(s.endpoints) for s in changes.update] == [51]


def test_new_pods_fill_the_slice_that_changes_anyway() -> None:
    svc = service()
    slices = planned(svc, many(250)).create
    changes = planned(svc, [*many(249), *many(1, first=300)], slices)
    assert len(changes.update) == 1
    assert (changes.create, changes.delete) == ([], [])


def test_pods_with_different_ports_are_in_different_slices() -> None:
    odd = pod("odd", ip="10.0.0.9", ready=True)
    odd.spec.containers[0].ports[0].containerPort = 9090
    changes = planned(service(target="http"), [odd, *many(2)])
    assert sorted((s.ports[0].port, len(s.endpoints)) for s in changes.create) == [(8080, 2), (9090, 1)]


def test_nothing_to_change_changes_nothing() -> None:
    svc = service()
    slices = planned(svc, many(150)).create
    changes = planned(svc, many(150), slices)
    assert (changes.create, changes.update, changes.delete) == ([], [], [])


# The controllers


async def test_both_forms_follow_the_pods(world: World) -> None:
    await world.create(node(**{"topology.kubernetes.io/zone": "north"}))
    p = pod("a", ip="10.244.0.5", ready=True)
    await world.create(p)
    async with controllers(world, *BOTH):
        svc = service()
        svc.metadata.labels = {"team": "blue"}
        await world.create(svc)
        await rest()
        (s,) = world.all(EndpointSlice)
        assert s.metadata.labels == {
            "team": "blue", "kubernetes.io/service-name": "web",
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        }  # fmt: skip
        assert meta.controller_of(s).name == "web"
        (e,) = s.endpoints
        assert (e.addresses, e.nodeName, e.zone, e.targetRef.name) == (["10.244.0.5"], "node1", "north", "a")
        assert (e.conditions.ready, e.conditions.serving, e.conditions.terminating) == (True, True, False)
        old = world.one(Endpoints, "web")
        assert old.metadata.labels == {"team": "blue", "endpoints.kubernetes.io/managed-by": "endpoint-controller"}
        assert [(a.ip, a.targetRef.name) for a in old.subsets[0].addresses] == [("10.244.0.5", "a")]
        assert [(q.name, q.port, q.protocol) for q in old.subsets[0].ports] == [("http", 8080, "TCP")]

        await make_ready(world, world.one(Pod, "a"), ready=False)
        fresh = world.one(Pod, "a")
        fresh.status.podIP = "10.244.0.5"
        await world.update_status(fresh)
        await rest()
        assert not world.all(EndpointSlice)[0].endpoints[0].conditions.ready
        subset = world.one(Endpoints, "web").subsets[0]
        assert (subset.addresses, [a.ip for a in subset.notReadyAddresses]) == ([], ["10.244.0.5"])

        await world.delete(Service, "web", "default")
        await rest()
        assert world.all(Endpoints) == []


async def test_slices_tell_when_their_cause_happened(world: World) -> None:
    name = "endpoints.kubernetes.io/last-change-trigger-time"
    p = pod("a", ip="10.244.0.5", ready=True)
    await world.create(node())
    await world.create(p)
    async with controllers(world, *BOTH):
        await world.create(service())
        await rest()
        ready_since = meta.condition(p, "Ready").lastTransitionTime
        assert world.all(EndpointSlice)[0].metadata.annotations[name] <= ready_since
        fresh = world.one(Pod, "a")
        condition = meta.condition(fresh, "Ready")
        condition.status, condition.lastTransitionTime = "False", "2099-01-01T00:00:00Z"
        await world.update_status(fresh)
        await rest()
        assert world.all(EndpointSlice)[0].metadata.annotations[name] == "2099-01-01T00:00:00Z"
        await world.delete(Pod, "a", "default")
        await rest()
        assert name not in world.all(EndpointSlice)[0].metadata.annotations, "nobody has noted when it went"


async def test_hints_follow_the_services_wish(world: World) -> None:
    await world.create(node(**{"topology.kubernetes.io/zone": "north"}))
    await world.create(pod("a", ip="10.244.0.5", ready=True))
    async with controllers(world, *BOTH):
        await world.create(service(trafficDistribution="PreferSameNode"))
        await rest()
        found = world.all(EndpointSlice)[0].endpoints[0].hints
        assert ([z.name for z in found.forZones], [n.name for n in found.forNodes]) == (["north"], ["node1"])
        svc = world.one(Service, "web")
        svc.metadata.annotations = {"service.kubernetes.io/topology-mode": "Auto"}
        await world.update(svc)
        await rest()
        assert world.all(EndpointSlice)[0].endpoints[0].hints is None, "the annotation goes first, and one zone is none"
        assert [e.reason for e in world.all(Event)] == ["TopologyAwareHintsDisabled"]
        svc = world.one(Service, "web")
        svc.metadata.annotations, svc.spec.trafficDistribution = {}, "PreferClose"
        await world.update(svc)
        await rest()
        found = world.all(EndpointSlice)[0].endpoints[0].hints
        assert ([z.name for z in found.forZones], found.forNodes) == (["north"], [])


async def test_services_without_a_selector_are_left_alone(world: World) -> None:
    async with controllers(world, *BOTH):
        await world.create(service(selector={}))
        await rest()
        assert world.all(Endpoints) == world.all(EndpointSlice) == []


async def test_late_informers_never_cause_a_second_slice(world: World) -> None:
    async with controllers(world, *BOTH):
        await world.create(service())
        await rest(1)
        world.deaf = True
        await rest()
        svc = world.one(Service, "web")
        svc.metadata.labels = {"touched": "yes"}
        await world.update(svc)
        await world.hear_again()
        await rest()
        assert len(world.all(EndpointSlice)) == 1


async def test_a_slice_that_went_before_its_creation_was_answered_is_not_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = world.create

    async def slow(obj: Any, **options: Any) -> Any:
        created = await create(obj, **options)
        if isinstance(obj, EndpointSlice):
            monkeypatch.undo()
            await world.finish(EndpointSlice, created.metadata.name)
            await settle()
        return created

    monkeypatch.setattr(world, "create", slow)
    await world.create(pod("a", ip="10.244.0.1", ready=True))
    async with controllers(world, *BOTH):
        await world.create(service())
        await rest(30)
        assert len(world.all(EndpointSlice)) == 1


async def test_changes_that_do_not_matter_write_nothing(world: World) -> None:
    await world.create(pod("a", ip="10.244.0.5", ready=True))
    async with controllers(world, *BOTH):
        await world.create(service())
        await rest()
        before = len(world.writes)
        p = world.one(Pod, "a")
        p.status = PodStatus(phase="Running", podIP=p.status.podIP, conditions=p.status.conditions, message="hello")
        await world.update_status(p)
        await rest()
        assert len(world.writes) == before + 1


async def test_a_headless_service_without_ports_still_names_its_pods(world: World) -> None:
    await world.create(pod("a", ip="10.244.0.5", ready=True))
    async with controllers(world, *BOTH):
        await world.create(service(headless=True, ports=[]))
        await rest()
        (s,) = world.all(EndpointSlice)
        assert [e.addresses for e in s.endpoints] == [["10.244.0.5"]]
        assert s.metadata.labels["service.kubernetes.io/headless"] == ""
        assert [a.ip for a in world.one(Endpoints, "web").subsets[0].addresses] == ["10.244.0.5"]


async def test_a_port_that_no_pod_offers_leaves_the_others(world: World) -> None:
    ports = [ServicePort(name="a", port=1, targetPort="http"), ServicePort(name="b", port=2, targetPort="none")]
    (found,) = behind(pod(ip="10.0.0.1", ready=True), ports=ports)
    assert [p.name for p in found.ports] == ["a"]
