"""Hints by `trafficDistribution` and by the annotation, the cases of upstream's trafficdist_test and topologycache_test."""

from collections import Counter

import pytest

from api import meta
from api.meta import Key
from api.types import EndpointSlice, Node, NodeCondition, NodeStatus, ObjectMeta, Pod
from controller_manager.service_backends import backends
from controller_manager.slices import Changes, plan
from controller_manager.topology_hints import Zones, near, rewrite, wants_zones
from tests.unit.controller_manager.making import pod, service

KEY = Key("default", "web")


def zone_of(node: str) -> str:
    return node.partition("-")[0]


def pods(**counts: int) -> list[Pod]:
    """So many ready pods in each zone, on a node of their own."""
    found = []
    for z, (zone, count) in enumerate(counts.items()):
        for i in range(count):
            made = pod(f"{zone}-{i}", ip=f"10.244.{z}.{i + 1}", ready=True)
            made.spec.nodeName = f"{zone}-{i}"
            found.append(made)
    return found


def planned(found: list[Pod], current: list[EndpointSlice]) -> Changes:
    return plan(service(), backends(service(), found), current, zone_of)


def written(changes: Changes, current: list[EndpointSlice] | None = None) -> list[EndpointSlice]:
    """The slices afterwards, as the server would have named them."""
    for i, s in enumerate(changes.create):
        s.metadata.name = f"new-{i}"
    names = {s.metadata.name for s in (*changes.update, *changes.delete)}
    return [*changes.create, *changes.update, *(s for s in current or [] if s.metadata.name not in names)]


def hints(slices: list[EndpointSlice]) -> list[tuple[list[str | None], list[str | None]] | None]:
    return [
        None if e.hints is None else ([z.name for z in e.hints.forZones], [n.name for n in e.hints.forNodes])
        for s in slices
        for e in s.endpoints
    ]


@pytest.mark.parametrize(
    ("distribution", "expected"),
    [
        ("", None),
        ("PreferClose", (["a"], [])),
        ("PreferSameZone", (["a"], [])),
        ("PreferSameNode", (["a"], ["a-0"])),
    ],
)
def test_ready_endpoints_are_for_their_own_zone_and_node(distribution: str, expected: object) -> None:
    ready, unready = pods(a=1), pods(b=1)
    meta.condition(unready[0], "Ready").status = "False"  # type: ignore[union-attr]
    changes = planned(ready + unready, [])
    rewrite(changes, [], near(distribution))
    assert hints(changes.create) == [expected, None]


def test_a_changed_wish_rewrites_slices_that_would_not_be_written_otherwise() -> None:
    found = pods(a=2)
    current = written(planned(found, []))
    changes = planned(found, current)
    assert changes == Changes()
    rewrite(changes, current, near("PreferClose"))
    assert hints(changes.update) == [(["a"], [])] * 2
    assert hints(current) == [None] * 2, "what the informer has is not to be changed"
    current = written(changes, current)
    again = planned(found, current)
    rewrite(again, current, near("PreferClose"))
    assert again == Changes()
    gone = planned(found, current)
    rewrite(gone, current, near(""))
    assert hints(gone.update) == [None] * 2


def nodes(**cpus: str) -> list[Node]:
    return [
        Node(
            metadata=ObjectMeta(name=zone, labels={"topology.kubernetes.io/zone": zone}),
            status=NodeStatus(allocatable={"cpu": cpu}, conditions=[NodeCondition(type="Ready", status="True")]),
        )
        for zone, cpu in cpus.items()
    ]


def shared(zones: Zones, found: list[Pod], current: list[EndpointSlice] | None = None):  # type: ignore[no-untyped-def]
    """How many endpoints are for each zone, and what was told."""
    changes = planned(found, current or [])
    told = zones.share(KEY, "IPv4", changes, current or [])
    after = written(changes, current)
    return Counter(h[0][0] if h else None for h in hints(after)), told, after


def zones(**cpus: str) -> Zones:
    made = Zones()
    made.set_nodes(nodes(**cpus))
    return made


@pytest.mark.parametrize(
    ("cpus", "counts", "expected"),
    [
        ({"a": "1", "b": "1"}, {"a": 2, "b": 2}, {"a": 2, "b": 2}),
        ({"a": "1", "b": "1"}, {"a": 4}, {"a": 2, "b": 2}),
        ({"a": "1", "b": "1"}, {"a": 4, "b": 3}, {"a": 4, "b": 3}),
        ({"a": "1000m", "b": "1", "c": "2"}, {"a": 4, "b": 4}, {"a": 2, "b": 2, "c": 4}),
        ({"a": "4", "b": "1"}, {"a": 1, "b": 9}, {"a": 8, "b": 2}),
    ],
)
def test_zones_share_endpoints_by_their_cpus(
    cpus: dict[str, str], counts: dict[str, int], expected: dict[str, int]
) -> None:
    found, told, _ = shared(zones(**cpus), pods(**counts))
    assert found == expected
    assert [t.reason for t in told] == ["TopologyAwareHintsEnabled"]


@pytest.mark.parametrize(
    ("cpus", "counts", "why"),
    [
        ({"a": "1"}, {"a": 4}, "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"),
        ({"a": "1", "b": "0"}, {"a": 4}, "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"),
        ({"a": "1", "b": "1", "c": "1"}, {"a": 2}, "Insufficient number of endpoints (2 endpoints, 3 zones)"),
        ({"a": "1", "b": "4"}, {"a": 2}, "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold (2 endpoints, 2 zones)"),
        ({"a": "1", "b": "1"}, {"": 4}, "One or more endpoints do not have a zone specified"),
    ],
)  # fmt: skip
def test_what_cannot_be_shared_has_no_hints_and_an_event_says_why(
    cpus: dict[str, str], counts: dict[str, int], why: str
) -> None:
    found, told, _ = shared(zones(**cpus), pods(**counts))
    assert found == {None: sum(counts.values())}
    [said] = told
    assert said == ("Warning", "TopologyAwareHintsDisabled", f"{why}, addressType: IPv4")


def test_what_is_shared_well_enough_stays_and_is_told_once() -> None:
    made, found = zones(a="1", b="1"), pods(a=4, b=4)
    _, _, current = shared(made, found)
    changes = planned(found, current)
    assert made.share(KEY, "IPv4", changes, current) == []
    assert changes == Changes()


def test_a_changed_cluster_calls_for_services_that_are_too_thin_in_a_zone() -> None:
    made, found = zones(a="1", b="1"), pods(a=4, b=4)
    _, _, current = shared(made, found)
    assert made.overloaded() == []
    made.set_nodes(nodes(a="1", b="5"))
    assert made.overloaded() == [KEY]
    after, _, _ = shared(made, found, current)
    assert after["b"] >= 6
    assert made.overloaded() == []
    assert made.forget(KEY)
    assert not made.forget(KEY)


def test_the_older_annotation_goes_first() -> None:
    of = service()
    assert not wants_zones(of)
    of.metadata.annotations = {"service.kubernetes.io/topology-mode": "Auto"}
    assert wants_zones(of)
    of.metadata.annotations["service.kubernetes.io/topology-aware-hints"] = "Disabled"
    assert not wants_zones(of)
