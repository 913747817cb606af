"""What to do next for a pod."""

from typing import Any

import pytest

from api.types import (
    ContainerRestartRule,
    ContainerRestartRuleOnExitCodes,
    ContainerStatus,
    EphemeralContainer,
    PodStatus,
)
from kubelet.runtime.interfaces import HASH, Record
from kubelet.syncing.plans import Plan, plan
from kubelet.syncing.views import Fault, Health
from tests.unit.kubelet.builders import NOW, container, created, exited, pause, pod, running, view

DELETED = {"deletionTimestamp": "2026-01-01T00:00:00Z"}


def starts(found: Plan) -> list[tuple[str, int, float]]:
    return [(s.container.name or "", s.attempt, s.backoff) for s in found.starts]


def test_a_new_pod_gets_a_sandbox_first_and_nothing_else() -> None:
    found = plan(view(pod(container(), initContainers=[container("init")])))
    assert (found.new_sandbox, found.starts) == (0, [])


def test_all_containers_start_once_there_is_a_sandbox() -> None:
    found = plan(view(pod(container("a"), container("b")), pause()))
    assert starts(found) == [("a", 0, 0), ("b", 0, 0)]


def test_a_pod_that_is_as_it_should_be_is_left_alone() -> None:
    found = plan(view(pod(), pause(), running()))
    assert found.idle
    assert not found.finished
    assert found.wake_at is None


def test_init_containers_run_one_at_a_time() -> None:
    of = pod(initContainers=[container("one"), container("two")])
    assert starts(plan(view(of, pause()))) == [("one", 0, 0)]
    assert plan(view(of, pause(), running("one"))).idle
    assert starts(plan(view(of, pause(), exited("one", code=0)))) == [("two", 0, 0)]
    assert starts(plan(view(of, pause(), exited("one", code=0), exited("two", code=0)))) == [("main", 0, 0)]


def test_a_failed_init_container_is_tried_again_unless_the_policy_is_never() -> None:
    of = pod(initContainers=[container("one")], policy="OnFailure")
    assert starts(plan(view(of, pause(), exited("one")))) == [("one", 1, 10)]
    never = plan(view(pod(initContainers=[container("one")], policy="Never"), pause(), exited("one")))
    assert (never.starts, [r.id for r in never.removals]) == ([], ["pause0"])


def test_init_containers_are_not_repeated_while_the_others_run() -> None:
    of = pod(initContainers=[container("one")])
    assert plan(view(of, pause(), running())).idle


def test_a_sidecar_starts_before_the_others_and_is_kept_running() -> None:
    sidecar = container("proxy", restartPolicy="Always")
    of = pod(initContainers=[sidecar, container("one")])
    assert starts(plan(view(of, pause()))) == [("proxy", 0, 0)]
    assert starts(plan(view(of, pause(), running("proxy")))) == [("one", 0, 0)]
    after = plan(view(of, pause(), exited("proxy"), exited("one", code=0), running()))
    assert starts(after) == [("proxy", 1, 10)]


def test_a_sidecar_that_has_not_started_holds_the_next_ones_back() -> None:
    of = pod(initContainers=[container("proxy", restartPolicy="Always")])
    waiting = view(of, pause(), running("proxy"), health={"proxy0": Health(started=False)})
    assert plan(waiting).idle


ALL = {
    "restartPolicy": "Never",
    "restartPolicyRules": [
        ContainerRestartRule(
            action="RestartAllContainers", exitCodes=ContainerRestartRuleOnExitCodes(operator="In", values=[42])
        )
    ],
}


def test_all_containers_are_killed_and_begin_anew_with_the_first_init_container() -> None:
    of = pod(
        container("source", **ALL),
        container("other"),
        initContainers=[container("init"), container("proxy", restartPolicy="Always")],
        policy="Never",
    )
    asked = exited("init", code=0), running("proxy"), exited("source", code=42), running("other")
    found = plan(view(of, pause(), *asked))
    assert [(s.record.name, s.at_once) for s in found.stops] == [("proxy", True), ("other", True)]
    assert not found.starts
    assert not found.finished
    killed = exited("init", code=0), exited("proxy", code=137), exited("source", code=42), exited("other", code=137)
    (start,) = plan(view(of, pause(), *killed)).starts
    assert (start.container.name, start.attempt, start.round) == ("init", 1, 1)
    again = exited("init", 1, code=0, turn=1), running("proxy", 1, turn=1)
    assert starts(plan(view(of, pause(), *killed, *again))) == [("source", 1, 10), ("other", 1, 10)]


