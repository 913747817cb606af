"""Who is ended when, and with how much time, when a node shuts down."""

import pytest

from api.types import Pod, PodStatus
from kubelet.nodes.shutdowns import Turn, grace, turns
from tests.unit.kubelet.builders import pod


def named(name: str, priority: int | None = None, phase: str = "Running", grace: int | None = 30) -> Pod:
    found = pod(metadata={"name": name}, priority=priority, terminationGracePeriodSeconds=grace)
    found.status = PodStatus(phase=phase)
    return found


def test_critical_pods_are_ended_last_in_the_time_that_is_kept_for_them() -> None:
    pods = [named("dns", 2_000_000_000), named("web"), named("batch", -5), named("proxy", 2_000_001_000)]
    found = [(turn.seconds, [p.metadata.name for p in turn.pods]) for turn in turns(pods, 30, 10)]
    assert found == [(20, ["web", "batch"]), (10, ["dns", "proxy"])]


def test_pods_that_have_ended_and_turns_without_pods_take_no_time() -> None:
    assert turns([named("done", phase="Succeeded"), named("lost", phase="Failed")], 30, 10) == []
    assert [turn.seconds for turn in turns([named("dns", 2_000_000_000)], 30, 10)] == [10]


@pytest.mark.parametrize(("asked", "given"), [(5, 5), (60, 20), (None, 20), (0, 0)])
def test_a_pod_gets_what_it_asks_for_but_no_more_than_its_turn(asked: int | None, given: float) -> None:
    assert grace(named("web", grace=asked), Turn(20, ())) == given
