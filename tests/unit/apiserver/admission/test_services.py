import random

import pytest

from api import kinds, meta
from api.errors import InternalError, Invalid
from api.types import Condition, IPAddress, ObjectMeta, Service, ServiceCIDR, ServiceCIDRSpec
from apiserver.admission import claims_of
from apiserver.admission.ranges import Addresses, Band, Ports, Unavailable
from apiserver.admission.services import ServiceAddresses
from apiserver.rules import validate, validate_update
from tests.unit.apiserver.admission.worlds import Memory, asking
from tests.unit.apiserver.rules.manifests import made

SERVICES = kinds.of(Service)
RANGE, PORTS = "10.96.0.0/16", "30000-32767"
DUAL = f"{RANGE},fd00:10:96::/112"


async def given(changes=None, *, world=(), ranges=RANGE, ports=PORTS, seed=1) -> Service:
    service = made("Service", changes)
    await ServiceAddresses(Memory(*world), ranges, ports, random.Random(seed)).admit(asking(service), service, None)
    assert validate(SERVICES, service) == []
    return service


async def rewritten(old: Service, changes, *, world=(), ranges=RANGE) -> Service:
    """The old service's manifest, changed and applied again, without what was allocated."""
    service = made("Service", changes)
    plugin = ServiceAddresses(Memory(old, *world), ranges, PORTS, random.Random(3))
    await plugin.admit(asking(service, "update"), service, meta.clone(old))
    assert validate_update(SERVICES, service, old) == []
    return service


async def refused(changes, **more) -> str:
    with pytest.raises(Invalid) as caught:
        await given(changes, **more)
    return caught.value.message


async def test_a_service_gets_an_address_of_the_range_and_its_family():
    spec = (await given()).spec
    assert spec.clusterIP.startswith("10.96.")
    assert (spec.clusterIPs, spec.ipFamilies, spec.ipFamilyPolicy) == ([spec.clusterIP], ["IPv4"], "SingleStack")


async def test_chosen_addresses_stay_out_of_the_lower_band_and_differ():
    world: list[Service] = []
    for seed in range(50):
        world.append(await given({"metadata/name": f"s{seed}"}, world=world, seed=seed % 2))
    chosen = [s.spec.clusterIP for s in world]
    assert len(set(chosen)) == 50
    assert not [ip for ip in chosen if ip.startswith("10.96.0.") or ip == "10.96.1.0"]


async def test_a_requested_address_is_given():
    service = await given({"spec/clusterIP": "10.96.0.10"})
    assert (service.spec.clusterIP, service.spec.clusterIPs) == ("10.96.0.10", ["10.96.0.10"])
    assert claims_of(SERVICES, service) == {"serviceips/10.96.0.10"}


async def test_leading_zeros_of_an_address_say_nothing():
    service = await given({"spec/clusterIP": "10.96.0.010"})
    assert (service.spec.clusterIP, claims_of(SERVICES, service)) == ("10.96.0.010", {"serviceips/10.96.0.10"})
    assert "already allocated" in await refused({"spec/clusterIP": "10.96.000.10"}, world=[service])
    again = await rewritten(service, {"spec/clusterIP": "10.96.0.010"})
    assert again.spec.clusterIPs == ["10.96.0.010"]


async def test_a_requested_address_that_is_taken_is_refused():
    other = await given({"spec/clusterIP": "10.96.0.10"})
    assert await refused({"metadata/name": "t", "spec/clusterIP": "10.96.0.10"}, world=[other]) == (
        'Service "t" is invalid: spec.clusterIPs: Invalid value: ["10.96.0.10"]: failed to allocate IP 10.96.0.10: '
        "provided IP is already allocated"
    )


@pytest.mark.parametrize("address", ["10.97.0.1", "10.96.0.0", "10.96.255.255"])
async def test_a_requested_address_outside_is_refused(address):
    assert await refused({"spec/clusterIP": address}) == (
        f'Service "s" is invalid: spec.clusterIPs: Invalid value: ["{address}"]: failed to allocate IP {address}: '
        f"the provided IP ({address}) is not in the valid range. The range of valid IPs is 10.96.0.0/16"
    )


async def test_an_address_in_bad_form_is_refused():
    assert 'spec.clusterIPs[0]: Invalid value: "x": must be a valid IP address' in await refused(
        {"spec/clusterIP": "x"}
    )


