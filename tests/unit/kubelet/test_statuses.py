"""What is said about a pod."""

import pytest

from api import meta, quantities
from api.qos import qos_class
from api.types import (
    ContainerRestartRule,
    ContainerRestartRuleOnExitCodes,
    ContainerState,
    ContainerStateRunning,
    ContainerStatus,
    Pod,
    PodCondition,
    PodReadinessGate,
    PodStatus,
    ResourceRequirements,
)  # fmt: skip
from kubelet.runtime.interfaces import Record
from kubelet.syncing.statuses import pod_status
from kubelet.syncing.views import Fault, Health, View
from tests.unit.kubelet.builders import NOW, container, created, exited, pause, pod, running, view

DELETED = {"deletionTimestamp": "2026-01-01T00:00:00Z"}


def conditions(of: View) -> dict[str, tuple[str, str, str]]:
    return {c.type or "": (c.status or "", c.reason, c.message) for c in pod_status(of).conditions}


def only(of: View) -> ContainerStatus:
    (status,) = pod_status(of).containerStatuses
    return status


def test_a_pod_that_waits_for_its_sandbox_is_pending() -> None:
    of = view(address="")
    status = pod_status(of)
    assert (status.phase, status.podIP, status.hostIP) == ("Pending", "", "10.0.0.1")
    assert only(of).state.waiting.reason == "ContainerCreating"
    assert conditions(of) == {
        "PodReadyToStartContainers": ("False", "", ""),
        "Initialized": ("True", "", ""),
        "Ready": ("False", "ContainersNotReady", "containers with unready status: [main]"),
        "ContainersReady": ("False", "ContainersNotReady", "containers with unready status: [main]"),
        "PodScheduled": ("True", "", ""),
    }


def test_a_running_pod_is_ready() -> None:
    of = view(pod(), pause(), running())
    status = pod_status(of)
    assert (status.phase, status.podIP, [i.ip for i in status.podIPs]) == ("Running", "10.244.1.2", ["10.244.1.2"])
    assert all(c.status == "True" for c in status.conditions)
    found = only(of)
    assert (found.containerID, found.imageID, found.ready, found.started) == (
        "docker://main0", "docker://sha256:1", True, True,
    )  # fmt: skip
    assert found.state.running.startedAt == "2023-11-14T22:12:20Z"


def test_a_container_is_not_ready_before_its_probe_says_so() -> None:
    found = only(view(pod(), pause(), running(), health={"main0": Health(ready=False)}))
    assert (found.ready, found.started) == (False, True)
    found = only(view(pod(), pause(), running(), health={"main0": Health(started=False)}))
    assert (found.ready, found.started) == (False, False)


def test_a_container_in_backoff_waits_and_shows_how_it_ended() -> None:
    of = view(pod(), pause(), exited(attempt=1, code=3, backoff=10))
    found = only(of)
    assert found.state.waiting.reason == "CrashLoopBackOff"
    assert found.state.waiting.message == "back-off 10s restarting failed container=main pod=web_default(u1)"
    assert (found.lastState.terminated.exitCode, found.lastState.terminated.reason) == (3, "Error")
    assert (found.restartCount, pod_status(of).phase) == (1, "Running")


def test_a_restarted_container_shows_its_last_end() -> None:
    found = only(view(pod(), pause(), exited(attempt=0, code=137, oom_killed=True), running(attempt=1)))
    assert (found.state.running is not None, found.lastState.terminated.reason) == (True, "OOMKilled")


@pytest.mark.parametrize(
    ("code", "flagged", "reason"),
    [(137, True, "OOMKilled"), (137, False, "Error"), (0, True, "Completed"), (1, True, "Error"), (143, True, "Error")],
)
def test_only_what_was_killed_in_a_group_without_memory_is_said_to_be_so(code: int, flagged: bool, reason: str) -> None:
    found = only(view(pod(policy="Never"), pause(), exited(code=code, oom_killed=flagged)))
    assert (found.state.terminated.reason, found.state.terminated.exitCode) == (reason, code)


@pytest.mark.parametrize(
    ("policy", "code", "phase"),
    [("Never", 0, "Succeeded"), ("Never", 1, "Failed"), ("OnFailure", 0, "Succeeded"), ("OnFailure", 1, "Running"),
     ("Always", 0, "Running")],
)  # fmt: skip
def test_the_phase_follows_from_ends_and_policy(policy: str, code: int, phase: str) -> None:
    assert pod_status(view(pod(policy=policy), pause(), exited(code=code))).phase == phase