def test_a_failed_init_container_that_asks_for_all_does_not_end_its_pod() -> None:
    of = pod(initContainers=[container("one"), container("source", **ALL)], policy="Never")
    found = plan(view(of, pause(), exited("one", code=0), exited("source", code=42)))
    assert starts(found) == [("one", 1, 10)]
    assert plan(view(of, pause(), exited("one", code=0), exited("source", code=41))).removals


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [("Always", 0, True), ("Always", 1, True), ("OnFailure", 0, False), ("OnFailure", 1, True), ("Never", 1, False)],
)
def test_the_restart_policy_decides_what_follows_an_end(policy: str, code: int, again: bool) -> None:
    found = plan(view(pod(policy=policy), pause(), exited(code=code)))
    assert bool(found.starts) == again
    assert [r.id for r in found.removals] == ([] if again else ["pause0"])


def test_the_first_restart_is_immediate_and_the_second_waits() -> None:
    assert starts(plan(view(pod(), pause(), exited(attempt=0)))) == [("main", 1, 10)]
    waiting = plan(view(pod(), pause(), exited(attempt=1, backoff=10, ago=4)))
    assert (waiting.starts, waiting.wake_at) == ([], NOW + 6)
    assert starts(plan(view(pod(), pause(), exited(attempt=1, backoff=10, ago=10)))) == [("main", 2, 20)]


def test_the_others_run_on_while_one_backs_off() -> None:
    of = pod(container("a"), container("b"))
    found = plan(view(of, pause(), exited("a", 1, backoff=10), running("b")))
    assert found.idle
    assert found.wake_at == NOW + 9


def test_a_finished_pod_loses_its_sandbox_but_keeps_its_containers() -> None:
    ended = exited(code=0)
    found = plan(view(pod(policy="Never"), pause(), ended))
    assert [r.id for r in found.removals] == ["pause0"]
    assert plan(view(pod(policy="Never"), ended)).finished


def test_a_terminal_phase_is_never_taken_back() -> None:
    of = pod()
    of.status.phase = "Succeeded"
    assert plan(view(of)).finished


def test_a_dead_sandbox_takes_its_containers_with_it_and_is_made_anew() -> None:
    dead = exited("x")
    dead_pause = pause(state=dead.state)
    found = plan(view(pod(), dead_pause, running()))
    assert [s.record.id for s in found.stops] == ["main0"]
    assert found.new_sandbox is None
    after = plan(view(pod(), dead_pause, exited(code=137)))
    assert (after.new_sandbox, [r.id for r in after.removals]) == (1, ["pause0"])


def test_of_two_sandboxes_that_run_the_older_goes() -> None:
    found = plan(view(pod(), pause(0), pause(1)))
    assert [r.id for r in found.removals] == ["pause0"]
    assert (found.new_sandbox, starts(found)) == (None, [("main", 0, 0)])


def test_in_a_new_sandbox_the_init_containers_run_again() -> None:
    of = pod(initContainers=[container("one")])
    found = plan(view(of, pause(1), exited("one", code=0), exited(code=137)))
    assert starts(found) == [("one", 1, 10)]


def test_in_a_new_sandbox_what_has_done_its_work_is_not_repeated() -> None:
    of = pod(container("a"), container("b"), policy="OnFailure")
    found = plan(view(of, pause(1), exited("a", code=0), exited("b", code=137)))
    assert starts(found) == [("b", 1, 10)]


def test_a_container_that_was_made_but_never_started_is_made_anew() -> None:
    found = plan(view(pod(), pause(), created()))
    assert [r.id for r in found.removals] == ["main0"]
    assert starts(found) == [("main", 0, 0)]


def test_a_container_that_could_not_be_started_counts_as_ended() -> None:
    of = pod(policy="OnFailure")
    assert starts(plan(view(of, pause(), created(error="no such file")))) == [("main", 1, 10)]


def test_a_fault_is_waited_out() -> None:
    fault = Fault("ErrImagePull", "no", NOW - 5, NOW + 5)
    found = plan(view(pod(), pause(), faults={"main": fault}))
    assert (found.starts, found.wake_at) == ([], NOW + 5)
    late = Fault("ErrImagePull", "no", NOW - 15, NOW - 5)
    assert starts(plan(view(pod(), pause(), faults={"main": late}))) == [("main", 0, 0)]


def test_a_fault_of_times_to_come_is_not_waited_out() -> None:
    ahead = Fault("ErrImagePull", "no", NOW + 400, NOW + 410)
    assert starts(plan(view(pod(), pause(), faults={"main": ahead}))) == [("main", 0, 0)]


def test_the_wake_up_comes_early_when_another_reason_is_due() -> None:
    fault = Fault("ErrImagePull", "no", NOW, NOW + 10, "ImagePullBackOff", "later")
    assert plan(view(pod(), pause(), faults={"main": fault})).wake_at == NOW + Fault.LATER


def test_a_fault_of_the_sandbox_holds_everything_back() -> None:
    found = plan(view(pod(), faults={"": Fault("ContainerCreating", "", NOW, NOW + 1)}))
    assert (found.new_sandbox, found.wake_at) == (None, NOW + 1)


def test_a_container_whose_probe_failed_is_stopped() -> None:
    found = plan(view(pod(), pause(), running(), health={"main0": Health(failed="liveness")}))
    (stop,) = found.stops
    assert (stop.message, stop.reason) == ("Container main failed liveness probe, will be restarted", "liveness")


