from api.types import ServicePort
from kube_proxy.rules import Chain, chain_rules, elements
from kube_proxy.services import Backend, Balanced
from tests.unit.kube_proxy.objects import by_map, endpoint, service, slice_of, wanted

TWO = slice_of(endpoint("10.244.0.2"), endpoint("10.244.1.2", "node2"))
NODE_PORT = [ServicePort(port=80, protocol="TCP", nodePort=30080)]


def test_a_cluster_address_leads_to_the_chain_for_as_many_endpoints() -> None:
    found = by_map(wanted(service(), TWO))
    assert found["ips"] == {"10.96.0.10 . tcp . 80": "goto ip-2"}
    assert found["endpoints-tcp"] == {
        "10.96.0.10 . tcp . 80 . 0": "10.244.0.2 . 8080",
        "10.96.0.10 . tcp . 80 . 1": "10.244.1.2 . 8080",
    }


def test_only_local_endpoints_can_meet_themselves() -> None:
    assert by_map(wanted(service(), TWO))["hairpins"] == {"10.244.0.2 . 10.244.0.2": ""}


def test_a_cluster_address_without_endpoints_is_left_to_the_refusal_of_the_range() -> None:
    assert wanted(service()) == {}


def test_a_node_port_masquerades_and_is_refused_without_endpoints() -> None:
    found = by_map(wanted(service(type="NodePort", ports=NODE_PORT), TWO))
    assert found["node-ports"] == {"tcp . 30080": "goto port-masq-2"}
    assert found["node-port-endpoints-tcp"]["tcp . 30080 . 1"] == "10.244.1.2 . 8080"
    found = by_map(wanted(service(type="NodePort", ports=NODE_PORT)))
    assert found == {"unserved-node-ports": {"tcp . 30080": "goto refuse"}}


def test_policy_local_serves_the_outside_from_this_node_and_the_cluster_from_everywhere() -> None:
    of = service(type="NodePort", ports=NODE_PORT, externalTrafficPolicy="Local", externalIPs=["192.0.2.1"])
    found = by_map(wanted(of, slice_of(endpoint("10.244.9.2", "node2"), endpoint("10.244.9.3"))))
    assert found["node-ports"] == {"tcp . 30080": "goto port-1"}
    assert found["inside-node-ports"] == {"tcp . 30080": "goto port-2"}
    assert found["node-port-endpoints-tcp"]["tcp . 30080 . 0"] == "10.244.9.3 . 8080", "local ones come first"
    assert found["ips"]["192.0.2.1 . tcp . 80"] == "goto ip-1"
    assert found["inside-ips"] == {"192.0.2.1 . tcp . 80": "goto ip-2"}


def test_policy_local_drops_what_only_other_nodes_could_answer() -> None:
    of = service(type="NodePort", ports=NODE_PORT, externalTrafficPolicy="Local", internalTrafficPolicy="Local")
    found = by_map(wanted(of, slice_of(endpoint("10.244.1.2", "node2"))))
    assert found["unserved-node-ports"] == {"tcp . 30080": "drop"}
    assert found["unserved-ips"] == {"10.96.0.10 . tcp . 80": "drop"}
    assert found["inside-node-ports"] == {"tcp . 30080": "goto port-1"}


def test_terminating_local_endpoints_and_ready_remote_ones_share_a_list_in_two_parts() -> None:
    of = service(type="NodePort", ports=NODE_PORT, externalTrafficPolicy="Local")
    leaving = endpoint("10.244.0.2", ready=False, serving=True, terminating=True)
    remote = (endpoint("10.244.1.2", "node2"), endpoint("10.244.1.3", "node2"))
    found = by_map(wanted(of, slice_of(leaving, *remote)))
    assert found["node-ports"] == {"tcp . 30080": "goto port-1"}
    assert found["inside-node-ports"] == {"tcp . 30080": "goto port-2-from-1"}
    assert "numgen random mod 2 offset 1" in chain_rules("port-2-from-1")[0]


def test_affinity_asks_the_memory_first_and_remembers_afterwards() -> None:
    found = by_map(wanted(service(sessionAffinity="ClientIP"), TWO))
    assert found["ips"] == {"10.96.0.10 . tcp . 80": "goto ip-pin-2"}
    assert found["remembered-ips"] == {"10.96.0.10 . tcp . 80": "goto remember-10800s"}
    memory, *draws = chain_rules("ip-pin-2")
    assert "@affinity" in memory
    assert all("@endpoints-" in draw for draw in draws)


def test_a_chain_is_known_by_its_name_alone() -> None:
    for of in ("ip", "port"):
        for first in (0, 3):
            for masquerade in (True, False):
                for pin in (True, False):
                    chain = Chain(of, 7, first, masquerade=masquerade, pin=pin)
                    assert chain_rules(chain.name) == chain.rules


def test_local_endpoints_are_not_each_compared_with_all_others() -> None:
    class Counted(Backend):
        compared = 0
        __hash__ = Backend.__hash__

        def __eq__(self, other: object) -> bool:
            Counted.compared += 1
            return super().__eq__(other)

    everywhere, here = (
        tuple(Counted(f"10.0.{n // 256}.{n % 256}", 80) for n in range(0, 1000, step)) for step in (1, 2)
    )
    found = elements(Balanced("tcp", 80, node_port=30080, everywhere=everywhere, here=here, external_local=True))
    assert len(by_map(found)["node-port-endpoints-tcp"]) == 1000
    assert Counted.compared < 10_000
