"""The conditions that a kubelet keeps, in upstream's words.
https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-conditions
"""

from collections.abc import Sequence

from api.restart_rules import may_restart_all
from api.types import Container, ContainerStatus, Pod, PodCondition, PodStatus
from kubelet.syncing.restarts import is_sidecar

OWNED = (
    "PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled",
    "PodResizePending", "PodResizeInProgress", "AllContainersRestarting",
)  # fmt: skip

DISRUPTION, BY_KUBELET = "DisruptionTarget", "TerminationByKubelet"


def conditions(
    pod: Pod, status: PodStatus, *, sandbox_ready: bool, resizing: Sequence[PodCondition] = (),
    disruptions: Sequence[PodCondition] = (), restarting: bool = False,
) -> list[PodCondition]:  # fmt: skip
    """`status` must have its phase and container statuses.  Conditions that others keep follow unchanged."""
    containers_ready = _containers_ready(pod, status)
    own = [
        PodCondition(type="PodReadyToStartContainers", status="True" if sandbox_ready else "False"),
        _initialized(pod, status),
        _ready(pod, status, containers_ready),
        containers_ready,
        PodCondition(type="PodScheduled", status="True"),
        *([_restarting(status, restarting)] if may_restart_all(pod) else ()),
        *(
            PodCondition(type=c.type, status=c.status, reason=c.reason, message=c.message)
            for c in (*resizing, *disruptions)
        ),
    ]
    said = {c.type for c in own}
    return own + [c for c in pod.status.conditions if c.type not in OWNED and c.type not in said]


def disruption(message: str) -> PodCondition:
    """https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions"""
    return PodCondition(type=DISRUPTION, status="True", reason=BY_KUBELET, message=message)


def is_own(type_: str, reason: str) -> bool:
    """Others write `DisruptionTarget` too: what it says is the kubelet's where it names it."""
    return type_ in OWNED or (type_ == DISRUPTION and reason == BY_KUBELET)


def _no(type_: str, reason: str, message: str = "") -> PodCondition:
    return PodCondition(type=type_, status="False", reason=reason, message=message)


def _containers_ready(pod: Pod, status: PodStatus) -> PodCondition:
    kind = "ContainersReady"
    statuses = [*status.containerStatuses, *status.initContainerStatuses]
    watched = [*pod.spec.containers, *(c for c in pod.spec.initContainers if is_sidecar(c))]
    unknown, unready = _missing(watched, statuses, lambda s: bool(s.ready))
    if status.phase == "Succeeded" and not unknown:
        return _no(kind, "PodCompleted")
    if status.phase == "Failed":
        return _no(kind, "PodFailed")
    if problems := _named(("unknown status", unknown), ("unready status", unready)):
        return _no(kind, "ContainersNotReady", problems)
    return PodCondition(type=kind, status="True")


def _ready(pod: Pod, status: PodStatus, containers: PodCondition) -> PodCondition:
    if containers.status != "True":
        return _no("Ready", containers.reason, containers.message)
    problems = []
    for gate in pod.spec.readinessGates:
        found = next((c for c in pod.status.conditions if c.type == gate.conditionType), None)
        if found is None:
            problems.append(f'corresponding condition of pod readiness gate "{gate.conditionType}" does not exist.')
        elif found.status != "True":
            problems.append(
                f'the status of pod readiness gate "{gate.conditionType}" is not "True", but {found.status}'
            )
    if problems:
        return _no("Ready", "ReadinessGatesNotReady", ", ".join(problems))
    return PodCondition(type="Ready", status="True")


def _initialized(pod: Pod, status: PodStatus) -> PodCondition:
    kind = "Initialized"
    regular_started = any(
        s.state.running or s.state.terminated or s.lastState.terminated for s in status.containerStatuses
    )
    if regular_started or not pod.spec.initContainers:
        reason = "PodCompleted" if status.phase == "Succeeded" else ""
        return PodCondition(type=kind, status="True", reason=reason)

    def done(s: ContainerStatus) -> bool:
        container = next((c for c in pod.spec.initContainers if c.name == s.name), None)
        return bool(s.started) if container is not None and is_sidecar(container) else bool(s.ready)

    unknown, incomplete = _missing(pod.spec.initContainers, status.initContainerStatuses, done)
    if problems := _named(("unknown status", unknown), ("incomplete status", incomplete)):
        return _no(kind, "ContainersNotInitialized", problems)
    return PodCondition(type=kind, status="True")


def _restarting(status: PodStatus, under_way: bool) -> PodCondition:
    """https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-all-containers"""
    kind = "AllContainersRestarting"
    if ended := {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(status.phase):
        return _no(kind, ended)
    if not under_way:
        return _no(kind, "")
    why = "container exited with restart policy rule"
    return PodCondition(type=kind, status="True", reason="RestartAllContainersStarted", message=why)


def _missing(containers: Sequence[Container], statuses: Sequence[ContainerStatus], good) -> tuple[list[str], list[str]]:  # type: ignore[no-untyped-def]
    by_name = {s.name: s for s in statuses}
    unknown = [c.name for c in containers if c.name not in by_name]
    bad = [c.name for c in containers if c.name in by_name and not good(by_name[c.name])]
    return unknown, bad


def _named(*groups: tuple[str, list[str]]) -> str:
    return ", ".join(f"containers with {what}: [{' '.join(names)}]" for what, names in groups if names)