def test_one_failed_container_fails_the_pod_when_all_have_ended() -> None:
    of = pod(container("a"), container("b"), policy="Never")
    assert pod_status(view(of, pause(), exited("a", code=0), running("b"))).phase == "Running"
    assert pod_status(view(of, exited("a", code=0), exited("b", code=1))).phase == "Failed"


def test_a_succeeded_pod_is_not_ready_because_it_completed() -> None:
    found = conditions(view(pod(policy="Never"), exited(code=0)))
    assert found["Ready"] == ("False", "PodCompleted", "")
    assert found["Initialized"] == ("True", "PodCompleted", "")
    assert found["PodReadyToStartContainers"][0] == "False"
    failed = conditions(view(pod(policy="Never"), exited(code=1)))
    assert failed["ContainersReady"] == ("False", "PodFailed", "")


def test_a_terminal_pod_keeps_the_address_it_had() -> None:
    of = pod(policy="Never")
    of.status.podIP = "10.244.1.9"
    assert pod_status(view(of, exited(code=0), address="")).podIP == "10.244.1.9"


def test_a_pod_with_init_containers_is_pending_until_they_are_done() -> None:
    of = pod(initContainers=[container("one"), container("two")])
    waiting = view(of, pause(), exited("one", code=0), running("two"))
    status = pod_status(waiting)
    assert status.phase == "Pending"
    assert status.containerStatuses[0].state.waiting.reason == "PodInitializing"
    assert [s.ready for s in status.initContainerStatuses] == [True, False]
    assert conditions(waiting)["Initialized"] == (
        "False", "ContainersNotInitialized", "containers with incomplete status: [two]",
    )  # fmt: skip
    done = pod_status(view(of, pause(), exited("one", code=0), exited("two", code=0), running()))
    assert (done.phase, meta.is_true(type("P", (), {"status": done}), "Initialized")) == ("Running", True)


def test_everything_that_waits_for_init_containers_says_so_init_containers_too() -> None:
    of = pod(initContainers=[container("one"), container("two")])
    status = pod_status(view(of, pause(), running("one")))
    waiting = [*status.initContainerStatuses[1:], *status.containerStatuses]
    assert [s.state.waiting.reason for s in waiting] == ["PodInitializing"] * 2


def test_a_failed_init_container_fails_a_pod_that_never_restarts() -> None:
    of = pod(initContainers=[container("one")], policy="Never")
    assert pod_status(view(of, pause(), exited("one"))).phase == "Failed"
    assert pod_status(view(pod(initContainers=[container("one")]), pause(), exited("one"))).phase == "Pending"


def test_an_init_containers_own_policy_decides_whether_its_pod_fails() -> None:
    never = pod(initContainers=[container("one", restartPolicy="Never")])
    assert pod_status(view(never, pause(), exited("one"))).phase == "Failed"
    again = pod(initContainers=[container("one", restartPolicy="OnFailure")], policy="Never")
    assert pod_status(view(again, pause(), exited("one"))).phase == "Pending"


def test_a_pod_tells_that_all_its_containers_restart() -> None:
    rule = ContainerRestartRule(
        action="RestartAllContainers", exitCodes=ContainerRestartRuleOnExitCodes(operator="In", values=[42])
    )
    source = container("source", restartPolicy="Never", restartPolicyRules=[rule])
    of = pod(source, container("other"), initContainers=[container("one")], policy="Never")

    def told(*records: Record) -> tuple[str, str, str, str]:
        it = view(of, pause(), *records)
        return pod_status(it).phase, *conditions(it)["AllContainersRestarting"]

    one, why = exited("one", code=0), "container exited with restart policy rule"
    assert told(one, running("source"), running("other")) == ("Running", "False", "", "")
    under_way = ("Running", "True", "RestartAllContainersStarted", why)
    assert told(one, exited("source", code=42), running("other")) == under_way
    killed = one, exited("source", code=42), exited("other", code=137)
    assert told(*killed) == ("Running", "False", "", "")
    for status in pod_status(view(of, pause(), *killed)).containerStatuses:
        assert (status.state.waiting.reason, status.restartCount) == ("PodInitializing", 0)
        assert status.lastState.terminated.exitCode
    anew = [exited(c, 1, code=0, turn=1) for c in ("one", "source", "other")]
    assert told(*killed, *anew) == ("Succeeded", "False", "PodCompleted", "")


