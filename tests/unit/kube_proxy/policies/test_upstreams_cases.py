"""The cases of upstream's test/e2e/network/netpol/network_policy.go, told again with the same pods and real packets."""

import pytest

from tests.unit.kube_proxy.networks import NODE_IP, ask
from tests.unit.kube_proxy.policies.clusters import (
    EVERY,
    PODS,
    TCP,
    UDP,
    Cluster,
    but,
    in_,
    namespace,
    policy,
    to,
)

DENY_INGRESS = "{podSelector: {}, ingress: []}"
DENY_ALL = "{podSelector: {}, policyTypes: [Ingress, Egress]}"
ALLOW_ALL = "{podSelector: {}, ingress: [{}]}"
A = "podSelector: {matchLabels: {pod: a}}"


def from_(peers: str, ports: str = "") -> str:
    return f"{{{A}, ingress: [{{from: {peers}{', ports: ' + ports if ports else ''}}}]}}"


async def test_without_policies_everybody_reaches_everybody(cluster: Cluster) -> None:
    assert await cluster.reached(EVERY) == EVERY
    assert await cluster.reached(EVERY, 81, UDP) == EVERY


async def test_default_deny_ingress_keeps_everybody_out_of_the_namespace(cluster: Cluster) -> None:
    cluster.put(policy("x", DENY_INGRESS))
    for kind in (TCP, UDP):
        expected = but(to(*in_("x")))
        assert await cluster.reached(expected, kind=kind) == expected


async def test_default_deny_all_closes_both_directions(cluster: Cluster) -> None:
    cluster.put(policy("x", DENY_ALL))
    expected = but(to(*in_("x")) | to(*PODS, of=in_("x")))
    assert await cluster.reached(expected) == expected


async def test_pods_of_the_own_namespace_are_let_in_by_a_pod_selector(cluster: Cluster) -> None:
    cluster.put(policy("x", DENY_INGRESS, "deny"), policy("x", from_("[{podSelector: {matchLabels: {pod: b}}}]")))
    expected = but(to(*in_("x"))) | {("x/b", "x/a")}
    assert await cluster.reached(expected) == expected


async def test_a_target_chosen_by_label_is_open_to_all_pods_of_all_namespaces(cluster: Cluster) -> None:
    cluster.put(policy("x", DENY_INGRESS, "deny"), policy("x", from_("[{namespaceSelector: {}}]")))
    expected = but(to("x/b", "x/c"))
    assert await cluster.reached(expected) == expected


@pytest.mark.parametrize(
    ("peers", "allowed"),
    [
        ("[{namespaceSelector: {matchLabels: {ns: y}}}]", in_("y")),
        ("[{namespaceSelector: {matchExpressions: [{key: ns, operator: In, values: [y, q]}]}}]", in_("y")),
        ("[{namespaceSelector: {matchExpressions: [{key: ns, operator: NotIn, values: [x]}]}}]", in_("y") + in_("z")),
        ("[{podSelector: {matchExpressions: [{key: pod, operator: In, values: [c]}]}}]", ["x/c"]),
        ("[{podSelector: {}}]", in_("x")),
        (
            "[{podSelector: {matchLabels: {pod: b}}}, {namespaceSelector: {matchLabels: {ns: y}}}]",
            ["x/b", *in_("y")],
        ),
        ("[{podSelector: {matchLabels: {pod: b}}, namespaceSelector: {matchLabels: {ns: y}}}]", ["y/b"]),
        (
            "[{podSelector: {matchExpressions: [{key: pod, operator: In, values: [b, c]}]},"
            " namespaceSelector: {matchExpressions: [{key: ns, operator: In, values: [y, z]}]}}]",
            ["y/b", "y/c", "z/b", "z/c"],
        ),
        ("[{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: z}}}]", in_("z")),
        ("[{namespaceSelector: {matchExpressions: [{key: ns, operator: DoesNotExist}]}}]", []),
        ("[{ipBlock: {cidr: 10.244.0.24/32}}]", ["y/b"]),
        ("[{ipBlock: {cidr: 10.244.0.0/24, except: [10.244.0.0/25]}}]", []),
        (
            "[{ipBlock: {cidr: 0.0.0.0/0, except: [10.244.0.20/30, 10.244.0.21/32, 10.244.0.28/32]}}]",
            ["y/b", "y/c", "z/a", "z/b"],
        ),
        ("[{ipBlock: {cidr: 'fd00::/8'}}]", []),
    ],
)
async def test_only_the_named_peers_are_let_in(cluster: Cluster, peers: str, allowed: list[str]) -> None:
    cluster.put(policy("x", from_(peers)))
    expected = but(to("x/a")) | to("x/a", of=allowed)
    assert await cluster.reached(expected) == expected


