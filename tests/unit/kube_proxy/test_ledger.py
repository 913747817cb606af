from hypothesis import given
from hypothesis import strategies as st

from api.meta import Key
from kube_proxy.ledger import Ledger
from kube_proxy.rules import Element, Elements, chain_of
from tests.unit.kube_proxy.objects import endpoint, service, slice_of, wanted

A, B, C = (Key("default", name) for name in "abc")


def served(*addresses: str, ip: str = "10.96.0.10", **spec: object) -> Elements:
    return wanted(service(ip=ip, **spec), slice_of(*(endpoint(a, "node2") for a in addresses)))


def test_a_second_service_of_as_many_endpoints_shares_the_chain() -> None:
    ledger = Ledger()
    assert ledger.change({A: served("10.244.1.2")}).new_chains == ["ip-1"]
    assert ledger.change({B: served("10.244.1.3", ip="10.96.0.11")}).new_chains == []
    assert ledger.change({A: {}}).unused_chains == []
    assert ledger.change({B: {}}).unused_chains == ["ip-1"]
    assert ledger.elements == {}


def test_a_moved_endpoint_changes_one_element() -> None:
    ledger = Ledger()
    ledger.change({A: served("10.244.1.2", "10.244.1.3")})
    change = ledger.change({A: served("10.244.1.2", "10.244.1.4")})
    moved = Element("endpoints-tcp", "10.96.0.10 . tcp . 80 . 1")
    assert change.removed == [moved]
    assert change.added == {moved: "10.244.1.4 . 8080"}
    assert not change.new_chains + change.unused_chains


def test_the_same_wish_again_changes_nothing() -> None:
    ledger = Ledger()
    ledger.change({A: served("10.244.1.2")})
    assert not ledger.change({A: served("10.244.1.2")})


def test_an_address_passes_from_a_deleted_service_to_a_new_one_in_one_change() -> None:
    ledger = Ledger()
    ledger.change({A: served("10.244.1.2")})
    change = ledger.change({B: served("10.244.1.2"), A: {}})
    assert not change
    assert ledger.elements == served("10.244.1.2")
    ledger.change({B: {}})
    assert ledger.elements == {}


def test_what_two_services_claim_belongs_to_the_first_until_it_lets_go() -> None:
    ledger = Ledger()
    first, second = served("10.244.1.2"), served("10.244.1.3")
    ledger.change({A: first})
    assert not ledger.change({B: second})
    assert ledger.elements == first
    ledger.change({A: {}})
    assert ledger.elements == second


def test_remembered_clients_are_known_by_the_endpoints_they_may_have() -> None:
    ledger = Ledger()
    ledger.change({A: served("10.244.1.2", "10.244.1.3", sessionAffinity="ClientIP")})
    ledger.change({B: served("10.244.1.2", ip="10.96.0.11")})
    assert ledger.backends("10.96.0.10", "tcp", 80) == {"10.244.1.2 . 8080", "10.244.1.3 . 8080"}
    assert ledger.backends("10.96.0.11", "tcp", 80) is None
    assert ledger.answering("10.96.0.11", "udp", 80) == set()


WISHES = st.dictionaries(
    st.sampled_from([Element("ips", str(i)) for i in range(4)]),
    st.sampled_from(["goto ip-1", "goto ip-2", "drop", "goto refuse"]),
)


@given(st.lists(st.dictionaries(st.sampled_from([A, B, C]), WISHES, min_size=1), max_size=12))
def test_changes_add_up_to_what_the_services_claim(steps: list[dict[Key, Elements]]) -> None:
    ledger, claims, table, chains = Ledger(), {}, {}, set()
    for step in steps:
        change = ledger.change(step)
        claims |= step
        for element in change.removed:
            del table[element]
        assert not table.keys() & change.added.keys(), "the kernel refuses to add what is there"
        table |= change.added
        chains = (chains | set(change.new_chains)) - set(change.unused_chains)
        assert table == ledger.elements
        assert chains == set(ledger.chains) == {chain_of(v) for v in table.values()} - {""}
        assert table.keys() == {element for wish in claims.values() for element in wish}
        assert all(value in {w.get(element) for w in claims.values()} for element, value in table.items())
