"""Whether and when an ended container is started again."""

import pytest

from api.types import ContainerRestartRule, ContainerRestartRuleOnExitCodes
from kubelet.syncing import restarts
from tests.unit.kubelet.builders import NOW, container, created, exited, pod, running


def test_the_backoff_doubles_from_ten_seconds_to_five_minutes() -> None:
    found, record = [], None
    for attempt in range(8):
        backoff = restarts.next_backoff(record)
        found.append(backoff)
        record = exited(attempt=attempt, backoff=backoff)
    assert found == [0, 10, 20, 40, 80, 160, 300, 300]


def test_ten_minutes_of_running_start_the_count_again() -> None:
    long = exited(backoff=160, started_at=NOW - 700)
    assert restarts.delay(long, NOW) == 0
    assert restarts.next_backoff(long) == 10


def test_the_wait_begins_when_the_container_ended() -> None:
    assert restarts.delay(exited(backoff=20, ago=5), NOW) == 15
    assert restarts.delay(exited(backoff=20, ago=25), NOW) == 0


@pytest.mark.parametrize(("seconds", "text"), [(10, "10s"), (80, "1m20s"), (300, "5m0s"), (3600, "1h0m0s")])
def test_durations_read_as_in_go(seconds: int, text: str) -> None:
    assert restarts.duration(seconds) == text


def test_the_message_is_upstreams() -> None:
    assert restarts.message(pod(), "main", exited(backoff=40)) == (
        "back-off 40s restarting failed container=main pod=web_default(u1)"
    )


def test_what_could_not_be_started_has_failed_whatever_its_code() -> None:
    assert restarts.exit_code(created(error="no")) == 128
    assert restarts.wanted(pod(policy="OnFailure"), container(), created(error="no"))


def test_a_running_container_is_not_wanted_again() -> None:
    assert not restarts.wanted(pod(), container(), running())
    assert restarts.wanted(pod(), container(), None)


@pytest.mark.parametrize(("code", "again"), [(42, True), (1, False)])
def test_a_containers_own_rules_may_restart_it_for_an_exit_code(code: int, again: bool) -> None:
    rule = ContainerRestartRule(action="Restart", exitCodes=ContainerRestartRuleOnExitCodes(operator="In", values=[42]))
    own = container(restartPolicy="Never", restartPolicyRules=[rule])
    assert restarts.wanted(pod(own), own, exited(code=code)) == again