async def test_only_the_given_ports_are_open(cluster: Cluster) -> None:
    cluster.put(policy("x", from_("[{namespaceSelector: {matchLabels: {ns: y}}}]", "[{port: 81}]")))
    expected = but(to("x/a")) | to("x/a", of=in_("y"))
    assert await cluster.reached(expected, 81) == expected
    assert await cluster.reached(but(to("x/a")), 80) == but(to("x/a"))
    assert await cluster.reached(but(to("x/a")), 81, UDP) == but(to("x/a")), "the protocol is TCP unless it is told"


@pytest.mark.parametrize(
    ("ports", "opened"),
    [
        ("[{port: 80, endPort: 90}]", {(80, TCP), (81, TCP)}),
        ("[{port: 79, endPort: 80}, {port: 60, endPort: 79}]", {(80, TCP)}),
        ("[{protocol: UDP}]", {(80, UDP), (81, UDP)}),
        ("[{protocol: UDP, port: 81}, {port: 80}]", {(81, UDP), (80, TCP)}),
        ("[{protocol: SCTP, port: 80}]", set()),
        ("[{port: serve-80-tcp}]", {(80, TCP)}),
        ("[{port: serve-81-udp, protocol: UDP}, {port: serve-80-tcp}]", {(81, UDP), (80, TCP)}),
        ("[{port: serve-81-udp}]", set()),
        ("[{port: nobody-calls-it-so}]", set()),
    ],
)
async def test_ports_are_given_by_number_range_name_and_protocol(
    cluster: Cluster, ports: str, opened: set[tuple[int, int]]
) -> None:
    cluster.put(policy("x", f"{{{A}, ingress: [{{ports: {ports}}}]}}"))
    for port in (80, 81):
        for kind in (TCP, UDP):
            expected = EVERY if (port, kind) in opened else but(to("x/a"))
            assert await cluster.reached(expected, port, kind) == expected


async def test_a_named_port_is_each_pods_own(cluster: Cluster) -> None:
    cluster.put(policy("x", "{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: serve-80-tcp}]}]}"))
    assert await cluster.reached(EVERY, 80) == EVERY
    expected = but(to(*PODS, of=in_("x")))
    assert await cluster.reached(expected, 81) == expected
    cluster.put_pod("y/a", ports={"serve-80-tcp": 81})
    expected |= to("y/a", of=in_("x"))
    assert await cluster.reached(expected, 81) == expected


async def test_policies_add_up_and_order_does_not_matter(cluster: Cluster) -> None:
    cluster.put(policy("x", from_("[{namespaceSelector: {matchLabels: {ns: y}}}]", "[{port: 80}]"), "one"))
    cluster.put(policy("x", from_("[{namespaceSelector: {matchLabels: {ns: z}}}]", "[{port: 81}]"), "two"))
    for port, ns in ((80, "y"), (81, "z")):
        expected = but(to("x/a")) | to("x/a", of=in_(ns))
        assert await cluster.reached(expected, port) == expected
    cluster.put(policy("x", ALLOW_ALL, "all"))
    assert await cluster.reached(EVERY) == EVERY


async def test_an_allowing_rule_beside_an_excepting_one_wins(cluster: Cluster) -> None:
    block = "{ipBlock: {cidr: 10.244.0.0/24, except: [10.244.0.24/32]}}"
    cluster.put(policy("x", from_(f"[{block}]")))
    expected = but({("y/b", "x/a")})
    assert await cluster.reached(expected) == expected
    cluster.put(policy("x", from_("[{ipBlock: {cidr: 10.244.0.24/32}}]"), "more"))
    assert await cluster.reached(EVERY) == EVERY


async def test_a_deleted_policy_is_not_enforced_any_more(cluster: Cluster) -> None:
    cluster.put(policy("x", DENY_ALL))
    expected = but(to(*in_("x")) | to(*PODS, of=in_("x")))
    assert await cluster.reached(expected) == expected
    cluster.policies.drop(policy("x", DENY_ALL))
    assert await cluster.reached(EVERY) == EVERY


