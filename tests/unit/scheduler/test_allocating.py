"""Which devices of a node claims get."""

from collections.abc import Iterable
from typing import Any

import pytest

from api.types import (
    AllocationResult,
    CapacityRequestPolicy,
    CapacityRequestPolicyRange,
    DeviceClaimConfiguration,
    DeviceClass,
    DeviceClassConfiguration,
    DeviceTaint,
    DeviceToleration,
    NodeSelector,
    OpaqueDeviceConfiguration,
    ResourceSlice,
    ResourceV1ResourceClaim,
)
from scheduler.allocating import INVALID, TIMED_OUT, Refused, allocate
from scheduler.device_requests import Failed, asked
from scheduler.device_results import result
from scheduler.devices import Devices
from scheduler.pools import Place
from tests.unit.scheduler.device_objects import (
    DRIVER,
    allocation,
    alternative,
    claim,
    device,
    device_class,
    different,
    first_of,
    labelled,
    named,
    request,
    same,
    slice_of,
)

HERE, ZONE = "here", "west"
LARGE = f'device.attributes["{DRIVER}"].size >= 2'


def place(name: str = HERE, zone: str = ZONE) -> Place:
    def fulfils(selector: NodeSelector) -> bool:
        (term,) = selector.nodeSelectorTerms
        return all(zone in r.values for r in term.matchExpressions) and all(name in r.values for r in term.matchFields)

    return Place(name, fulfils)


def known(
    slices: Iterable[ResourceSlice], held: Iterable[ResourceV1ResourceClaim] = (), classes: Iterable[DeviceClass] = ()
) -> Devices:  # fmt: skip
    devices = Devices()
    for each in slices:
        devices.set_slice(each)
    for device_class_ in (device_class(), *classes):
        devices.set_class(device_class_)
    for other in held:
        devices.set_claim(other)
    return devices


def found(
    claims: Iterable[ResourceV1ResourceClaim], devices: Devices, on: Place | None = None
) -> list[AllocationResult] | None:  # fmt: skip
    on = on or place()
    asks = [asked(c, devices.classes) for c in claims]
    solution = allocate(asks, devices.pools(on), devices.taken, devices.selectors)
    if solution is None:
        return None
    return [result(a, p, c, on, lambda: "share") for a, p, c in zip(asks, *solution, strict=True)]


def given(claims: Any, slices: Any, held: Any = (), classes: Any = (), on: Place | None = None) -> str | None:
    """The devices of each claim: request=pool/device …; claims are parted by semicolons. None: there is no way."""
    results = found(claims, known(slices, held, classes), on)
    if results is None:
        return None
    return "; ".join(
        " ".join(f"{r.request}={r.pool}/{r.device}" for r in each.devices.results) for each in results if each.devices
    )


def sized(**sizes: int) -> ResourceSlice:
    return slice_of(*(device(name, {"size": size}) for name, size in sizes.items()), node=HERE)


def taken(*devices: str, name: str = "other", pool: str = HERE, **more: Any) -> ResourceV1ResourceClaim:
    return claim(name, allocation=allocation(*devices, on=HERE, pool=pool, **more))


