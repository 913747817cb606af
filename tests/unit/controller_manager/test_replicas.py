"""Which pods go first, how many are tried at once, and whose a pod is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import labels, times
from api.types import ContainerStatus, Pod
from controller_manager.claims import sort_out
from controller_manager.expectations import TIMEOUT, Expectations
from controller_manager.pods import seconds_to_available
from controller_manager.replicas import DELETION_COST, choose_victims, count, deletion_cost, from_template, slow_start
from machinery.testing import FakeClock
from tests.unit.controller_manager.making import NOW, pod, replica_set, template

KEY = ("default", "web")


def first(*pods: Pod, related: tuple[Pod, ...] = ()) -> str:
    """The one to go first, whatever the order in which they are given."""
    (a,), (b,) = choose_victims(pods, 1, related, NOW), choose_victims(pods[::-1], 1, related, NOW)
    assert a is b
    return a.metadata.name


@given(st.integers(0, 600))
def test_slow_start_tries_all_and_doubles(wanted: int) -> None:
    batches = list(slow_start(wanted))
    assert sum(batches) == wanted
    assert batches[:-1] == [2**n for n in range(len(batches) - 1)]


def test_pods_that_serve_least_go_first() -> None:
    unbound = pod("unbound", node="", phase="Pending")
    pending = pod("pending", phase="Pending")
    unready = pod("unready", ready=False)
    cheap = pod("cheap", ready=True, age=9000)
    cheap.metadata.annotations[DELETION_COST] = "-1"
    ready = pod("ready", ready=True, age=9000)
    everyone = [ready, cheap, unready, pending, unbound]
    order = [p.metadata.name for p in choose_victims(everyone, 4, [], NOW)]
    assert order == ["unbound", "pending", "unready", "cheap"]


def test_the_node_with_more_of_them_gives_one_up() -> None:
    a, b = pod("a", node="full", ready=True), pod("b", node="empty", ready=True)
    assert first(a, b, related=(a, b, pod("c", node="full"))) == "a"


def test_the_one_that_is_ready_for_less_time_goes_first() -> None:
    assert first(pod("old", ready=True, age=100_000), pod("new", ready=True, age=10)) == "new"


def test_the_one_that_restarts_more_goes_first() -> None:
    calm, nervous = pod("calm", ready=True, age=50), pod("nervous", ready=True, age=50)
    nervous.status.containerStatuses = [ContainerStatus(name="main", restartCount=4)]
    assert first(calm, nervous) == "nervous"


@pytest.mark.parametrize(
    ("text", "cost"), [("5", 5), ("-5", -5), ("0", 0), ("+5", 0), ("05", 0), ("-0", 0), ("x", 0), ("99999999999", 0)]
)
def test_a_deletion_cost_is_a_number_in_its_plainest_form(text: str, cost: int) -> None:
    p = pod()
    p.metadata.annotations[DELETION_COST] = text
    assert deletion_cost(p) == cost


def test_a_pod_is_available_when_it_has_been_ready_for_long_enough() -> None:
    assert seconds_to_available(pod(ready=True, age=4), 10, NOW) == 6
    assert seconds_to_available(pod(ready=True, age=40), 10, NOW) == 0
    assert seconds_to_available(pod(ready=True), 0, NOW) == 0
    assert seconds_to_available(pod(ready=False), 10, NOW) is None


def test_counts_tell_when_the_next_pod_will_be_available() -> None:
    pods = [pod("a", ready=True, age=4), pod("b", ready=True, age=7), pod("c", ready=True, age=70), pod("d")]
    counts = count(pods, pods, template(tier="front"), 10, NOW)
    assert (counts.replicas, counts.ready, counts.available, counts.fully_labelled) == (4, 3, 1, 0)
    assert counts.next_available == 3


def test_a_pod_carries_what_its_template_says() -> None:
    rs = replica_set(uid="u")
    rs.spec.template.metadata.annotations = {"note": "yes"}
    made = from_template(rs)
    assert (made.metadata.generateName, made.metadata.annotations) == ("web-", {"note": "yes"})
    assert made.spec == rs.spec.template.spec
    assert made.spec is not rs.spec.template.spec
    (reference,) = made.metadata.ownerReferences
    assert (reference.uid, reference.controller, reference.blockOwnerDeletion) == ("u", True, True)


def test_whose_a_pod_is_follows_from_labels_and_reference() -> None:
    owner, other = replica_set(uid="mine"), replica_set("other", uid="theirs")
    selector = labels.from_object(owner.spec.selector)
    mine, freed = pod("mine", owner=owner), pod("freed", owner=owner, labels={})
    orphan, theirs = pod("orphan"), pod("theirs", owner=other)
    pods = [mine, freed, orphan, theirs, pod("stranger", labels={"app": "db"})]
    assert sort_out(owner, selector, pods) == ([mine], [orphan], [freed])
    owner.metadata.deletionTimestamp = times.format(NOW)
    assert sort_out(owner, selector, pods) == ([mine], [], [])


async def test_expectations_end_when_each_was_seen_or_after_a_while(clock: FakeClock) -> None:
    expectations = Expectations(clock)
    assert expectations.remaining(KEY) == 0
    expectations.expect(KEY, "a")
    expectations.expect(KEY, "b")
    expectations.observed(KEY, "a")
    assert expectations.remaining(KEY) == TIMEOUT
    expectations.observed(KEY, "b")
    assert expectations.remaining(KEY) == 0
    expectations.expect(KEY, "c")
    await clock.advance(TIMEOUT + 1)
    assert expectations.remaining(KEY) == 0