async def test_headless_and_external_services_get_no_address():
    headless = await given({"spec/clusterIP": "None"})
    assert (headless.spec.clusterIPs, headless.spec.ipFamilies) == (["None"], ["IPv4"])
    external = await given({"spec/type": "ExternalName", "spec/externalName": "a.b"})
    assert (external.spec.clusterIP, external.spec.ipFamilies, external.spec.ipFamilyPolicy) == ("", [], "")
    assert claims_of(SERVICES, headless) == claims_of(SERVICES, external) == frozenset()


async def test_a_headless_service_without_a_selector_may_have_endpoints_of_any_family():
    spec = (await given({"spec/clusterIP": "None", "spec/selector": {}})).spec
    assert (spec.ipFamilies, spec.ipFamilyPolicy) == (["IPv4", "IPv6"], "RequireDualStack")


async def test_a_full_range_says_so():
    world = [
        await given({"metadata/name": f"s{i}", "spec/clusterIP": f"10.0.0.{i}"}, ranges="10.0.0.0/30") for i in (1, 2)
    ]
    with pytest.raises(InternalError) as caught:
        await given(world=world, ranges="10.0.0.0/30")
    assert caught.value.message == "Internal error occurred: failed to allocate a serviceIP: range is full"


async def test_two_families():
    spec = (await given({"spec/ipFamilyPolicy": "PreferDualStack"}, ranges=DUAL)).spec
    assert spec.ipFamilies == ["IPv4", "IPv6"]
    assert spec.clusterIPs[1].startswith("fd00:10:96::")
    assert (await given({"spec/ipFamilyPolicy": "PreferDualStack"})).spec.ipFamilies == ["IPv4"]
    assert await refused({"spec/ipFamilyPolicy": "RequireDualStack"}) == (
        'Service "s" is invalid: spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured for '
        "dual-stack services"
    )
    assert 'spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster' in await refused(
        {"spec/ipFamilies": ["IPv6"]}
    )
    assert "IPv6 is not configured on this cluster" in await refused({"spec/clusterIP": "fd00::1"})


async def test_another_spelling_of_an_address_claims_the_same():
    service = await given({"spec/ipFamilies": ["IPv6"], "spec/clusterIP": "FD00:10:96::0:7"}, ranges=DUAL)
    assert claims_of(SERVICES, service) == {"serviceips/fd00:10:96::7"}


# --- node ports


async def test_node_ports_are_chosen_and_claimed():
    service = await given({"spec/type": "NodePort"})
    port = service.spec.ports[0].nodePort
    assert 30086 <= port <= 32767
    assert claims_of(SERVICES, service) == {f"serviceips/{service.spec.clusterIP}", f"nodeports/{port}"}


async def test_one_port_in_two_protocols_gets_one_node_port():
    ports = [{"name": p.lower(), "port": 53, "protocol": p} for p in ("TCP", "UDP")]
    service = await given({"spec/type": "NodePort", "spec/ports": [*ports, {"name": "x", "port": 54}]})
    first, second, third = [p.nodePort for p in service.spec.ports]
    assert first == second != third


@pytest.mark.parametrize(
    ("port", "said"),
    [
        (30001, "provided port is already allocated"),
        (29999, "provided port is not in the valid range. The range of valid ports is 30000-32767"),
    ],
)
async def test_a_requested_node_port_that_cannot_be_given(port, said):
    other = await given(
        {"metadata/name": "o", "spec/type": "NodePort", "spec/ports": [{"port": 80, "nodePort": 30001}]}
    )
    changes = {"spec/type": "NodePort", "spec/ports": [{"port": 80, "nodePort": port}]}
    assert (
        await refused(changes, world=[other])
        == f'Service "s" is invalid: spec.ports[0].nodePort: Invalid value: {port}: {said}'
    )


async def test_load_balancers_can_do_without_node_ports_and_get_a_health_check():
    without = await given({"spec/type": "LoadBalancer", "spec/allocateLoadBalancerNodePorts": False})
    assert without.spec.ports[0].nodePort is None
    local = await given({"spec/type": "LoadBalancer", "spec/externalTrafficPolicy": "Local"})
    assert local.spec.healthCheckNodePort not in (None, local.spec.ports[0].nodePort)
    assert f"nodeports/{local.spec.healthCheckNodePort}" in claims_of(SERVICES, local)


# --- updates


async def test_applying_the_same_manifest_again_keeps_everything():
    old = await given({"spec/type": "NodePort"})
    new = await rewritten(old, {"spec/type": "NodePort"})
    assert new.spec == old.spec