def test_a_sidecar_counts_for_readiness() -> None:
    of = pod(initContainers=[container("proxy", restartPolicy="Always")])
    found = conditions(view(of, pause(), running("proxy"), running(), health={"proxy0": Health(ready=False)}))
    assert found["ContainersReady"][2] == "containers with unready status: [proxy]"
    assert conditions(view(of, pause(), running("proxy"), running()))["Ready"][0] == "True"


def test_a_fault_is_shown_as_the_reason_to_wait() -> None:
    fault = Fault("ErrImagePull", "no route", NOW, NOW + 10, "ImagePullBackOff", "Back-off pulling image")
    soon = only(view(pod(), pause(), faults={"main": fault})).state.waiting
    assert (soon.reason, soon.message) == ("ErrImagePull", "no route")
    later = only(view(pod(), pause(), faults={"main": fault}, now=NOW + 5)).state.waiting
    assert (later.reason, later.message) == ("ImagePullBackOff", "Back-off pulling image")


def test_a_container_that_could_not_be_started_tells_why() -> None:
    fault = Fault("RunContainerError", "no such file", NOW, NOW + 10)
    found = only(view(pod(), pause(), created(error="no such file"), faults={"main": fault}))
    assert found.state.waiting.reason == "RunContainerError"
    assert (found.lastState.terminated.reason, found.lastState.terminated.exitCode) == ("ContainerCannotRun", 128)


def test_a_pod_at_its_end_has_ended_whatever_its_policy() -> None:
    status = pod_status(view(pod(metadata=DELETED), exited(code=0)))
    assert (status.phase, status.containerStatuses[0].state.terminated.reason) == ("Succeeded", "Completed")
    assert pod_status(view(pod(metadata=DELETED), exited(code=137))).phase == "Failed"


def test_a_container_that_vanished_at_the_end_has_an_unknown_end() -> None:
    of = pod(metadata=DELETED)
    of.status.containerStatuses = [
        ContainerStatus(name="main", state=ContainerState(running=ContainerStateRunning(startedAt="x")), restartCount=2)
    ]
    found = only(view(of))
    assert (found.state.terminated.reason, found.state.terminated.exitCode) == ("ContainerStatusUnknown", 137)
    assert found.restartCount == 2


def ends(of: View) -> dict[str, str]:
    """What each container ended with, or what it waits for."""
    status = pod_status(of)
    each = [*status.initContainerStatuses, *status.containerStatuses]
    return {s.name or "": (s.state.terminated or s.state.waiting).reason for s in each}


def test_a_container_that_its_ending_pod_never_started_has_an_unknown_end() -> None:
    status = pod_status(view(pod(metadata=DELETED)))
    assert (status.phase, status.containerStatuses[0].state.terminated.exitCode) == ("Failed", 137)
    backing_off = {"main": Fault("ErrImagePull", "no such image", NOW, NOW + 10)}
    assert ends(view(pod(), faults=backing_off, refusal=("Evicted", "full"))) == {"main": "ContainerStatusUnknown"}


def test_a_pod_that_ends_before_it_is_initialized_leaves_its_other_containers_waiting() -> None:
    of = pod(initContainers=[container("one"), container("two")], metadata=DELETED)
    assert ends(view(of)) == {"one": "ContainerStatusUnknown", "two": "PodInitializing", "main": "PodInitializing"}
    done = exited("one", code=0)
    assert ends(view(of, done)) == {"one": "Completed", "two": "PodInitializing", "main": "PodInitializing"}
    both = ends(view(of, done, exited("two", code=0)))
    assert both == {"one": "Completed", "two": "Completed", "main": "ContainerStatusUnknown"}
    failed = pod(initContainers=[container("one"), container("two")], policy="Never")
    assert ends(view(failed, pause(), exited("one", code=1))) == {
        "one": "Error", "two": "PodInitializing", "main": "PodInitializing",
    }  # fmt: skip


def test_a_refused_pod_has_failed_and_says_why() -> None:
    status = pod_status(view(refusal=("DeadlineExceeded", "too long")))
    assert (status.phase, status.reason, status.message) == ("Failed", "DeadlineExceeded", "too long")


