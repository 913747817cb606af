"""Whether and when an ended container is started again."""

from typing import Any

import pytest

from api.types import ContainerRestartRule, ContainerRestartRuleOnExitCodes
from kubelet.syncing import restarts
from tests.unit.kubelet.builders import NOW, container, created, exited, pause, pod, running


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


def test_nobody_waits_longer_because_the_engines_clock_is_ahead() -> None:
    assert restarts.delay(exited(backoff=20, ago=-400), NOW) == 20


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


def rule(action: str, *codes: int, operator: str = "In") -> ContainerRestartRule:
    return ContainerRestartRule(
        action=action, exitCodes=ContainerRestartRuleOnExitCodes(operator=operator, values=list(codes))
    )


@pytest.mark.parametrize(
    ("fields", "policy", "code", "again"),
    [
        ({"restartPolicy": "OnFailure"}, "Never", 1, True),
        ({"restartPolicy": "Never"}, "Always", 1, False),
        ({"restartPolicy": "Never", "restartPolicyRules": [rule("Restart", 42)]}, "Never", 42, True),
        ({"restartPolicy": "Never", "restartPolicyRules": [rule("Restart", 0)]}, "Never", 0, False),
        ({"restartPolicy": "Always"}, "Never", 0, True),
    ],
)
def test_an_init_containers_own_policy_comes_before_its_pods(
    fields: dict[str, Any], policy: str, code: int, again: bool
) -> None:
    own = container("init", **fields)
    of = pod(initContainers=[own], policy=policy)
    assert restarts.wanted(of, own, exited("init", code=code), init=True) == again


def test_the_first_rule_that_speaks_of_an_exit_code_decides() -> None:
    rules = [rule("RestartAllContainers", 42), rule("Restart", 0, operator="NotIn")]
    own = container(restartPolicy="Never", restartPolicyRules=rules)
    assert not restarts.wanted(pod(own), own, exited(code=42))
    assert restarts.wanted(pod(own), own, exited(code=41))


ALL = {"restartPolicy": "Never", "restartPolicyRules": [rule("RestartAllContainers", 42)]}
SIDECAR = {**ALL, "restartPolicy": "Always"}


def test_an_end_that_asks_for_all_containers_begins_the_next_round() -> None:
    of = pod(container("source", **ALL), container("other"), policy="Never")
    assert restarts.round_of(of, [pause(), running("source"), running("other")]) == 0
    assert restarts.round_of(of, [exited("source", code=42), running("other")]) == 1
    assert restarts.round_of(of, [exited("source", code=42), running("source", 1, turn=1), running("other")]) == 1
    assert restarts.round_of(of, [exited("source", 1, code=42, turn=1), running("other", 1, turn=1)]) == 2


def test_a_container_that_only_the_restart_has_killed_asks_for_no_other_one() -> None:
    any_failure = {**ALL, "restartPolicyRules": [rule("RestartAllContainers", 0, operator="NotIn")]}
    of = pod(container("source", **any_failure), container("other", **any_failure), policy="Never")
    assert restarts.round_of(of, [exited("source"), exited("other", code=137)]) == 1


def test_a_sidecar_that_ends_after_the_pods_work_begins_nothing() -> None:
    of = pod(container("main"), initContainers=[container("proxy", **SIDECAR)], policy="Never")
    done = exited("main", code=0, ago=5)
    assert restarts.round_of(of, [exited("proxy", code=42, ago=1), done]) == 0
    assert restarts.round_of(of, [exited("proxy", code=42, ago=9), done]) == 1
    # What the first restart has killed does not count as work that is done.
    earlier = [exited("proxy", code=42, ago=9), exited("main", code=137, ago=8)]
    assert restarts.round_of(of, [*earlier, exited("proxy", 1, code=42, ago=1, turn=1)]) == 2


@pytest.mark.parametrize(("code", "again"), [(42, True), (1, False)])
def test_a_containers_own_rules_may_restart_it_for_an_exit_code(code: int, again: bool) -> None:
    rule = ContainerRestartRule(action="Restart", exitCodes=ContainerRestartRuleOnExitCodes(operator="In", values=[42]))
    own = container(restartPolicy="Never", restartPolicyRules=[rule])
    assert restarts.wanted(pod(own), own, exited(code=code)) == again