async def test_a_further_port_gets_a_further_node_port():
    old = await given({"spec/type": "NodePort", "spec/ports": [{"port": 80, "name": "a"}]})
    new = await rewritten(
        old, {"spec/type": "NodePort", "spec/ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "b"}]}
    )
    assert new.spec.ports[0].nodePort == old.spec.ports[0].nodePort
    assert claims_of(SERVICES, new) - claims_of(SERVICES, old) == {f"nodeports/{new.spec.ports[1].nodePort}"}


async def test_leaving_the_node_ports_gives_them_back():
    old = await given({"spec/type": "NodePort"})
    new = await rewritten(old, {"spec/ports": [{"port": 80, "nodePort": old.spec.ports[0].nodePort}]})
    assert (new.spec.ports[0].nodePort, new.spec.clusterIP) == (None, old.spec.clusterIP)
    assert claims_of(SERVICES, old) - claims_of(SERVICES, new) == {f"nodeports/{old.spec.ports[0].nodePort}"}


def _balancer(allocate: bool, *node_ports: int | None) -> dict:
    ports = [{"name": f"p{i}", "port": 80 + i, "nodePort": port} for i, port in enumerate(node_ports)]
    return {"spec/type": "LoadBalancer", "spec/allocateLoadBalancerNodePorts": allocate, "spec/ports": ports}


async def test_a_load_balancer_that_asks_for_no_more_node_ports_keeps_those_it_has_until_they_are_taken_out():
    old = await given(_balancer(True, None, None))
    held = [p.nodePort for p in old.spec.ports]
    kept = await rewritten(old, {**_balancer(False, *held), "spec/externalTrafficPolicy": "Cluster"})
    assert [p.nodePort for p in kept.spec.ports] == held
    assert kept.spec.externalTrafficPolicy == "Cluster"
    less = await rewritten(kept, _balancer(False, None, held[1]))
    assert [p.nodePort for p in less.spec.ports] == [None, held[1]]
    assert claims_of(SERVICES, kept) - claims_of(SERVICES, less) == {f"nodeports/{held[0]}"}


async def test_what_comes_from_outside_to_a_cluster_ip_goes_when_its_addresses_do():
    old = await given({"spec/externalIPs": ["1.2.3.4"]})
    assert old.spec.externalTrafficPolicy == "Cluster"
    assert (await rewritten(old, {"spec/externalTrafficPolicy": "Cluster"})).spec.externalTrafficPolicy == ""


async def test_what_leads_to_a_name_has_no_policy_for_traffic_from_inside():
    external = {"spec/type": "ExternalName", "spec/externalName": "a.b", "spec/internalTrafficPolicy": "Cluster"}
    assert (await given(external)).spec.internalTrafficPolicy == ""
    assert (await rewritten(await given(), external)).spec.internalTrafficPolicy == ""
    with pytest.raises(AssertionError, match=r"spec\.internalTrafficPolicy.*Elsewhere"):
        await given({**external, "spec/internalTrafficPolicy": "Elsewhere"})


async def test_becoming_external_gives_the_address_back_and_the_way_back_takes_one():
    old = await given()
    away = await rewritten(
        old, {"spec/type": "ExternalName", "spec/externalName": "a.b", "spec/clusterIP": old.spec.clusterIP}
    )
    assert claims_of(SERVICES, away) == frozenset()
    back = await rewritten(away, {})
    assert back.spec.clusterIPs == [back.spec.clusterIP] != [""]


async def test_another_address_is_left_for_validation_to_refuse():
    old = await given({"spec/clusterIP": "10.96.0.7"})
    new = made("Service", {"spec/clusterIP": "10.96.0.8"})
    await ServiceAddresses(Memory(old), RANGE, PORTS).admit(asking(new, "update"), new, old)
    assert [str(f) for f in validate_update(SERVICES, new, old)] == [
        'spec.clusterIPs[0]: Invalid value: ["10.96.0.8"]: may not change once set'
    ]


async def test_a_second_family_comes_and_goes():
    old = await given(ranges=DUAL)
    dual = await rewritten(old, {"spec/ipFamilyPolicy": "PreferDualStack"}, ranges=DUAL)
    assert dual.spec.clusterIPs[0] == old.spec.clusterIP
    assert len(dual.spec.clusterIPs) == 2
    single = await rewritten(
        dual,
        {
            "spec/ipFamilyPolicy": "SingleStack",
            "spec/clusterIPs": dual.spec.clusterIPs,
            "spec/clusterIP": old.spec.clusterIP,
            "spec/ipFamilies": ["IPv4", "IPv6"],
        },
        ranges=DUAL,
    )
    assert (single.spec.clusterIPs, single.spec.ipFamilies) == ([old.spec.clusterIP], ["IPv4"])


# --- ranges


def test_ranges_keep_their_lower_band_for_requests():
    assert Addresses("10.96.0.0/16").band.reserved == 256
    assert Addresses("10.96.0.0/24").band.reserved == 16
    assert Addresses("10.0.0.0/29").band.reserved == 0
    assert Ports("30000-32767").band.reserved == 86
    assert Ports("30000+10").text == "30000-30010"


@pytest.mark.parametrize("text", ["0-5", "5-4", "1-70000", "9+70000"])
def test_what_is_no_range_of_ports(text):
    with pytest.raises(ValueError, match="is not a range of ports"):
        Ports(text)


def test_ranges_of_one_family_twice_are_refused():
    with pytest.raises(ValueError, match="different IP families"):
        ServiceAddresses(Memory(), "10.0.0.0/8,11.0.0.0/8", PORTS)


def test_a_band_gives_every_number_once_the_lower_part_last():
    band, taken, rng = Band(1, 40, 10), set(), random.Random(5)
    order = []
    while len(taken) < 40:
        order.append(band.choose(taken.__contains__, rng))
        taken.add(order[-1])
    assert (sorted(order[:30]), sorted(order[30:])) == (list(range(11, 41)), list(range(1, 11)))
    with pytest.raises(Unavailable, match="range is full"):
        band.choose(taken.__contains__, rng)


async def test_an_address_object_of_somebody_else_takes_the_address():
    other = IPAddress(metadata=ObjectMeta(name="10.96.0.10"))
    assert await refused({"spec/clusterIP": "10.96.0.10"}, world=[other]) == (
        'Service "s" is invalid: spec.clusterIPs: Invalid value: ["10.96.0.10"]: failed to allocate IP 10.96.0.10: '
        "provided IP is already allocated"
    )


async def test_a_range_that_leaves_gives_nothing_but_what_is_asked_for():
    own = ServiceCIDR(metadata=ObjectMeta(name="kubernetes"), spec=ServiceCIDRSpec(cidrs=[RANGE]))
    own.metadata.deletionTimestamp = "2026-01-01T00:00:00Z"
    more = ServiceCIDR(metadata=ObjectMeta(name="more"), spec=ServiceCIDRSpec(cidrs=["10.0.9.0/24"]))
    more.status.conditions = [Condition(type="Ready", status="True")]
    assert (await given(world=[own, more])).spec.clusterIP.startswith("10.0.9.")
    assert (await given({"spec/clusterIP": "10.96.0.1"}, world=[own, more])).spec.clusterIP == "10.96.0.1"
    with pytest.raises(InternalError, match="range is full"):
        await given(world=[own])
    again = ServiceCIDR(metadata=ObjectMeta(name="again"), spec=ServiceCIDRSpec(cidrs=[RANGE]))
    assert (await given(world=[own, again])).spec.clusterIP.startswith("10.96.")


async def test_a_range_that_an_older_server_took_as_it_was_written_serves():
    odd = ServiceCIDR(metadata=ObjectMeta(name="odd"), spec=ServiceCIDRSpec(cidrs=["10.0.9.1/24"]))
    odd.status.conditions = [Condition(type="Ready", status="True")]
    assert (await given({"spec/clusterIP": "10.0.9.7"}, world=[odd])).spec.clusterIP == "10.0.9.7"


async def test_a_range_that_was_added_serves_when_it_is_ready():
    more = ServiceCIDR(metadata=ObjectMeta(name="more"), spec=ServiceCIDRSpec(cidrs=["10.0.9.0/24"]))
    assert "is not in the valid range" in await refused({"spec/clusterIP": "10.0.9.7"}, world=[more])
    more.status.conditions = [Condition(type="Ready", status="True")]
    assert (await given({"spec/clusterIP": "10.0.9.7"}, world=[more])).spec.clusterIP == "10.0.9.7"
    full = [more, *(IPAddress(metadata=ObjectMeta(name=f"10.0.0.{i}")) for i in (1, 2))]
    assert (await given(world=full, ranges="10.0.0.0/30")).spec.clusterIP.startswith("10.0.9.")