ABC = slice_of("a", "b", "c", node=HERE)
NUMA = slice_of(*(device(f"d{i}", {"numa": i // 2, "card": i % 2}) for i in range(4)), node=HERE)


@pytest.mark.parametrize(
    ("claims", "slices", "held", "expected"),
    [
        pytest.param([claim()], [], (), None, id="there are no devices"),
        pytest.param([claim()], [ABC], (), "r=here/a", id="the first one"),
        pytest.param([claim("c", request(count=2))], [ABC], (), "r=here/a r=here/b", id="two"),
        pytest.param([claim("c", request(count=4))], [ABC], (), None, id="more than there are"),
        pytest.param([claim()], [ABC], [taken("a", "b")], "r=here/c", id="the first one that is free"),
        pytest.param([claim()], [ABC], [taken("a", "b", "c")], None, id="all are taken"),
        pytest.param([claim()], [ABC], [taken("a", adminAccess=True)], "r=here/a", id="administration takes nothing"),
        pytest.param(
            [claim("c", request(count=2), request("q"))], [ABC], (), "r=here/a r=here/b q=here/c", id="two requests"
        ),
        pytest.param([claim("c"), claim("d")], [ABC], (), "r=here/a; r=here/b", id="two claims"),
        pytest.param([claim("c", request("r", 1, LARGE))], [sized(a=1, b=2)], (), "r=here/b", id="a selector"),
        pytest.param(
            [claim("c", request("any"), request("large", 1, LARGE))], [sized(a=2, b=1)], (),
            "any=here/b large=here/a", id="the first request leaves the second what it needs",
        ),
        pytest.param(
            [claim("c"), claim("d", request("large", 1, LARGE))], [sized(a=2, b=1)], (), "r=here/b; large=here/a",
            id="so does the first claim",
        ),
        pytest.param([claim("c", request(of="other"))], [ABC], (), None, id="a class that selects others"),
        pytest.param(
            [claim()], [slice_of("z", node=HERE, pool="p2"), slice_of("y", node=HERE, pool="p1")], (), "r=p1/y",
            id="pools by name",
        ),
        pytest.param(
            [claim()],
            [slice_of("z", node=HERE, name="s2", count=2), slice_of("y", node=HERE, name="s1", count=2)], (),
            "r=here/y", id="slices by name",
        ),
        pytest.param([claim()], [slice_of("z", node="there")], (), None, id="devices of another node"),
        pytest.param([claim()], [slice_of("z", pool="p", allNodes=True)], (), "r=p/z", id="devices of all nodes"),
        pytest.param(
            [claim()], [slice_of("z", pool="p", nodeSelector=labelled("zone", ZONE))], (), "r=p/z",
            id="devices of nodes like this one",
        ),
        pytest.param(
            [claim()], [slice_of("z", pool="p", nodeSelector=labelled("zone", "east"))], (), None,
            id="devices of other nodes",
        ),
        pytest.param(
            [claim()],
            [slice_of(device("x", nodeName="there"), device("y", nodeName=HERE), pool="p", perDeviceNodeSelection=True)],
            (), "r=p/y", id="each device says itself where it is",
        ),
        # Pools
        pytest.param(
            [claim()], [slice_of("old", node=HERE, name="s1"), slice_of("new", node=HERE, name="s2", generation=2)], (),
            "r=here/new", id="the newest generation",
        ),
        pytest.param(
            [claim()], [slice_of("old", node=HERE, name="s1", pool="p"), slice_of("new", node="there", name="s2", pool="p", generation=2)],
            (), None, id="a generation that is over, as a slice elsewhere says",
        ),
        pytest.param([claim()], [slice_of("a", node=HERE, count=2)], (), None, id="a pool that is not complete"),
        pytest.param(
            [claim()],
            [slice_of("a", node=HERE, pool="p", name="s1", count=2), slice_of("b", node="there", pool="p", name="s2", count=2)],
            (), "r=p/a", id="a pool that is complete with what is elsewhere",
        ),
        pytest.param(
            [claim()], [slice_of("a", node=HERE, pool="p", count=2), slice_of("b", node=HERE)], (), "r=here/b",
            id="another pool is complete",
        ),
        # All devices
        pytest.param(
            [claim("c", request(every=True))], [ABC], (), "r=here/a r=here/b r=here/c", id="all"
        ),
        pytest.param([claim("c", request(every=True))], [ABC], [taken("b")], None, id="not all are free"),
        pytest.param([claim("c", request(every=True))], [], (), None, id="all of none"),
        pytest.param(
            [claim("c", request("r", 1, LARGE, every=True))], [sized(a=1, b=2, c=3)], (), "r=here/b r=here/c",
            id="all that are selected",
        ),
        pytest.param([claim("c", request("r"), request("q", every=True))], [ABC], (), None, id="one, and then all"),
        # Administration
        pytest.param(
            [claim("c", request(adminAccess=True))], [ABC], [taken("a")], "r=here/a", id="administration of what is taken"
        ),
        pytest.param(
            [claim("c", request(every=True, adminAccess=True))], [ABC], [taken("a")], "r=here/a r=here/b r=here/c",
            id="administration of all",
        ),
        pytest.param(
            [claim("c", request("r", adminAccess=True), request("q", adminAccess=True))], [ABC], (),
            "r=here/a q=here/b", id="never one device twice in a claim",
        ),
        # Alternatives
        pytest.param(
            [claim("c", first_of("r", alternative("two", 2, LARGE), alternative("one")))], [sized(a=2, b=1)], (),
            "r/one=here/a", id="the second alternative",
        ),
        pytest.param(
            [claim("c", first_of("r", alternative("two", 2, LARGE), alternative("one")))], [sized(a=2, b=2)], (),
            "r/two=here/a r/two=here/b", id="the first alternative",
        ),
        pytest.param(
            [claim("c", first_of("r", alternative("two", 2), alternative("one")), request("q", 2))], [ABC], (),
            "r/one=here/a q=here/b q=here/c", id="an alternative that leaves enough for what follows",
        ),
        pytest.param(
            [claim("c", first_of("r", alternative("two", 2)), request("q", 2))], [ABC], (), None, id="no alternative does",
        ),
        pytest.param(
            [claim("c", request("r", 3), first_of("q", alternative("most", 30), alternative("few", 2)))],
            [slice_of(*(f"d{i:02}" for i in range(40)), node=HERE)], (),
            "r=here/d00 r=here/d01 r=here/d02 q/few=here/d03 q/few=here/d04",
            id="an alternative that keeps within what a claim may have",
        ),
        # Constraints
        pytest.param(
            [claim("c", request(count=2), constraints=[same("numa")])], [NUMA], [taken("d0")], "r=here/d2 r=here/d3",
            id="the same attribute",
        ),
        pytest.param(
            [claim("c", request("r"), request("q"), constraints=[different("numa")])], [NUMA], (),
            "r=here/d0 q=here/d2", id="different attributes",
        ),
        pytest.param(
            [claim("c", request("r"), request("q"), request("s"), constraints=[same("numa", "r", "q")])], [NUMA],
            [taken("d0")], "r=here/d2 q=here/d3 s=here/d1", id="a constraint of some requests",
        ),
        pytest.param(
            [claim("c", request(count=2), constraints=[same("numa"), different("card")])], [NUMA], (),
            "r=here/d0 r=here/d1", id="two constraints",
        ),
        pytest.param(
            [claim("c", request(count=2), constraints=[same("numa")])], [ABC], (), None, id="devices without the attribute"
        ),
        pytest.param(
            [claim("c", first_of("r", alternative("pair", 2), alternative("one")), constraints=[same("numa", "r/pair")])],
            [NUMA], [taken("d0", "d2")], "r/one=here/d1", id="a constraint of one alternative",
        ),
        pytest.param(
            [claim("c", constraints=[same("numa")]), claim("d", constraints=[different("numa")])], [NUMA], (),
            "r=here/d0; r=here/d1", id="constraints of each claim for itself",
        ),
    ],
)  # fmt: skip
def test_claims_get_the_first_devices_that_serve_all_of_them(
    claims: Any, slices: Any, held: Any, expected: str | None
) -> None:
    others = device_class("other", 'device.driver == "other.example.com"')
    assert given(claims, slices, held, [others]) == expected


def test_an_attribute_may_be_named_with_the_domain_of_the_driver_or_without() -> None:
    slices = [slice_of(device("a", {"numa": 1}), device("b", {f"{DRIVER}/numa": 1}), node=HERE)]
    assert given([claim("c", request(count=2), constraints=[same("numa")])], slices) == "r=here/a r=here/b"


NO_SCHEDULE = DeviceTaint(key="broken", value="fan", effect="NoSchedule")


@pytest.mark.parametrize(
    ("taint", "tolerations", "served"),
    [
        (NO_SCHEDULE, [], False),
        (DeviceTaint(key="broken", effect="NoExecute"), [], False),
        (DeviceTaint(key="broken", effect="None"), [], True),
        (NO_SCHEDULE, [DeviceToleration(operator="Exists")], True),
        (NO_SCHEDULE, [DeviceToleration(key="broken", operator="Exists")], True),
        (NO_SCHEDULE, [DeviceToleration(key="broken", operator="Equal", value="fan", effect="NoSchedule")], True),
        (NO_SCHEDULE, [DeviceToleration(key="broken", value="fan")], True),
        (NO_SCHEDULE, [DeviceToleration(key="broken", operator="Equal", value="disk")], False),
        (NO_SCHEDULE, [DeviceToleration(key="broken", operator="Exists", effect="NoExecute")], False),
        (NO_SCHEDULE, [DeviceToleration(key="other", operator="Exists")], False),
    ],
)
def test_a_tainted_device_is_given_only_to_those_who_tolerate_it(
    taint: DeviceTaint, tolerations: list[DeviceToleration], served: bool
) -> None:
    slices = [slice_of(device("a", taints=[taint]), node=HERE)]
    results = found([claim("c", request(tolerations=tolerations))], known(slices))
    assert (results is not None) is served
    if results is not None:
        assert results[0].devices is not None
        assert results[0].devices.results[0].tolerations == tolerations


# Partitions of one device: each draws on counters that all of the pool share.
def partitions(**memory: str) -> list[ResourceSlice]:
    shared = slice_of(pool="p", name="s0", count=2, shared={"memory": "8Gi"}, allNodes=True)
    parts = (device(name, counters={"memory": amount}) for name, amount in memory.items())
    return [shared, slice_of(*parts, node=HERE, pool="p", name="s1", count=2)]


@pytest.mark.parametrize(
    ("slices", "held", "count", "expected"),
    [
        (partitions(a="4Gi", b="4Gi", c="1Gi"), (), 2, "r=p/a r=p/b"),
        (partitions(a="4Gi", b="4Gi", c="1Gi"), (), 3, None),
        (partitions(a="4Gi", b="6Gi", c="4Gi"), (), 2, "r=p/a r=p/c"),
        (partitions(a="8Gi", b="1Gi", c="1Gi"), (), 2, "r=p/b r=p/c"),
        (partitions(a="6Gi", b="4Gi", c="2Gi"), [taken("a", pool="p")], 1, "r=p/c"),
        (partitions(a="6Gi", b="4Gi"), [taken("a", pool="p")], 1, None),
        (partitions(a="8Gi", b="8Gi", c="1Gi"), [taken("a", "b", pool="p")], 1, None),  # overdrawn
    ],
)
def test_partitions_share_counters(slices: Any, held: Any, count: int, expected: str | None) -> None:
    assert given([claim("c", request(count=count))], slices, held) == expected


def test_what_a_device_of_another_node_draws_is_missing_here() -> None:
    slices = [
        slice_of(pool="p", name="s0", count=3, shared={"memory": "8Gi"}, allNodes=True),
        slice_of(device("a", counters={"memory": "5Gi"}), node=HERE, pool="p", name="s1", count=3),
        slice_of(device("b", counters={"memory": "5Gi"}), node="there", pool="p", name="s2", count=3),
    ]
    assert given([claim()], slices) == "r=p/a"
    assert given([claim()], slices, [taken("b", pool="p")]) is None


# Devices that several may share: each takes some of the capacity.
STEPS = CapacityRequestPolicy(default="1Gi", validRange=CapacityRequestPolicyRange(min="1Gi", max="6Gi", step="2Gi"))
VALUES = CapacityRequestPolicy(default="2Gi", validValues=["2Gi", "4Gi"])


def sharing(policy: CapacityRequestPolicy | None = None) -> ResourceSlice:
    return slice_of(device("a", None, {"memory": "8Gi"}, policy, allowMultipleAllocations=True), node=HERE)


def share(amount: str) -> ResourceV1ResourceClaim:
    return taken("a", shareID="x", consumedCapacity={"memory": amount})


@pytest.mark.parametrize(
    ("policy", "asks", "used", "expected"),
    [
        (None, {}, "", "8Gi"),  # all of it
        (None, {}, "1Gi", None),
        (None, {"memory": "3Gi"}, "", "3Gi"),
        (None, {"memory": "3Gi"}, "5Gi", "3Gi"),
        (None, {"memory": "3Gi"}, "6Gi", None),
        (None, {f"{DRIVER}/memory": "3Gi"}, "", "3Gi"),
        (None, {"bandwidth": "1"}, "", None),
        (STEPS, {}, "", "1Gi"),
        (STEPS, {"memory": "100Mi"}, "", "1Gi"),
        (STEPS, {"memory": "2Gi"}, "", "3Gi"),
        (STEPS, {"memory": "4Gi"}, "", "5Gi"),
        (STEPS, {"memory": "6Gi"}, "", None),  # would be 7Gi
        (VALUES, {}, "", "2Gi"),
        (VALUES, {"memory": "1Gi"}, "", "2Gi"),
        (VALUES, {"memory": "3Gi"}, "", "4Gi"),
        (VALUES, {"memory": "5Gi"}, "", None),
        (VALUES, {"memory": "3Gi"}, "5Gi", None),
    ],
)
def test_a_share_is_rounded_up_and_has_to_be_left(
    policy: CapacityRequestPolicy | None, asks: dict[str, str], used: str, expected: str | None
) -> None:
    held = [share(used)] if used else []
    results = found([claim("c", request(asks=asks))], known([sharing(policy)], held))
    if expected is None:
        assert results is None
        return
    assert results is not None
    assert results[0].devices is not None
    (only,) = results[0].devices.results
    assert (only.device, only.shareID, only.consumedCapacity) == ("a", "share", {"memory": expected})


def test_requests_may_share_a_device_but_one_request_has_each_device_once() -> None:
    ask = request("r", asks={"memory": "3Gi"}), request("q", asks={"memory": "3Gi"})
    assert given([claim("c", *ask)], [sharing()]) == "r=here/a q=here/a"
    assert given([claim("c", *ask, request("s", asks={"memory": "3Gi"}))], [sharing()]) is None
    assert given([claim("c", request("r", 2, asks={"memory": "1Gi"}))], [sharing()]) is None


def test_a_device_that_nobody_shares_must_have_the_capacity_that_is_asked_for() -> None:
    slices = [slice_of(device("a", None, {"memory": "2Gi"}), device("b", None, {"memory": "4Gi"}), node=HERE)]
    results = found([claim("c", request(asks={"memory": "3Gi"}))], known(slices))
    assert results is not None
    assert results[0].devices is not None
    (only,) = results[0].devices.results
    assert (only.device, only.shareID, only.consumedCapacity) == ("b", "", {})


BROKEN = slice_of(device("a", {"size": 1}), device("b"), node=HERE)


@pytest.mark.parametrize(
    ("claims", "slices", "error"),
    [
        (
            [claim("c", request("r", 1, LARGE))], [BROKEN],
            "claim default/c: selector #0 on device gpu.example.com/here/b: CEL runtime error: no such key: size",
        ),
        ([claim("c", request(of="bad"))], [ABC], "class bad: selector #0 on device gpu.example.com/here/a: CEL compile"),
        (
            [claim("c", request(every=True))], [slice_of("a", node=HERE, count=2)],
            "claim default/c, request r: asks for all devices, but resource pool gpu.example.com/here is currently being updated",
        ),
        (
            [claim("c", request(every=True))], [slice_of("a", "a", node=HERE)],
            "claim default/c, request r: asks for all devices, but resource pool gpu.example.com/here is currently invalid",
        ),
        (
            [claim("c", request(every=True), constraints=[same("numa")])], [NUMA],
            "claim default/c, request r: cannot add device gpu.example.com/here/d2 because a claim constraint would not",
        ),
        (
            [claim("c", request("r", 20), request("q", 20))], [ABC],
            "claim default/c: number of requested devices 40 exceeds the claim limit of 32",
        ),
        ([claim("c", request(of="gone"))], [ABC], "claim default/c, request r: could not retrieve device class gone"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_claim_is_said(claims: Any, slices: Any, error: str) -> None:
    bad = device_class("bad", "device.nonsense")
    with pytest.raises(Failed) as raised:
        given(claims, slices, classes=[bad])
    assert str(raised.value).startswith(error)


def test_a_device_that_is_taken_is_not_asked_whether_it_would_do() -> None:
    assert given([claim("c", request("r", 1, f"{LARGE} || true"))], [BROKEN], [taken("b")]) == "r=here/a"


def test_nothing_is_taken_of_a_pool_that_contradicts_itself() -> None:
    twice = slice_of("a", "a", node=HERE)
    unknown = slice_of(device("a", counters={"memory": "1"}), node=HERE)
    for each in (twice, unknown):
        with pytest.raises(Refused, match=INVALID):
            given([claim()], [each])
        assert given([claim()], [each, slice_of("b", node=HERE, pool="p")]) == "r=p/b"


def test_a_search_ends_some_time() -> None:
    devices = (device(f"d{i:02}", {"numa": i}) for i in range(40))
    requests = [request(f"r{i}") for i in range(12)]
    # All must differ, and the last one must be like the first: no choice of the others helps.
    rules = [different("numa"), same("numa", "r0", "r11")]
    with pytest.raises(Refused, match=TIMED_OUT):
        given([claim("c", *requests, constraints=rules)], [slice_of(*devices, node=HERE)])


def test_devices_that_have_to_be_prepared_are_taken_last_and_say_so() -> None:
    slow = device("a", bindingConditions=["Attached"], bindingFailureConditions=["Failed"])
    slices = [
        slice_of(slow, node=HERE, pool="p1"),
        slice_of(slow, node=HERE, pool="p2", name="s1", count=2),
        slice_of("b", node=HERE, pool="p2", name="s2", count=2),
        slice_of("c", node=HERE, pool="p3"),
    ]
    assert given([claim("c", request(count=4))], slices) == "r=p3/c r=p1/a r=p2/b r=p2/a"
    results = found([claim()], known(slices[:1]))
    assert results is not None
    assert results[0].devices is not None
    (only,) = results[0].devices.results
    assert (only.bindingConditions, only.bindingFailureConditions) == (["Attached"], ["Failed"])


@pytest.mark.parametrize(
    ("slices", "selector"),
    [
        ([ABC], named(HERE)),
        ([slice_of("z", pool="p", allNodes=True)], None),
        ([slice_of("z", pool="p", nodeSelector=labelled("zone", ZONE))], labelled("zone", ZONE)),
        ([slice_of(device("z", nodeName=HERE), pool="p", perDeviceNodeSelection=True)], named(HERE)),
        ([slice_of(device("z", allNodes=True), pool="p", perDeviceNodeSelection=True)], None),
        (
            [slice_of(device("z", nodeSelector=labelled("zone", ZONE)), pool="p", perDeviceNodeSelection=True)],
            labelled("zone", ZONE),
        ),
        ([slice_of(device("z", bindsToNode=True), pool="p", allNodes=True)], named(HERE)),
    ],
)
def test_an_allocation_says_where_its_devices_can_be_reached(
    slices: list[ResourceSlice], selector: NodeSelector | None
) -> None:
    results = found([claim()], known(slices))
    assert results is not None
    assert results[0].nodeSelector == selector


def test_what_two_devices_require_of_nodes_is_required_together_and_once() -> None:
    zone = {"nodeSelector": labelled("zone", ZONE)}
    slices = [slice_of(n, pool=n, **zone) for n in "ab"] + [
        slice_of("c", pool="c", nodeSelector=labelled("rack", ZONE))
    ]
    results = found([claim("c", request(count=3))], known(slices))
    assert results is not None
    assert results[0].nodeSelector is not None
    (term,) = results[0].nodeSelector.nodeSelectorTerms
    assert [(r.key, r.values) for r in term.matchExpressions] == [("zone", [ZONE]), ("rack", [ZONE])]


def test_an_allocation_carries_what_classes_and_the_claim_say_to_drivers() -> None:
    def opaque(text: str) -> OpaqueDeviceConfiguration:
        return OpaqueDeviceConfiguration(driver=DRIVER, parameters={"say": text})

    first = device_class("first", config=[DeviceClassConfiguration(opaque=opaque("first"))])
    second = device_class("second", config=[DeviceClassConfiguration(opaque=opaque("second"))])
    asked_for = claim(
        "c", request("a", of="first"), request("b", of="first"),
        first_of("x", alternative("no", 9), alternative("yes", of="second")),
        config=[
            DeviceClaimConfiguration(opaque=opaque("all")),
            DeviceClaimConfiguration(opaque=opaque("some"), requests=["a"]),
            DeviceClaimConfiguration(opaque=opaque("none"), requests=["x/no"]),
            DeviceClaimConfiguration(opaque=opaque("this"), requests=["x/yes"]),
            DeviceClaimConfiguration(opaque=opaque("either"), requests=["x"]),
        ],
    )  # fmt: skip
    results = found([asked_for], known([ABC], classes=[first, second]))
    assert results is not None
    assert results[0].devices is not None
    said = [(c.source, c.requests, c.opaque.parameters["say"]) for c in results[0].devices.config if c.opaque]
    assert said == [
        ("FromClass", ["a", "b"], "first"), ("FromClass", ["x/yes"], "second"), ("FromClaim", [], "all"),
        ("FromClaim", ["a"], "some"), ("FromClaim", ["x/yes"], "this"), ("FromClaim", ["x"], "either"),
    ]  # fmt: skip


def test_a_config_for_all_requests_names_none() -> None:
    opaque = OpaqueDeviceConfiguration(driver=DRIVER)
    only = device_class("only", config=[DeviceClassConfiguration(opaque=opaque)])
    results = found([claim("c", request("a", of="only"), request("b", of="only"))], known([ABC], classes=[only]))
    assert results is not None
    assert results[0].devices is not None
    assert [c.requests for c in results[0].devices.config] == [[]]


def test_administration_is_said_in_the_result() -> None:
    results = found([claim("c", request(adminAccess=True))], known([ABC]))
    assert results is not None
    assert results[0].devices is not None
    assert [r.adminAccess for r in results[0].devices.results] == [True]


def test_a_claim_that_asks_for_nothing_is_allocated_anywhere() -> None:
    nothing = claim()
    assert nothing.spec.devices is not None
    nothing.spec.devices.requests = []
    assert found([nothing], known([])) == [AllocationResult(devices=allocation().devices)]


def test_a_selector_sees_the_driver_of_the_device() -> None:
    both = [slice_of("a", node=HERE, driver="one.example.com"), slice_of("b", node=HERE, driver="two.example.com")]
    picky = device_class("two", 'device.driver == "two.example.com"')
    assert given([claim("c", request(of="two"))], both, classes=[picky]) == "r=here/b"