async def test_changed_policies_namespaces_and_pods_take_effect(cluster: Cluster) -> None:
    cluster.put(policy("x", from_("[{namespaceSelector: {matchLabels: {ns2: updated}}}]")))
    assert await cluster.reached(but(to("x/a"))) == but(to("x/a"))
    cluster.put_namespace("y", ns2="updated")
    expected = but(to("x/a")) | to("x/a", of=in_("y"))
    assert await cluster.reached(expected) == expected
    cluster.put(policy("x", from_("[{podSelector: {matchLabels: {pod2: updated}}}]")))
    assert await cluster.reached(but(to("x/a"))) == but(to("x/a"))
    cluster.put_pod("x/b", pod2="updated")
    expected = but(to("x/a")) | {("x/b", "x/a")}
    assert await cluster.reached(expected) == expected
    cluster.put(policy("x", "{podSelector: {matchLabels: {target: isolated}}}"))
    assert await cluster.reached(EVERY) == EVERY
    cluster.put_pod("x/a", target="isolated")
    assert await cluster.reached(but(to("x/a"))) == but(to("x/a"))
    cluster.put_pod("x/a")
    assert await cluster.reached(EVERY) == EVERY


async def test_egress_is_denied_to_a_pod_and_to_a_namespace(cluster: Cluster) -> None:
    cluster.put(policy("x", f"{{{A}, policyTypes: [Egress]}}"))
    expected = but(to(*PODS, of=["x/a"]))
    assert await cluster.reached(expected) == expected
    cluster.put(policy("x", "{podSelector: {}, policyTypes: [Egress]}"))
    expected = but(to(*PODS, of=in_("x")))
    assert await cluster.reached(expected, 81, UDP) == expected


async def test_egress_goes_to_peers_in_other_namespaces_and_blocks(cluster: Cluster) -> None:
    for peers, allowed in (
        ("[{namespaceSelector: {matchLabels: {ns: y}}, podSelector: {matchLabels: {pod: a}}}]", ["y/a"]),
        ("[{ipBlock: {cidr: 10.244.0.26/32}}]", ["z/a"]),
        ("[{ipBlock: {cidr: 10.244.0.24/29, except: [10.244.0.26/32]}}]", ["y/b", "y/c", "z/b", "z/c"]),
    ):
        cluster.put(policy("x", f"{{{A}, policyTypes: [Egress], egress: [{{to: {peers}}}]}}"))
        expected = but(to(*PODS, of=["x/a"])) | to(*allowed, of=["x/a"])
        assert await cluster.reached(expected) == expected


async def test_ingress_and_egress_of_one_policy_are_both_enforced(cluster: Cluster) -> None:
    cluster.put(
        policy("x", f"{{{A}, ingress: [{{from: [{{namespaceSelector: {{matchLabels: {{ns: y}}}}}}]}}],"
                    " egress: [{to: [{namespaceSelector: {matchLabels: {ns: z}}}]}]}")
    )  # fmt: skip
    expected = but(to("x/a") | to(*PODS, of=["x/a"])) | to("x/a", of=in_("y")) | to(*in_("z"), of=["x/a"])
    assert await cluster.reached(expected) == expected


async def test_what_may_leave_must_still_be_let_in(cluster: Cluster) -> None:
    cluster.put(policy("x", f"{{{A}, egress: [{{to: [{{namespaceSelector: {{matchLabels: {{ns: y}}}}}}]}}],"
                            " policyTypes: [Egress]}"))  # fmt: skip
    cluster.put(policy("y", DENY_INGRESS))
    expected = but(to(*PODS, of=["x/a"]) | to(*in_("y")))
    assert await cluster.reached(expected) == expected


async def test_a_node_always_reaches_its_pods_and_they_reach_it(cluster: Cluster) -> None:
    cluster.put(*(policy(ns, DENY_ALL) for ns in "xyz"))
    only = {(a, a) for a in PODS}
    assert await cluster.reached(only) == only
    network = cluster.network
    assert ask(network.node, PODS["x/a"], 80)[0] == "x/a"
    network.serve(network.node, "node", 8099)
    assert ask(namespace(network, "x/a"), NODE_IP, 8099)[0] == "node"