def test_a_sidecar_is_restarted_by_its_probe_whatever_the_pods_policy() -> None:
    sidecar = container("side", restartPolicy="Always")
    of = pod(policy="Never", initContainers=[sidecar])
    found = plan(view(of, pause(), running("side"), running(), health={"side0": Health(failed="liveness")}))
    assert [s.message for s in found.stops] == ["Init container side failed liveness probe"]


def test_a_container_whose_image_changed_is_stopped() -> None:
    record = running()
    record = type(record)(
        **{f: getattr(record, f) for f in record.__slots__} | {"labels": {**record.labels, HASH: "a"}}
    )
    found = plan(view(pod(), pause(), record, hashes={"main": "b"}))
    assert [s.message for s in found.stops] == ["Container main definition changed, will be restarted"]
    assert plan(view(pod(), pause(), record, hashes={"main": "a"})).idle


def test_what_is_being_killed_is_not_killed_again() -> None:
    sick = view(pod(), pause(), running(), health={"main0": Health(failed="liveness")}, ending=frozenset({"main0"}))
    assert plan(sick).idle


def test_a_deleted_pod_stops_its_containers_then_its_sandbox() -> None:
    of = pod(metadata=DELETED)
    first = plan(view(of, pause(), running()))
    assert [s.message for s in first.stops] == ["Stopping container main"]
    assert first.removals == []
    second = plan(view(of, pause(), exited(code=143)))
    assert [r.id for r in second.removals] == ["pause0"]
    assert plan(view(of, exited(code=143))).finished


def test_sidecars_stop_last_and_in_reverse_order() -> None:
    of = pod(
        initContainers=[container("one", restartPolicy="Always"), container("two", restartPolicy="Always")],
        metadata=DELETED,
    )
    everything = (pause(), running("one"), running("two"), running())

    def order(*records: Record, **fields: Any) -> dict[str, tuple[str, ...]]:
        return {s.record.id: s.after for s in plan(view(of, *records, **fields)).stops}

    assert order(*everything) == {"main0": (), "two0": ("main0",), "one0": ("two0", "main0")}
    assert order(*everything, ending=frozenset({"main0", "two0"})) == {"one0": ("two0", "main0")}
    assert order(pause(), running("one"), running("two"), exited()) == {"two0": (), "one0": ("two0",)}
    assert order(pause(), running("one"), exited("two"), exited()) == {"one0": ()}


def test_sidecars_do_not_keep_a_finished_pod_alive() -> None:
    of = pod(policy="Never", initContainers=[container("proxy", restartPolicy="Always")])
    found = plan(view(of, pause(), running("proxy"), exited(code=0)))
    assert [s.record.id for s in found.stops] == ["proxy0"]


def test_a_deleted_pod_that_never_ran_is_finished_at_once() -> None:
    assert plan(view(pod(metadata=DELETED))).finished


def test_an_orphan_is_ended_by_its_containers_alone() -> None:
    found = plan(view(pod(container("other")), pause(), running("unknown"), stopping=True))
    assert [s.record.id for s in found.stops] == ["unknown0"]


def test_a_pod_past_its_deadline_is_ended() -> None:
    found = plan(view(pod(), pause(), running(), refusal=("DeadlineExceeded", "too long")))
    assert [s.record.id for s in found.stops] == ["main0"]


def test_only_the_newest_two_instances_are_kept() -> None:
    records = [exited(attempt=n, backoff=10) for n in range(3)] + [running(attempt=3)]
    assert [r.id for r in plan(view(pod(), pause(), *records)).removals] == ["main1", "main0"]


def test_a_count_that_the_api_server_has_does_not_go_back() -> None:
    of = pod()
    of.status = PodStatus(containerStatuses=[ContainerStatus(name="main", containerID="docker://x", restartCount=4)])
    assert starts(plan(view(of, pause()))) == [("main", 5, 0)]


def test_a_debugging_container_is_started_once() -> None:
    of = pod(ephemeralContainers=[EphemeralContainer(name="debug", image="busybox")])
    assert starts(plan(view(of, pause(), running()))) == [("debug", 0, 0)]
    assert plan(view(of, pause(), running(), exited("debug"))).idle


def test_a_debugging_container_that_could_not_be_started_is_tried_again() -> None:
    of = pod(ephemeralContainers=[EphemeralContainer(name="debug", image="busybox")])
    faults = {"debug": Fault("ErrImagePull", "no", NOW, NOW + 10)}
    found = plan(view(of, pause(), running(), faults=faults))
    assert (found.starts, found.wake_at) == ([], NOW + 10)


def test_volumes_that_are_not_ready_hold_restarts_back_too() -> None:
    faults = {"": Fault("ContainerCreating", "", NOW, NOW + 3)}
    found = plan(view(pod(), pause(), exited(), faults=faults))
    assert (found.starts, found.wake_at) == ([], NOW + 3)