def test_a_pod_that_was_not_let_in_tells_of_no_containers() -> None:
    of = pod(initContainers=[container("one")])
    status = pod_status(view(of, refusal=("OutOfcpu", "Pod was rejected: too much"), rejected=True))
    assert (status.phase, status.reason) == ("Failed", "OutOfcpu")
    assert (status.containerStatuses, status.initContainerStatuses) == ([], [])


def test_a_pod_in_the_nodes_network_has_the_nodes_address() -> None:
    status = pod_status(view(pod(hostNetwork=True), pause(), running(), address=""))
    assert status.podIP == "10.0.0.1"
    assert meta.is_true(type("P", (), {"status": status}), "PodReadyToStartContainers")


def test_readiness_gates_are_asked() -> None:
    of = pod(readinessGates=[PodReadinessGate(conditionType="example.com/lb")])
    found = conditions(view(of, pause(), running()))
    assert found["ContainersReady"][0] == "True"
    assert found["Ready"] == (
        "False", "ReadinessGatesNotReady",
        'corresponding condition of pod readiness gate "example.com/lb" does not exist.',
    )  # fmt: skip
    of.status.conditions = [PodCondition(type="example.com/lb", status="True")]
    status = pod_status(view(of, pause(), running()))
    assert [c.type for c in status.conditions][-1] == "example.com/lb"
    assert status.conditions[2].status == "True"


def test_a_condition_keeps_its_time_while_its_status_stays() -> None:
    of = pod()
    of.status.conditions = [PodCondition(type="Ready", status="True", lastTransitionTime="then")]
    times = {c.type: c.lastTransitionTime for c in pod_status(view(of, pause(), running())).conditions}
    assert times["Ready"] == "then"
    assert times["ContainersReady"] == "2023-11-14T22:13:20Z"


def test_statuses_stand_in_the_order_of_their_names() -> None:
    status = pod_status(view(pod(container("b"), container("a"))))
    assert [s.name for s in status.containerStatuses] == ["a", "b"]


def resources(limits: dict[str, str], requests: dict[str, str]) -> ResourceRequirements:
    return ResourceRequirements(limits=limits, requests=requests)


@pytest.mark.parametrize(
    ("limits", "requests", "expected"),
    [
        ({}, {}, "BestEffort"),
        ({}, {"cpu": "1"}, "Burstable"),
        ({"cpu": "1", "memory": "1Gi"}, {"cpu": "1", "memory": "1024Mi"}, "Guaranteed"),
        ({"cpu": "1", "memory": "1Gi"}, {}, "Guaranteed"),
        ({"cpu": "1", "memory": "1Gi"}, {"cpu": "500m"}, "Burstable"),
        ({"cpu": "1"}, {"cpu": "1"}, "Burstable"),
        ({"cpu": "0"}, {}, "BestEffort"),
    ],
)
def test_the_class_of_service(limits: dict[str, str], requests: dict[str, str], expected: str) -> None:
    assert quantities.parse("1Gi") == quantities.parse("1024Mi")
    assert qos_class(pod(container(resources=resources(limits, requests))).spec) == expected


def test_while_a_resize_is_under_way_the_status_tells_what_the_container_has() -> None:
    has = ResourceRequirements(requests={"cpu": "1"}, limits={"cpu": "1"})
    wanted = ResourceRequirements(requests={"cpu": "3"}, limits={"cpu": "3"})
    of = pod(container(resources=wanted))
    of.status = PodStatus(containerStatuses=[ContainerStatus(name="main", resources=has)])
    progress = PodCondition(type="PodResizeInProgress", status="True")
    status = pod_status(view(of, pause(), running(), resizing=(progress,)))
    assert status.containerStatuses[0].resources == has
    assert status.containerStatuses[0].allocatedResources == {"cpu": "3"}
    assert meta.is_true(Pod(status=status), "PodResizeInProgress")
    done = pod_status(view(of, pause(), running()))
    assert done.containerStatuses[0].resources == wanted


def test_what_a_container_was_promised_is_told_while_it_does_not_run() -> None:
    wanted = ResourceRequirements(requests={"cpu": "3"}, limits={"cpu": "3"})
    found = only(view(pod(container(resources=wanted)), pause(), exited()))
    assert (found.resources, found.allocatedResources) == (wanted, {"cpu": "3"})
