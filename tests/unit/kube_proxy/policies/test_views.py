"""However changes come, the content is what somebody who sees the end only would write."""

import random

from hypothesis import given
from hypothesis import strategies as st

from api.meta import Key
from kube_proxy.ledger import Ledger
from kube_proxy.policies.chains import policy as compiled
from kube_proxy.policies.members import Member, NamedPort
from kube_proxy.policies.views import View
from kube_proxy.rules import Elements
from tests.unit.kube_proxy.policies.clusters import policy

HTTP = NamedPort("http", "tcp")
SPECS = (
    "{podSelector: {}}",
    "{podSelector: {matchLabels: {app: a}}, ingress: [{from: [{podSelector: {matchLabels: {app: b}}}]}]}",
    "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: t}}}], ports: [{port: 80}]}]}",
    "{podSelector: {}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {}, podSelector: {matchLabels:"
    " {app: a}}}], ports: [{port: http}]}, {to: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}]}]}",
    "{podSelector: {matchLabels: {app: b}}, ingress: [{ports: [{port: http}, {port: 1, endPort: 9}]}]}",
)
NAMESPACES = st.sampled_from("xy")
CHANGES = st.one_of(
    st.tuples(
        st.just("pod"), NAMESPACES, st.sampled_from("pqr"),
        st.none() | st.tuples(st.sampled_from("ab"), st.sampled_from(("node1", "node2")), st.booleans()),
    ),
    st.tuples(st.just("policy"), NAMESPACES, st.sampled_from("mn"), st.none() | st.sampled_from(SPECS)),
    st.tuples(st.just("namespace"), NAMESPACES, st.just(""), st.none() | st.sampled_from("tu")),
    st.tuples(st.just("take"), st.just(""), st.just(""), st.none()),
)  # fmt: skip


def tell(view: View, kind: str, namespace: str, name: str, what: object) -> None:
    match kind, what:
        case "pod", None:
            view.set_pod(Key(namespace, name), None)
        case "pod", (app, node, named):
            address = f"10.244.{'xy'.index(namespace)}.{'pqr'.index(name)}"
            ports = ((HTTP, 8080),) if named else ()
            view.set_pod(Key(namespace, name), Member(namespace, {"app": app}, address, node, ports))
        case "policy", str() | None:
            view.set_policy(Key(namespace, name), compiled(policy(namespace, what)) if what else None)
        case "namespace", _:
            view.set_namespace(namespace, {"team": what} if what else None)  # type: ignore[dict-item]


def content(view: View, ledger: Ledger) -> tuple[Elements, set[str]]:
    taken = view.take()
    ledger.change(taken.changed)
    return ledger.elements, set(taken.chains)


@given(st.lists(CHANGES, max_size=30))
def test_a_view_that_followed_is_one_that_comes_late(changes) -> None:  # type: ignore[no-untyped-def]
    followed, ledger, last = View("node1"), Ledger(), {}
    followed.set_range("10.244.0.0/16")
    for kind, namespace, name, what in changes:
        if kind == "take":
            content(followed, ledger)
        else:
            tell(followed, kind, namespace, name, what)
            last[kind, namespace, name] = what
    late = View("node1")
    late.set_range("10.244.0.0/16")
    order = [(*k, what) for k, what in last.items() if what is not None]
    random.Random(len(order)).shuffle(order)
    for each in order:
        tell(late, *each)
    assert content(followed, ledger) == content(late, Ledger())
    assert followed.take().changed.keys() <= {Key("range/", "")}, "nothing is told twice"


def test_pods_of_a_namespace_that_is_gone_are_no_longer_what_its_labels_made_them() -> None:
    view, ledger = View("node1"), Ledger()
    tell(view, "pod", "y", "p", ("a", "node1", False))
    tell(view, "policy", "y", "m", SPECS[2])
    tell(view, "namespace", "y", "", "t")
    assert any(e.map.startswith("pods-") for e in content(view, ledger)[0])
    tell(view, "namespace", "y", "", None)
    assert not any(e.map.startswith("pods-") for e in content(view, ledger)[0])


def test_a_policy_that_selects_no_pod_of_the_node_costs_nothing() -> None:
    view = View("node1")
    tell(view, "pod", "x", "p", ("a", "node2", False))
    tell(view, "policy", "x", "m", SPECS[2])
    taken = view.take()
    assert taken.chains == {}
    assert not any(taken.changed.values())


def test_equal_selectors_of_many_policies_are_one_set() -> None:
    view, ledger = View("node1"), Ledger()
    tell(view, "pod", "x", "p", ("a", "node1", False))
    for number in range(100):
        view.set_policy(Key("x", str(number)), compiled(policy("x", SPECS[1], str(number))))
    _, chains = content(view, ledger)
    assert len(chains) == 2, "that of the policies, and that of the pods which have them"
    assert len({e.map for e in ledger.elements if e.map.startswith("pods-")}) <= 1


def test_nothing_is_remembered_of_what_has_gone() -> None:
    view = View("node1")
    for number in range(10):
        namespace = f"n{number}"
        view.set_namespace(namespace, {"team": "t"})
        for spec, name in zip(SPECS, "klmno", strict=True):
            view.set_policy(Key(namespace, name), compiled(policy(namespace, spec)))
        view.set_pod(Key(namespace, "p"), Member(namespace, {"app": "a"}, f"10.244.0.{number}", "node1", ((HTTP, 80),)))
        view.take()
        for name in "klmno":
            view.set_policy(Key(namespace, name), None)
        view.set_pod(Key(namespace, "p"), None)
        view.set_namespace(namespace, None)
        view.take()
    assert [name for name, kept in vars(view).items() if isinstance(kept, dict | set) and kept] == []
