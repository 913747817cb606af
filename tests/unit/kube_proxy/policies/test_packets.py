"""What upstream's documentation promises beside the cases of its tests."""

import socket

import pytest

from api.meta import Key
from api.types import Node, ObjectMeta
from kube_proxy.nftables import Nftables
from kube_proxy.policies.table import PolicyTable
from kube_proxy.rules import TABLE
from kube_proxy.table import Table
from kube_proxy.transactions import Layout
from tests.unit.kube_proxy.networks import NODE_IP, OUTSIDE_IP, POD_RANGE, SERVICE_RANGE, Network, ask, inside, ip
from tests.unit.kube_proxy.objects import endpoint, service, slice_of, wanted
from tests.unit.kube_proxy.policies.clusters import EVERY, NODE, PODS, Cluster, but, in_, namespace, policy, to

DENY = "{podSelector: {}, policyTypes: [Ingress, Egress]}"
FROM_OUTSIDE = f"{{podSelector: {{}}, ingress: [{{from: [{{ipBlock: {{cidr: {OUTSIDE_IP}/32}}}}]}}]}}"


async def test_traffic_through_a_service_is_judged_by_the_pods_at_both_ends(
    cluster: Cluster, policy_kernel: Nftables
) -> None:
    table = Table(policy_kernel, Layout(SERVICE_RANGE, POD_RANGE))
    slices = slice_of(endpoint(PODS["x/a"], NODE), port=80)
    table.apply({Key("default", "web"): wanted(service(), slices)})
    try:
        cluster.put(policy("x", "{podSelector: {}, ingress: [{from: [{podSelector: {}}], ports: [{port: 80}]}]}"))
        assert await cluster.enforcer.sync()
        assert ask(namespace(cluster.network, "x/b"), "10.96.0.10", 80)[0] == "x/a"
        assert ask(namespace(cluster.network, "x/a"), "10.96.0.10", 80)[0] == "x/a"
        with pytest.raises(TimeoutError):
            ask(namespace(cluster.network, "y/b"), "10.96.0.10", 80, patience=0.2)
        cluster.put(policy("x", DENY))
        assert await cluster.enforcer.sync()
        assert ask(namespace(cluster.network, "x/a"), "10.96.0.10", 80)[0] == "x/a", "nobody is kept from itself"
    finally:
        policy_kernel.run(f"delete table ip {TABLE}")


async def test_clients_outside_are_known_by_their_own_address(cluster: Cluster, pods_network: Network) -> None:
    ip("-n", pods_network.outside, "route", "replace", POD_RANGE, "via", NODE_IP)
    cluster.put(policy("x", DENY), policy("y", FROM_OUTSIDE))
    assert await cluster.enforcer.sync()
    assert ask(pods_network.outside, PODS["y/a"], 80)[0] == "y/a"
    with pytest.raises(TimeoutError):
        ask(pods_network.outside, PODS["x/a"], 80, patience=0.2)


async def test_what_is_established_goes_on_and_nothing_new_begins(cluster: Cluster) -> None:
    assert await cluster.enforcer.sync()
    source, target = (namespace(cluster.network, pod) for pod in ("y/a", "x/a"))
    with inside(target):
        server = socket.create_server((PODS["x/a"], 7000))
    with inside(source):
        client = socket.create_connection((PODS["x/a"], 7000), 3)
    with server, client, server.accept()[0] as accepted:
        cluster.put(policy("x", DENY))
        assert await cluster.enforcer.sync()
        accepted.settimeout(3)
        client.sendall(b"still")
        assert accepted.recv(10) == b"still"
        with pytest.raises(TimeoutError):
            ask(source, PODS["x/a"], 80, patience=0.2)


async def test_a_pod_that_is_not_known_yet_is_not_reached_while_there_are_policies(cluster: Cluster) -> None:
    known = cluster.pods.get("x", "a")
    cluster.pods.drop(known)
    assert await cluster.reached(EVERY) == EVERY
    cluster.put(policy("z", DENY))
    expected = {(a, b) for a, b in EVERY if "x/a" not in (a, b)} - {
        (a, b) for a, b in to(*in_("z")) | to(*PODS, of=in_("z")) if a != b
    }
    assert await cluster.reached(expected | {("x/a", "x/a")}) == expected | {("x/a", "x/a")}
    cluster.pods.put(known)
    expected = but(to(*in_("z")) | to(*PODS, of=in_("z")))
    assert await cluster.reached(expected) == expected


async def test_a_pod_that_has_ended_is_nobodys_peer(cluster: Cluster) -> None:
    cluster.nodes.put(Node(metadata=ObjectMeta(name=NODE)))  # the range of its pods is not known
    cluster.put(policy("x", "{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}]}]}"))
    assert await cluster.reached(EVERY) == EVERY
    cluster.put_pod("y/a", phase="Succeeded")
    expected = but(to(*in_("x"), of=["y/a"]))
    assert await cluster.reached(expected) == expected


async def test_what_others_delete_comes_back(
    cluster: Cluster, policy_table: PolicyTable, policy_kernel: Nftables
) -> None:
    block = "{ipBlock: {cidr: 10.0.0.0/8, except: [10.244.0.24/32, 10.245.0.0/16]}}"
    ports = "[{port: 80}, {port: 8000, endPort: 8063}, {port: serve-81-tcp}, {protocol: UDP}]"
    peers = f"[{block}, {{podSelector: {{}}}}]"
    cluster.put(policy("x", f"{{podSelector: {{}}, ingress: [{{from: {peers}, ports: {ports}}}]}}"))
    expected = but({("y/b", pod) for pod in in_("x")})
    assert await cluster.reached(expected) == expected
    assert policy_table.repair() is False
    for damage in (
        "flush chain ip kube-policies ingress",
        "flush map ip kube-policies ingress-pods",
        f"delete element ip kube-policies local-pods {{ {PODS['x/a']} }}",
        "delete table ip kube-policies",
    ):
        policy_kernel.run(damage)
        assert policy_table.repair() is True, damage
        assert policy_table.repair() is False, damage
        assert await cluster.reached(expected) == expected


async def test_a_change_on_a_table_that_others_deleted_restores_all_of_it(
    cluster: Cluster, policy_kernel: Nftables
) -> None:
    cluster.put(policy("x", DENY))
    assert await cluster.enforcer.sync()
    policy_kernel.run("delete table ip kube-policies")
    cluster.put(policy("y", DENY))
    expected = but({(a, b) for a, b in EVERY if a[0] in "xy" or b[0] in "xy"})
    assert await cluster.reached(expected) == expected


async def test_nothing_is_left_of_policies_that_are_gone(
    cluster: Cluster, policy_table: PolicyTable, policy_kernel: Nftables
) -> None:
    assert await cluster.enforcer.sync()
    empty = policy_kernel.structure("kube-policies")
    cluster.put(policy("x", FROM_OUTSIDE), policy("y", DENY))
    assert await cluster.enforcer.sync()
    assert policy_kernel.structure("kube-policies") != empty
    cluster.policies.drop(policy("x", FROM_OUTSIDE))
    cluster.policies.drop(policy("y", DENY))
    assert await cluster.enforcer.sync()
    assert policy_kernel.structure("kube-policies") == empty
    assert policy_table.ledger.elements == {}
